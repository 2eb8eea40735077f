//! `serve_polyfuse MOUNTPOINT THREADS`: the tree, served by polyfuse until it is unmounted, by one thread.
//!
//! polyfuse leaves the loop to its users; this is the plain one of its examples.

#![forbid(unsafe_code)]

use std::io;
use std::os::unix::ffi::OsStrExt;

use anyhow::Result;
use fusewire_benches::compare::server_arguments;
use fusewire_benches::tree::{self, Node, Tree};
use polyfuse::reply::{AttrOut, EntryOut, FileAttr, OpenOut, ReaddirOut, WriteOut, XattrOut};
use polyfuse::{KernelConfig, Operation, Request, Session};

fn main() -> Result<()> {
    let (mountpoint, _) = server_arguments()?;
    let mut config = KernelConfig::default();
    config.mount_option("fsname=polyfuse-table").max_write(tree::MAX_WRITE).max_background(tree::MAX_BACKGROUND);
    config.congestion_threshold(tree::CONGESTION).auto_inval_data(false).handle_killpriv(false).async_dio(false);
    let session = Session::mount(mountpoint, config)?;
    let tree = Tree::new();
    while let Some(request) = session.next_request()? {
        match serve(&tree, &request) {
            // The caller is gone.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(())
}

fn fill(attr: &mut FileAttr, node: &Node) {
    attr.ino(node.id);
    attr.size(node.size);
    attr.blocks(node.size.div_ceil(512));
    attr.mode(node.mode());
    attr.nlink(1);
    attr.blksize(4096);
}

fn entry(node: &Node) -> EntryOut {
    let mut out = EntryOut::default();
    out.ino(node.id);
    out.ttl_entry(node.entry_timeout);
    out.ttl_attr(node.attr_timeout);
    fill(out.attr(), node);
    out
}

fn attributes(tree: &Tree, request: &Request, id: u64) -> io::Result<()> {
    let Some(node) = tree.node(id) else { return request.reply_error(libc::ENOENT) };
    let mut out = AttrOut::default();
    out.ttl(node.attr_timeout);
    fill(out.attr(), &node);
    request.reply(out)
}

fn serve(tree: &Tree, request: &Request) -> io::Result<()> {
    let operation = request.operation().map_err(|error| io::Error::other(format!("{error:?}")))?;
    match operation {
        Operation::Lookup(op) => match tree.lookup(op.parent(), op.name().as_bytes()) {
            Some(node) => request.reply(entry(&node)),
            None => request.reply_error(libc::ENOENT),
        },
        Operation::Getattr(op) => attributes(tree, request, op.ino()),
        Operation::Setattr(op) => attributes(tree, request, op.ino()),
        Operation::Mkdir(op) => match tree.make(op.parent(), op.name().as_bytes()) {
            Some(node) => request.reply(entry(&node)),
            None => request.reply_error(libc::EPERM),
        },
        Operation::Create(op) => match tree.make(op.parent(), op.name().as_bytes()) {
            Some(node) => request.reply((entry(&node), OpenOut::default())),
            None => request.reply_error(libc::EPERM),
        },
        Operation::Unlink(op) => removed(request, tree.remove(op.parent(), op.name().as_bytes())),
        Operation::Rmdir(op) => removed(request, tree.remove(op.parent(), op.name().as_bytes())),
        Operation::Open(op) => {
            let mut out = OpenOut::default();
            out.direct_io(tree.node(op.ino()).is_some_and(|node| node.is_direct()));
            request.reply(out)
        }
        Operation::Opendir(_) => request.reply(OpenOut::default()),
        Operation::Read(op) => request.reply(tree.read(op.ino(), op.offset(), op.size())),
        Operation::Write(op, _) => {
            let mut out = WriteOut::default();
            out.size(op.size());
            request.reply(out)
        }
        Operation::Readdir(op) => {
            let mut out = ReaddirOut::new(usize::try_from(op.size()).unwrap_or(0));
            for (ino, offset, name) in tree.entries(op.ino(), op.offset()) {
                let name = std::ffi::OsStr::from_bytes(name);
                if out.entry(name, ino, libc::S_IFREG >> 12, offset) {
                    break;
                }
            }
            request.reply(out)
        }
        Operation::Getxattr(op) if op.name().as_bytes() != tree::XATTR => request.reply_error(libc::ENODATA),
        Operation::Getxattr(op) if op.size() == 0 => {
            let mut out = XattrOut::default();
            out.size(u32::try_from(tree::XATTR_VALUE.len()).unwrap_or(0));
            request.reply(out)
        }
        Operation::Getxattr(_) => request.reply(tree::XATTR_VALUE),
        Operation::Release(_) | Operation::Releasedir(_) => request.reply(()),
        Operation::Forget(_) | Operation::Interrupt(_) => Ok(()),
        _ => request.reply_error(libc::ENOSYS),
    }
}

fn removed(request: &Request, removed: Option<()>) -> io::Result<()> {
    match removed {
        Some(()) => request.reply(()),
        None => request.reply_error(libc::ENOENT),
    }
}
