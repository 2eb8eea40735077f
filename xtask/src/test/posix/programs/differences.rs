//! What ext4 or tmpfs do and a FUSE filesystem may not: each a claim, as a script for Python, that the list of what is known not to
//! pass is held against. A kernel that learns one fails the run until the list is corrected.

/// A claim.
pub(super) struct Difference {
    /// The name of its case.
    pub(super) name: &'static str,
    /// Fails where the claim does not hold. `PRELUDE` comes before it.
    pub(super) script: &'static str,
}

/// What the scripts share: modules, a file of one page, a system call by its number, and a call that is refused.
pub(super) const PRELUDE: &str = r#"
import ctypes, errno, fcntl, mmap, os, select, struct, subprocess, time
libc = ctypes.CDLL(None, use_errno=True)
def make(data=b'x' * 4096):
    with open('file', 'wb', buffering=0) as file: file.write(data)
def call(number, *arguments):
    arguments = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    if (result := libc.syscall(ctypes.c_long(number), *arguments)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def later(before, what='st_mtime_ns'): return getattr(os.stat('file'), what) > getattr(before, what)
PAUSE = 0.05
"#;

const fn difference(name: &'static str, script: &'static str) -> Difference {
    Difference { name, script }
}

/// All of them.
pub(super) const DIFFERENCES: &[Difference] = &[
    difference(
        "difference: reading what the kernel has cached is noted in the access time",
        "make(); before = os.stat('file'); time.sleep(PAUSE); open('file', 'rb').read(); assert later(before, 'st_atime_ns')",
    ),
    difference(
        "difference: storing through a map changes the time before it is written",
        r"
make(); before = os.stat('file'); time.sleep(PAUSE)
with open('file', 'r+b') as file:
    mapped = mmap.mmap(file.fileno(), 0); mapped[0] = 1
    assert later(before)
",
    ),
    difference(
        "difference: what was stored in a hole through a map is data before it is written",
        r"
make(b'')
with open('file', 'r+b') as file:
    os.ftruncate(file.fileno(), 1 << 20)
    mapped = mmap.mmap(file.fileno(), 0); mapped[65536] = 1
    assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 65536
",
    ),
    difference(
        "difference: a hole is found",
        r"
make(b'')
with open('file', 'r+b') as file:
    os.ftruncate(file.fileno(), 1 << 20)
    assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 0
",
    ),
    difference(
        "difference: truncating to the size that a file has changes its time",
        "make(); before = os.stat('file'); time.sleep(PAUSE); os.truncate('file', 4096); assert later(before)",
    ),
    difference(
        "difference: chown to nobody takes suid away, by root too",
        "make(); os.chmod('file', 0o4755); os.chown('file', -1, -1); assert os.stat('file').st_mode & 0o4000 == 0",
    ),
    difference("difference: the filesystem has an id", "assert os.statvfs('.').f_fsid != 0"),
    difference(
        "difference: fanotify watches all of the filesystem and tells files by handles",
        "watch = call(300, 0x200, os.O_RDONLY); call(301, watch, 0x101, 0x3c7, -100, ctypes.c_char_p(b'.'))",
    ),
    difference(
        "difference: a mount of it can show other owners (idmapped)",
        r"
tree = call(428, -100, ctypes.c_char_p(b'.'), 1)
child = subprocess.Popen(['unshare', '-U', 'sleep', '5'])
while os.readlink(f'/proc/{child.pid}/ns/user') == os.readlink('/proc/self/ns/user'): time.sleep(0.01)
for which in ('uid_map', 'gid_map'): open(f'/proc/{child.pid}/{which}', 'w').write('0 100000 65536')
space = os.open(f'/proc/{child.pid}/ns/user', os.O_RDONLY)
try: call(442, tree, ctypes.c_char_p(b''), 0x1000, ctypes.create_string_buffer(struct.pack('QQQQ', 0x100000, 0, 0, space)), 32)
finally: child.kill()
",
    ),
    difference(
        "difference: epoll refuses a regular file",
        r"
make(); poll = select.epoll()
try: poll.register(os.open('file', os.O_RDWR))
except PermissionError: pass
else: raise AssertionError('it was taken')
",
    ),
    difference(
        "difference: a range is collapsed and inserted",
        "make(b'x' * 65536); file = os.open('file', os.O_RDWR); call(285, file, 8, 4096, 4096); call(285, file, 32, 4096, 4096)",
    ),
    difference(
        "difference: the flags of a file are told and set (lsattr, chattr)",
        r"
make(); file = os.open('file', os.O_RDONLY)
fcntl.ioctl(file, 0x80086601, bytes(8)); fcntl.ioctl(file, 0x40086602, struct.pack('q', 0x40))
",
    ),
    difference(
        "difference: the extents of a file are told (filefrag)",
        "make(); fcntl.ioctl(os.open('file', os.O_RDONLY), 0xc020660b, struct.pack('QQIIII', 0, 1 << 62, 0, 0, 0, 0))",
    ),
    difference(
        "difference: reading can be asked not to wait (RWF_NOWAIT)",
        r"
make(); file = os.open('file', os.O_RDONLY); os.pread(file, 4, 0)
try: os.preadv(file, [bytearray(4)], 0, os.RWF_NOWAIT)
except BlockingIOError: pass
",
    ),
    difference(
        "difference: a file of it is used for swapping",
        r"
page = 4096; subprocess.run(['fallocate', '-l', str(64 * page), 'file'], check=True)
os.chmod('file', 0o600); subprocess.run(['mkswap', 'file'], check=True)
path = ctypes.c_char_p(os.path.abspath('file').encode()); call(167, path, 0); call(168, path)
",
    ),
    difference(
        "difference: a file handle is good when the kernel has forgotten the file",
        r"
make(); handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128)); mount = ctypes.c_int()
call(303, -100, ctypes.c_char_p(b'file'), handle, ctypes.byref(mount), 0)
open('/proc/sys/vm/drop_caches', 'w').write('2')
os.close(call(304, os.open('.', os.O_RDONLY), handle, os.O_RDONLY))
",
    ),
];
