//! The laws that can be told from a request and its answer alone.
//!
//! Whether the answer may come at all, and what it does to counts, is checked by the connection.

use std::mem::{offset_of, size_of};

use fusewire_proto::op::{LockKind, Whence};
use fusewire_proto::reply::{Entry, Reply};
use fusewire_proto::{Attr, FileType, Negotiated, NodeId, Request, Timestamp, abi};

use crate::laws::{Law, LawBook};

/// How long a body must be, where it is of fixed size (`fs/fuse/dev.c fuse_copy_out_args()`).
fn exact_size(reply: &Reply<'_>) -> Option<usize> {
    match reply {
        Reply::Nothing(_) | Reply::Done(_) => Some(0),
        Reply::Entry(_) => Some(size_of::<abi::fuse_entry_out>()),
        Reply::Attributes(_) => Some(size_of::<abi::fuse_attr_out>()),
        Reply::Opened(_) => Some(size_of::<abi::fuse_open_out>()),
        Reply::Created(_) => Some(size_of::<abi::fuse_entry_out>() + size_of::<abi::fuse_open_out>()),
        Reply::Written(_) => Some(size_of::<abi::fuse_write_out>()),
        Reply::Copied(_) => Some(size_of::<abi::fuse_copy_file_range_out>()),
        Reply::Statfs(_) => Some(size_of::<abi::fuse_statfs_out>()),
        Reply::Lock(_) => Some(size_of::<abi::fuse_lk_out>()),
        Reply::Block(_) => Some(size_of::<abi::fuse_bmap_out>()),
        Reply::Polled(_) => Some(size_of::<abi::fuse_poll_out>()),
        Reply::Offset(_) => Some(size_of::<abi::fuse_lseek_out>()),
        Reply::StatxReply(_) => Some(size_of::<abi::fuse_statx_out>()),
        _ => None,
    }
}

/// Checks what a successful answer says.
pub(crate) fn check(
    book: &mut LawBook,
    negotiated: &Negotiated,
    request: &Request<'_>,
    reply: &Reply<'_>,
    body: &[u8],
) {
    if let Some(size) = exact_size(reply) {
        book.demand(Law::ReplyBody, body.len() == size, || {
            format!("{}: a body of {} bytes where {size} are wanted", request.opcode(), body.len())
        });
    }
    match (request, reply) {
        (Request::Lookup(_), Reply::Entry(entry)) => {
            if entry.is_negative() {
                timeouts(book, body, &[offset_of!(abi::fuse_entry_out, entry_valid_nsec)]);
            } else {
                entry_laws(book, entry, body);
            }
        }
        (_, Reply::Entry(entry)) => {
            entry_laws(book, entry, body);
            as_made(book, request, entry);
        }
        (_, Reply::Created(created)) => {
            entry_laws(book, &created.entry, body);
            as_made(book, request, &created.entry);
        }
        (_, Reply::Attributes(attributes)) => {
            attr_laws(book, &attributes.attr);
            timeouts(book, body, &[offset_of!(abi::fuse_attr_out, attr_valid_nsec)]);
        }
        (Request::Write(op), Reply::Written(written)) => {
            no_more(book, u64::from(written.size), u64::try_from(op.data.len()).unwrap_or(u64::MAX));
        }
        (Request::CopyFileRange(op), Reply::Written(written)) => no_more(book, u64::from(written.size), op.length),
        (Request::CopyFileRange64(op), Reply::Copied(copied)) => no_more(book, copied.size, op.length),
        (Request::Readlink(_), Reply::Data(data)) => {
            let length = data.bytes.len();
            book.demand(Law::ReadlinkTarget, (1..4096).contains(&length) && !data.bytes.contains(&0), || {
                format!("{length} bytes: {}", data.bytes.escape_ascii())
            });
        }
        (Request::Listxattr(op), Reply::Xattr(fusewire_proto::reply::Xattr::Value(list))) if op.size > 0 => {
            let named = list.split_inclusive(|byte| *byte == 0).all(|name| name.len() > 1 && name.ends_with(&[0]));
            book.demand(Law::XattrList, named, || format!("{}", list.escape_ascii()));
        }
        (Request::Getxattr(_) | Request::Listxattr(_), Reply::Xattr(fusewire_proto::reply::Xattr::Size(size))) => {
            book.demand(Law::XattrSize, *size <= 65_536, || format!("{size} bytes"));
        }
        (Request::Getlk(_), Reply::Lock(lock)) => {
            let lock = lock.lock;
            let known = [LockKind::READ, LockKind::WRITE, LockKind::UNLOCK].contains(&lock.kind);
            let range = lock.start <= lock.end && i64::try_from(lock.end).is_ok();
            book.demand(Law::LockValid, known && (lock.kind == LockKind::UNLOCK || range), || format!("{lock:?}"));
        }
        (Request::Lseek(op), Reply::Offset(found)) if op.whence == Whence::DATA || op.whence == Whence::HOLE => {
            book.demand(Law::SeekForward, found.offset >= op.offset, || {
                format!("searched from {}, found {}", op.offset, found.offset)
            });
        }
        (_, Reply::DirEntries(entries)) => {
            for entry in entries.iter(negotiated).flatten() {
                dirent_laws(book, entry.offset, entry.name.as_bytes());
            }
        }
        (_, Reply::DirEntriesPlus(entries)) => {
            for (entry, dirent) in entries.iter(negotiated).flatten() {
                dirent_laws(book, dirent.offset, dirent.name.as_bytes());
                if entry.is_negative() || is_dot(dirent.name.as_bytes()) {
                    continue;
                }
                node_id_valid(book, entry.node);
                attr_laws(book, &entry.attr);
                let kind = entry.attr.file_type();
                book.demand(Law::DirentType, dirent.kind == FileType::UNKNOWN || dirent.kind == kind, || {
                    format!("{} is announced as {:?} and is {kind:?}", dirent.name, dirent.kind)
                });
            }
        }
        _ => {}
    }
}

