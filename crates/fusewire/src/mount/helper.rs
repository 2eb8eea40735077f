//! Mounts and unmounts for ordinary users through the setuid program `fusermount3`, which hands the device over a socket.
//!
//! The helper is run with its socket as standard input, so that nothing has to be done between fork and exec. Its
//! words are carried in errors; nothing is decided by them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{AccessFlags, access, geteuid, getuid};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::device;
use super::error::{MountFault, one_line};
use super::mountinfo;
use super::mountpoint::{Identity, Mountpoint};
use super::options::{FLAGS, MountFlag, MountOptions};

/// What the administrator allows ordinary users.
const CONFIG: &str = "/etc/fuse.conf";

/// Where to look besides `PATH`, which may be short in a service or a cron job.
const USUAL_PLACES: [&str; 2] = ["/usr/bin", "/bin"];

/// How many bytes of the helper's words are kept.
const WORDS: usize = 4096;

/// How a helper ended that did not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    /// Such as `exit status: 1`.
    pub(super) outcome: String,
    /// What it wrote to its standard error.
    pub(super) said: String,
}

/// The helper to use: the one that the options name, or the first that is found.
pub(super) fn find(options: &MountOptions) -> Result<PathBuf, MountFault> {
    if let Some(helper) = options.helper_path() {
        return Ok(helper.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path)
        .filter(|place| place.is_absolute())
        .chain(USUAL_PLACES.iter().map(PathBuf::from))
        .collect();
    ["fusermount3", "fusermount"]
        .iter()
        .flat_map(|name| places.iter().map(move |place| place.join(name)))
        .find(|file| file.is_file() && access(file, AccessFlags::X_OK).is_ok())
        .ok_or_else(|| MountFault::NoHelper { searched: format!("on PATH={} or in /usr/bin or /bin", one_line(path)) })
}

/// Has the helper mount, and receives the device.
pub(super) fn mount(helper: &Path, mountpoint: &Mountpoint, options: &MountOptions) -> Result<OwnedFd, MountFault> {
    let words = option_words(options)?;
    let before = Identity::at(mountpoint.path()).ok();
    let start_fault = |cause| MountFault::HelperStart { helper: helper.to_owned(), cause };

    let (ours, theirs) = UnixStream::pair().map_err(start_fault)?;
    let mut command = command(helper);
    command
        .arg("-o")
        .arg(words)
        .arg("--")
        .arg(mountpoint.path())
        .env("_FUSE_COMMFD", "0")
        .stdin(Stdio::from(OwnedFd::from(theirs)));
    let run = Run::start(command).map_err(start_fault)?;
    // `Run::start` has dropped the command, and with it our copy of the helper's end: a helper that dies ends the
    // stream, and does not leave us waiting.
    let received = receive(&ours);
    let ended = run.wait();

    let outcome = match (received, ended.outcome) {
        (Ok(Some(device)), Ok(())) => return Ok(device),
        (Ok(Some(device)), Err(outcome)) => {
            tracing::warn!(outcome, said = ended.said, "the mount helper failed after mounting");
            return Ok(device);
        }
        (_, Err(outcome)) => outcome,
        (Ok(None), Ok(())) => "ended without handing over the device".to_owned(),
        (Err(cause), Ok(())) => format!("receiving the device: {cause}"),
    };
    let failure = Failure { outcome, said: ended.said };
    take_back(helper, mountpoint.path(), before);
    Err(explain(helper, mountpoint.path(), options, failure))
}

/// Has the helper unmount.
pub(super) fn unmount(helper: &Path, mountpoint: &Path, lazy: bool) -> Result<(), Failure> {
    let mut command = command(helper);
    command.arg("-u");
    if lazy {
        command.arg("-z");
    }
    command.arg("--").arg(mountpoint).stdin(Stdio::null());
    let failure = |outcome, said| Failure { outcome, said };
    let run = Run::start(command).map_err(|cause| failure(format!("starting it: {cause}"), String::new()))?;
    let ended = run.wait();
    ended.outcome.map_err(|outcome| failure(outcome, ended.said))
}

/// The helper under its short name, with which it begins its words.
fn command(helper: &Path) -> Command {
    let mut command = Command::new(helper);
    if let Some(name) = helper.file_name() {
        command.arg0(name);
    }
    command
}

/// The `-o` argument. The helper undoes `\,` and `\\` in `fsname` and `subtype`, and in nothing else.
fn option_words(options: &MountOptions) -> Result<OsString, MountFault> {
    let refused =
        |option: &OsStr, problem: &str| MountFault::Option { option: one_line(option), problem: problem.to_owned() };
    let mut words = OsString::from("fsname=");
    words.push(escape(options.source_or_default()));
    if let Some(subtype) = &options.subtype {
        words.push(",subtype=");
        words.push(escape(subtype));
    }
    for row in FLAGS {
        let on_by_default = matches!(row.flag, MountFlag::NoSuid | MountFlag::NoDev);
        match (options.has(row.flag), on_by_default) {
            (true, false) => {
                words.push(",");
                words.push(row.on);
            }
            // The helper would drop such an option with a warning.
            (false, true) if !geteuid().is_root() => {
                return Err(refused(OsStr::new(row.off), "only root may set it; leave it out or mount as root"));
            }
            (false, true) => {
                words.push(",");
                words.push(row.off);
            }
            _ => {}
        }
    }
    if let Some(bytes) = options.max_read {
        words.push(format!(",max_read={bytes}"));
    }
    if options.default_permissions {
        words.push(",default_permissions");
    }
    if options.allow_other {
        words.push(",allow_other");
    }
    for (name, value) in &options.kernel_options {
        let mut word = name.clone();
        if let Some(value) = value {
            word.push("=");
            word.push(value);
        }
        if word.as_bytes().contains(&b',') {
            return Err(refused(name, "fusermount3 cannot take a comma in it; leave the comma out"));
        }
        words.push(",");
        words.push(word);
    }
    Ok(words)
}

fn escape(text: &OsStr) -> OsString {
    use std::os::unix::ffi::OsStringExt;

    let mut escaped = Vec::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if matches!(byte, b',' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    OsString::from_vec(escaped)
}

/// One byte with the device beside it, or the end of the stream.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0_u8; 1];
    loop {
        let received = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC);
        match received {
            Err(rustix::io::Errno::INTR) => {}
            Err(cause) => return Err(cause.into()),
            Ok(_) => break,
        }
    }
    let device = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    Ok(device)
}

