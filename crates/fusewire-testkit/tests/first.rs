//! A filesystem of one file, and its unit test.

use std::time::Duration;

use fusewire::{Attr, Context, Errno, FileType, Filesystem, NodeId, op, reply, sink};
use fusewire_testkit::Mount;
use fusewire_testkit::laws::Law;

const SECOND: Duration = Duration::from_secs(1);

struct Greeting;

fn attr(node: NodeId) -> Attr {
    let kind = if node == NodeId::ROOT { FileType::DIRECTORY } else { FileType::REGULAR };
    Attr::new(node.0, kind, 0o755)
}

impl Filesystem for Greeting {
    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        let found = || reply::Entry::new(NodeId(2), attr(NodeId(2)), SECOND);
        (op.name.as_bytes() == b"hello").then(found).ok_or(Errno::ENOENT)
    }

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        Ok(reply::Attributes::new(attr(op.node), SECOND))
    }

    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let start = usize::try_from(op.offset).unwrap_or(usize::MAX);
        out.put(b"Good day\n".get(start..).unwrap_or_default());
        Ok(())
    }
}

#[test]
fn greeting_is_read_and_not_written() -> Result<(), Errno> {
    let k = Mount::of(Greeting)?;
    assert_eq!(k.stat("/")?.file_type(), FileType::DIRECTORY);
    assert_eq!(k.read("/hello")?, b"Good day\n");
    assert_eq!(k.stat("/other"), Err(Errno::ENOENT));
    assert_eq!(k.mkdir("/dir", 0o755), Err(Errno::ENOSYS));

    let file = k.open("/hello", libc::O_RDWR)?;
    assert_eq!(file.pread(5, 100)?, b"day\n");
    assert_eq!(file.pwrite(0, b"Bad"), Err(Errno::ENOSYS));
    file.close()?;

    assert_eq!(k.kernel().lookups(NodeId(2)), 1); // what is known is not asked for again
    k.advance(2 * SECOND);
    assert_eq!(k.stat("/hello")?.mode & 0o777, 0o755);
    assert_eq!(k.kernel().lookups(NodeId(2)), 2);
    let laws = k.unmount(); // a broken law would have failed the test where it showed
    assert!(laws.violations().is_empty() && laws.checked(Law::OneReply) > 5);
    Ok(())
}