/// Whether it is `.` or `..`, which are listed but never looked up.
pub(crate) fn is_dot(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

fn node_id_valid(book: &mut LawBook, node: NodeId) {
    book.demand(Law::NodeIdValid, node != NodeId(0) && node != NodeId::ROOT, || format!("node id {node}"));
}

fn entry_laws(book: &mut LawBook, entry: &Entry, body: &[u8]) {
    node_id_valid(book, entry.node);
    attr_laws(book, &entry.attr);
    timeouts(
        book,
        body,
        &[offset_of!(abi::fuse_entry_out, entry_valid_nsec), offset_of!(abi::fuse_entry_out, attr_valid_nsec)],
    );
}

/// The types that a file can have.
const TYPES: [FileType; 7] = [
    FileType::REGULAR,
    FileType::DIRECTORY,
    FileType::SYMLINK,
    FileType::FIFO,
    FileType::SOCKET,
    FileType::CHARACTER_DEVICE,
    FileType::BLOCK_DEVICE,
];

fn attr_laws(book: &mut LawBook, attr: &Attr) {
    book.demand(Law::FileTypeValid, TYPES.contains(&attr.file_type()), || format!("mode {:o}", attr.mode));
    book.demand(Law::FileSizeValid, i64::try_from(attr.size).is_ok(), || format!("size {}", attr.size));
    let whole = |time: Timestamp| time.nanoseconds < 1_000_000_000;
    book.demand(Law::Nanoseconds, whole(attr.atime) && whole(attr.mtime) && whole(attr.ctime), || {
        format!("atime {:?}, mtime {:?}, ctime {:?}", attr.atime, attr.mtime, attr.ctime)
    });
}

/// The nanoseconds of timeouts, at these places in the body; decoding has cut them down already.
fn timeouts(book: &mut LawBook, body: &[u8], places: &[usize]) {
    for place in places {
        let word = body.get(*place..).and_then(|rest| rest.first_chunk::<4>());
        let nanoseconds = word.map_or(0, |word| u32::from_ne_bytes(*word));
        book.demand(Law::Nanoseconds, nanoseconds < 1_000_000_000, || format!("a timeout has {nanoseconds} ns"));
    }
}

fn as_made(book: &mut LawBook, request: &Request<'_>, entry: &Entry) {
    let wanted = match request {
        Request::Mkdir(_) => FileType::DIRECTORY,
        Request::Symlink(_) => FileType::SYMLINK,
        Request::Create(_) | Request::Tmpfile(_) => FileType::REGULAR,
        // mknod(2): no type means a regular file.
        Request::Mknod(op) => match FileType::from_mode(op.mode) {
            FileType::UNKNOWN => FileType::REGULAR,
            kind => kind,
        },
        _ => return,
    };
    book.demand(Law::FileTypeAsMade, entry.attr.file_type() == wanted, || {
        format!("{} made something of mode {:o}", request.opcode(), entry.attr.mode)
    });
}

fn no_more(book: &mut LawBook, done: u64, asked: u64) {
    book.demand(Law::WrittenNoMore, done <= asked, || format!("{done} of {asked} bytes"));
}

fn dirent_laws(book: &mut LawBook, offset: u64, name: &[u8]) {
    book.demand(Law::DirentOffsets, offset != 0, || format!("{} has offset 0", name.escape_ascii()));
    book.demand(Law::DirentNames, name.len() <= 1024, || format!("a name of {} bytes", name.len()));
}