/// A helper that died half-way may have mounted: then its mount is dead, and goes.
fn take_back(helper: &Path, mountpoint: &Path, before: Option<Identity>) {
    let after = Identity::at(mountpoint).ok();
    let mounts = mountinfo::read().unwrap_or_default();
    let left_behind = after != before
        && after.is_some_and(|after| {
            mountinfo::at(&mounts, mountpoint).is_some_and(|entry| entry.is_fuse() && entry.device == after.device)
        });
    if left_behind && let Err(failure) = unmount(helper, mountpoint, true) {
        tracing::error!(
            mountpoint = one_line(mountpoint),
            outcome = failure.outcome,
            said = failure.said,
            "a mount that the helper left behind could not be unmounted"
        );
    }
}

/// Looks for the reason that the helper's refusal most likely has, where it can be seen from here.
fn explain(helper: &Path, mountpoint: &Path, options: &MountOptions, failure: Failure) -> MountFault {
    if options.allow_other && !geteuid().is_root() && !user_allow_other() {
        return MountFault::AllowOtherForbidden { helper: helper.to_owned(), config: CONFIG.into() };
    }
    if let Err(fault) = device::open(&options.device) {
        return fault;
    }
    let setuid = fs::metadata(helper).is_ok_and(|found| found.mode() & 0o4000 != 0 && found.uid() == 0);
    let advice = if geteuid().is_root() {
        String::new()
    } else if !setuid {
        format!("; it is not setuid root: have root run chmod u+s {}", one_line(helper))
    } else if rustix::thread::no_new_privs().unwrap_or(false) {
        "; this process may not gain privileges (no_new_privs), so mount as root or work in a shell of unshare -Urm"
            .to_owned()
    } else if !may_mount_on(mountpoint) {
        "; an ordinary user mounts on a directory of their own, so give one that this user may write to".to_owned()
    } else {
        String::new()
    };
    MountFault::Helper { helper: helper.to_owned(), outcome: failure.outcome, said: failure.said, advice }
}

