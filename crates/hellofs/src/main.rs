//! The tutorial filesystem: a directory that holds one file, `hello.txt`, with a greeting. Copy it to begin your own.
//!
//! It does not write, and it does not show off; for that, see `memfs` and `mirrorfs`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use fusewire::reply::Dirent;
use fusewire::{Attr, Context, Errno, FileType, Filesystem, Name, NodeId, op, reply, sink};
use fusewire_launch::{Command, run};

/// The file's name, and the number by which the kernel knows it. The root's number is fixed: `NodeId::ROOT`, 1.
const NAME: &str = "hello.txt";
const FILE: NodeId = NodeId(2);
/// How long the kernel may go without asking again. Nothing ever changes here.
const FOREVER: Duration = Duration::MAX;

fn main() -> ExitCode {
    let command = Command::new("hellofs", env!("CARGO_PKG_VERSION"))
        .about("Shows a directory with one file, hello.txt, that holds a greeting")
        .value("greeting", "TEXT", "what the file says (default: Hello from Fusewire!)")
        .details(&["Nothing can be changed in it. It is the tutorial's filesystem, and shows whether mounting works."])
        .example("hellofs mnt", "the usual greeting")
        .example("hellofs -o greeting='Good day' mnt", "another one");
    run(command, |invocation| {
        let greeting = invocation.value::<String>("greeting")?;
        Ok(Hello::new(&greeting.unwrap_or_else(|| "Hello from Fusewire!".to_owned())))
    })
}

/// The filesystem: all that there is to know about it is the text of its file.
struct Hello {
    text: String,
}

impl Hello {
    fn new(greeting: &str) -> Self {
        Self { text: format!("{greeting}\n") }
    }

    /// What stat(2) shows of a node.
    fn attr(&self, node: NodeId) -> Result<Attr, Errno> {
        match node {
            NodeId::ROOT => Ok(Attr::new(NodeId::ROOT.0, FileType::DIRECTORY, 0o755)),
            FILE => {
                let mut attr = Attr::new(FILE.0, FileType::REGULAR, 0o644);
                attr.size = self.text.len() as u64;
                Ok(attr)
            }
            _ => Err(Errno::ENOENT),
        }
    }
}

impl Filesystem for Hello {
    /// Which file has this name in this directory?
    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        if op.parent != NodeId::ROOT || op.name.as_bytes() != NAME.as_bytes() {
            return Err(Errno::ENOENT);
        }
        Ok(reply::Entry::new(FILE, self.attr(FILE)?, FOREVER))
    }

    /// What kind of file is it, how large, whose?
    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        Ok(reply::Attributes::new(self.attr(op.node)?, FOREVER))
    }

    /// What is in this directory? Each entry says where the next call goes on; an empty answer is the end.
    fn readdir(&self, _: &Context<'_>, op: op::Readdir, out: &mut sink::DirEntries<'_>) -> Result<(), Errno> {
        let entries = [
            (NodeId::ROOT, FileType::DIRECTORY, "."),
            (NodeId::ROOT, FileType::DIRECTORY, ".."),
            (FILE, FileType::REGULAR, NAME),
        ];
        for ((node, kind, name), next) in entries.into_iter().zip(1..) {
            let name = Name::new(name.as_bytes()).map_err(|_| Errno::EINVAL)?;
            if next > op.offset && out.push(&Dirent::new(node.0, next, kind, name)).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// What does the file say, from this place on?
    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let start = usize::try_from(op.offset).unwrap_or(usize::MAX);
        out.put(self.text.as_bytes().get(start..).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fusewire::{FileHandle, Negotiated, RequestHeader, Slot, Unique};
    use fusewire_testkit::Running;
    use fusewire_testkit::faults::{self, Faults};
    use fusewire_testkit::model::{self, Features, Model};

    use super::*;

    /// Calls the filesystem as the kernel would, without a mount.
    fn ask<R>(question: impl FnOnce(&Hello, &Context<'_>) -> R) -> R {
        let (negotiated, slot) = (Negotiated::default(), Slot::default());
        question(&Hello::new("Good day"), &Context::detached(RequestHeader::new(Unique(2)), &negotiated, &slot))
    }

    fn read(offset: u64, room: &mut [u8]) -> Vec<u8> {
        ask(|hello, cx| {
            let mut out = sink::Data::over(room);
            hello.read(cx, op::Read::new(FILE, FileHandle(0), offset, 4096), &mut out).unwrap();
            out.written().to_vec()
        })
    }

    fn list(offset: u64, room: &mut [u8]) -> Vec<String> {
        ask(|hello, cx| {
            let mut out = sink::DirEntries::over(room);
            hello.readdir(cx, op::Readdir::new(NodeId::ROOT, FileHandle(0), offset, 4096), &mut out).unwrap();
            let entries = reply::DirEntries::new(out.written());
            entries.iter(cx.negotiated()).map(|entry| entry.unwrap().name.to_str().unwrap().to_owned()).collect()
        })
    }

    #[test]
    fn only_the_file_is_found() {
        let look = |parent, name: &str| {
            let name = Name::new(name.as_bytes()).unwrap();
            ask(|hello, cx| hello.lookup(cx, op::Lookup::new(parent, name)).map(|entry| entry.attr.size))
        };
        assert_eq!(look(NodeId::ROOT, NAME), Ok(9));
        assert_eq!(look(NodeId::ROOT, "other.txt"), Err(Errno::ENOENT));
        assert_eq!(look(FILE, NAME), Err(Errno::ENOENT));
    }

    #[test]
    fn reading_goes_to_the_end_and_not_beyond() {
        assert_eq!(read(0, &mut [0; 64]), b"Good day\n");
        assert_eq!(read(5, &mut [0; 2]), b"da");
        assert_eq!(read(9, &mut [0; 64]), b"");
        assert_eq!(read(u64::MAX, &mut [0; 64]), b"");
    }

    #[test]
    fn listing_goes_on_where_it_stopped() {
        assert_eq!(list(0, &mut [0; 4096]), [".", "..", NAME]);
        assert_eq!(list(0, &mut [0; 40]), ["."]);
        assert_eq!(list(1, &mut [0; 4096]), ["..", NAME]);
        assert!(list(3, &mut [0; 4096]).is_empty());
    }

    /// Serves it to a kernel in memory.
    fn start() -> Running {
        Running::session_direct(Hello::new("Good day"))
    }

    #[test]
    fn model_test_finds_no_difference() {
        model::check(&Model::of(Features::empty()), start);
    }

    #[test]
    fn ten_thousand_seeds_of_faults_keep_the_laws() {
        faults::check(0..10_000, Faults::all(), start);
    }
}
