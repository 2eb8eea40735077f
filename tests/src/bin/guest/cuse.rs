//! A character device in user space (CUSE), by the messages alone: it begins with another request than a filesystem, and
//! then has the operations of an open file.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use fusewire::init::NEWEST_MINOR;
use fusewire::reply::{self, Reply, ReplyWriter};
use fusewire::{Errno, FileHandle, Incoming, Negotiated, ReplyHeader, Request, Unique};

use crate::cases::Skip;

const CONTROL: &str = "/dev/cuse";
const NAME: &str = "fusewire-test";
const TEXT: &[u8] = b"A device in user space.\n";
/// The longest request, with room to spare.
const ROOM: usize = 256 << 10;

/// Serves a device, reads and writes it, and lets it go.
pub(crate) fn serve_a_device() -> Result<()> {
    if !Path::new(CONTROL).exists() {
        return Err(Skip("this kernel has no CUSE".to_owned()).into());
    }
    let mut device = Server::open()?;
    device.begin()?;
    let path = Path::new("/dev").join(NAME);
    let server = std::thread::spawn(move || device.serve_one_user());
    let mut file = File::options().read(true).write(true).open(wait_for(&path)?).context("opening the device")?;
    let mut text = vec![0; TEXT.len()];
    file.read_exact(&mut text).context("reading the device")?;
    ensure!(text == TEXT, "the device says {:?}", String::from_utf8_lossy(&text));
    ensure!(file.write(b"four").context("writing to the device")? == 4, "it took less than all");
    drop(file);
    let Ok(written) = server.join() else { bail!("the server panicked") };
    let written = written?;
    ensure!(written == b"four", "what was written came as {written:?}");
    ensure!(!path.exists(), "the device is still there without its server");
    Ok(())
}

/// The device appears after the answer to its first request; devtmpfs makes it.
fn wait_for(path: &Path) -> Result<&Path> {
    for _ in 0..1000 {
        if path.exists() {
            return Ok(path);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    bail!("{} did not appear", path.display())
}

struct Server {
    control: File,
    buffer: Vec<u8>,
    negotiated: Negotiated,
}

impl Server {
    fn open() -> Result<Self> {
        let control = File::options().read(true).write(true).open(CONTROL);
        let control = control.with_context(|| format!("opening {CONTROL}"))?;
        Ok(Self { control, buffer: vec![0; ROOM], negotiated: Negotiated::default() })
    }

    /// Answers the first request with the name of the device.
    fn begin(&mut self) -> Result<()> {
        let length = self.control.read(&mut self.buffer).context("reading the first request")?;
        let incoming = Incoming::parse(self.buffer.get(..length).unwrap_or_default())?;
        let unique = incoming.header.unique;
        let (Request::CuseInit(offer), _) = Request::decode(&self.negotiated, &incoming)? else {
            bail!("the first request is {:?}", incoming.opcode);
        };
        ensure!(offer.major == 7, "the kernel speaks {}.{}", offer.major, offer.minor);
        let info = format!("DEVNAME={NAME}\0");
        let mut device = reply::CuseInit::new(info.as_bytes());
        device.minor = offer.minor.min(NEWEST_MINOR);
        self.negotiated.minor = device.minor;
        self.answer(unique, Ok(device.into()))
    }

    /// Serves until the one who opened the device has closed it. Gives what was written.
    fn serve_one_user(mut self) -> Result<Vec<u8>> {
        let mut written = Vec::new();
        loop {
            let length = self.control.read(&mut self.buffer).context("reading a request")?;
            let bytes = self.buffer.get(..length).unwrap_or_default().to_vec();
            let incoming = Incoming::parse(&bytes)?;
            let unique = incoming.header.unique;
            let answer: Result<Reply<'_>, Errno> = match Request::decode(&self.negotiated, &incoming)?.0 {
                Request::Open(_) => Ok(reply::Opened::new(FileHandle(7)).into()),
                Request::Read(_) => Ok(reply::Data { bytes: TEXT }.into()),
                Request::Write(write) => {
                    written.extend_from_slice(write.data);
                    Ok(reply::Written { size: u32::try_from(write.data.len())? }.into())
                }
                Request::Flush(_) => Ok(reply::Done.into()),
                Request::Release(release) => {
                    ensure!(release.handle == FileHandle(7), "another handle is released: {:?}", release.handle);
                    self.answer(unique, Ok(reply::Done.into()))?;
                    return Ok(written);
                }
                Request::Interrupt(_) => continue,
                _ => Err(Errno::ENOSYS),
            };
            self.answer(unique, answer)?;
        }
    }

    fn answer(&mut self, unique: Unique, answer: Result<Reply<'_>, Errno>) -> Result<()> {
        let mut room = vec![0; ROOM];
        let mut body = ReplyWriter::new(&mut room);
        let error = match answer {
            Ok(reply) => reply.encode(&self.negotiated, &mut body).map(|()| None).context("encoding a reply")?,
            Err(error) => Some(error),
        };
        let mut message = ReplyHeader::new(unique, error).encode(body.length()).to_vec();
        message.extend_from_slice(body.written());
        self.control.write_all(&message).context("answering a request")
    }
}