/// Whether the helper lets this user mount there: on what they may write to, and on a sticky directory only if it is theirs.
fn may_mount_on(mountpoint: &Path) -> bool {
    let others_sticky = |found: fs::Metadata| found.mode() & 0o1000 != 0 && found.uid() != getuid().as_raw();
    access(mountpoint, AccessFlags::W_OK).is_ok() && !fs::metadata(mountpoint).is_ok_and(others_sticky)
}

/// Whether ordinary users may mount with `allow_other`. A configuration that cannot be read allows nothing.
fn user_allow_other() -> bool {
    fs::read(CONFIG).is_ok_and(|text| allows_other(&text))
}

fn allows_other(config: &[u8]) -> bool {
    config.split(|byte| *byte == b'\n').any(|line| line.trim_ascii() == b"user_allow_other")
}

/// A running helper, and the file that takes its words. A file rather than a pipe: nobody has to read it for the helper
/// to go on, and a child that the helper leaves behind holds up nothing.
struct Run {
    child: std::process::Child,
    words: File,
}

/// How a helper ended, in words if it was not well, and its words.
struct Ended {
    outcome: Result<(), String>,
    said: String,
}

impl Run {
    fn start(mut command: Command) -> io::Result<Self> {
        let words = File::from(memfd_create(c"fusermount", MFdFlags::MFD_CLOEXEC)?);
        let child = command.stdout(Stdio::null()).stderr(Stdio::from(words.try_clone()?)).spawn()?;
        Ok(Self { child, words })
    }

    fn wait(mut self) -> Ended {
        let outcome = match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            // Something else in this process reaps children, so how it ended cannot be known.
            Err(cause) if cause.raw_os_error().map(Errno::from_raw) == Some(Errno::ECHILD) => Ok(()),
            Err(cause) => Err(format!("waiting for it: {cause}")),
        };
        let mut buffer = [0_u8; WORDS];
        let length = self.words.read_at(&mut buffer, 0).unwrap_or(0);
        let said = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        Ended { outcome, said: said.trim().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_backslashes_are_escaped_for_the_helper() {
        let options = MountOptions::new().source(r"a,b\c").subtype("x,y");
        assert_eq!(option_words(&options).unwrap(), r"fsname=a\,b\\c,subtype=x\,y");
    }

    #[test]
    fn words_follow_the_options() {
        let options = MountOptions::new()
            .subtype("memfs")
            .set(MountFlag::ReadOnly)
            .set(MountFlag::NoAtime)
            .max_read(4096)
            .default_permissions()
            .allow_other()
            .kernel_option("blksize", Some("512".into()));
        assert_eq!(
            option_words(&options).unwrap(),
            "fsname=memfs,subtype=memfs,ro,noatime,max_read=4096,default_permissions,allow_other,blksize=512"
        );
    }

    #[test]
    fn a_comma_in_another_option_is_refused() {
        let options = MountOptions::new().kernel_option("context", Some("a,b".into()));
        let fault = option_words(&options).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "checking option context: fusermount3 cannot take a comma in it; leave the comma out"
        );
    }

    #[test]
    fn user_allow_other_must_stand_alone_on_its_line() {
        assert!(allows_other(b"# x\nmount_max = 5\nuser_allow_other\n"));
        assert!(allows_other(b"  user_allow_other  "));
        assert!(!allows_other(b"#user_allow_other\n"));
        assert!(!allows_other(b"user_allow_others\n"));
        assert!(!allows_other(b""));
    }
}
