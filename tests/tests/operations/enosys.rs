//! What the kernel makes of `ENOSYS`, operation by operation: the column of the table, measured.
//!
//! Each call is made twice on a filesystem that answers `ENOSYS` to that one operation.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use fusewire::opcode::{self, Answer, Enosys};
use fusewire::{Errno, InitFlags, Opcode};
use fusewire_tests::{Config, Stage};
use nix::errno::Errno as Native;
use nix::fcntl::{FallocateFlags, FcntlArg, copy_file_range, fallocate, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, Whence, access, lseek};
use rustix::fs::{AtFlags, CWD, RenameFlags, StatxFlags, XattrFlags, renameat_with, statx};

type Outcome = Result<(), Native>;

/// A call that makes the kernel send the operation, in a round of two.
type Call = fn(&Path, u8) -> Outcome;

struct Case {
    opcode: Opcode,
    call: Call,
    /// The error that both callers see.
    error: Option<Native>,
    /// Operations that do it instead.
    instead: &'static [Opcode],
}

const fn passed(opcode: Opcode, call: Call) -> Case {
    Case { opcode, call, error: Some(Native::ENOSYS), instead: &[] }
}

const fn fine(opcode: Opcode, call: Call) -> Case {
    Case { opcode, call, error: None, instead: &[] }
}

const fn becomes(opcode: Opcode, error: Native, call: Call) -> Case {
    Case { opcode, call, error: Some(error), instead: &[] }
}

const fn instead(opcode: Opcode, instead: &'static [Opcode], call: Call) -> Case {
    Case { opcode, call, error: None, instead }
}

fn done<T, E: Into<std::io::Error>>(result: Result<T, E>) -> Outcome {
    result.map(drop).map_err(|error| Native::from_raw(error.into().raw_os_error().unwrap()))
}

fn open(root: &Path) -> Result<File, Native> {
    let opened = File::options().read(true).write(true).open(root.join("file"));
    opened.map_err(|error| Native::from_raw(error.raw_os_error().unwrap()))
}

fn with_file<T, E: Into<std::io::Error>>(root: &Path, call: impl FnOnce(&File) -> Result<T, E>) -> Outcome {
    done(call(&open(root)?))
}

const CASES: &[Case] = &[
    passed(Opcode::LOOKUP, |root, _| done(fs::metadata(root.join("file")))),
    passed(Opcode::GETATTR, |root, _| done(nix::sys::stat::stat(root))),
    passed(Opcode::SETATTR, |root, _| done(nix::unistd::truncate(&root.join("file"), 3))),
    passed(Opcode::READLINK, |root, _| done(fs::read_link(root.join("link")))),
    passed(Opcode::SYMLINK, |root, _| done(std::os::unix::fs::symlink("to", root.join("new")))),
    passed(Opcode::MKNOD, |root, _| done(nix::unistd::mkfifo(&root.join("new"), Mode::S_IRWXU))),
    passed(Opcode::MKDIR, |root, _| done(fs::create_dir(root.join("new")))),
    passed(Opcode::UNLINK, |root, _| done(fs::remove_file(root.join("file")))),
    passed(Opcode::RMDIR, |root, _| done(fs::remove_dir(root.join("dir")))),
    passed(Opcode::RENAME, |root, _| done(fs::rename(root.join("file"), root.join("new")))),
    becomes(Opcode::LINK, Native::EPERM, |root, _| done(fs::hard_link(root.join("file"), root.join("new")))),
    fine(Opcode::OPEN, |root, _| open(root).map(drop)),
    passed(Opcode::READ, |root, _| with_file(root, |file| file.read_at(&mut [0], 0))),
    passed(Opcode::WRITE, |root, _| with_file(root, |file| file.write_at(b"x", 0))),
    passed(Opcode::STATFS, |root, _| done(nix::sys::statfs::statfs(root))),
    fine(Opcode::FSYNC, |root, _| with_file(root, File::sync_all)),
    becomes(Opcode::SETXATTR, Native::EOPNOTSUPP, |root, _| {
        done(rustix::fs::setxattr(root.join("file"), "user.a", b"v", XattrFlags::empty()))
    }),
    becomes(Opcode::GETXATTR, Native::EOPNOTSUPP, |root, _| {
        done(rustix::fs::getxattr(root.join("file"), "user.a", &mut [0_u8; 9]))
    }),
    becomes(Opcode::LISTXATTR, Native::EOPNOTSUPP, |root, _| {
        done(rustix::fs::listxattr(root.join("file"), &mut [0_u8; 9]))
    }),
    becomes(Opcode::REMOVEXATTR, Native::EOPNOTSUPP, |root, _| {
        done(rustix::fs::removexattr(root.join("file"), "user.a"))
    }),
    fine(Opcode::FLUSH, |root, _| done(nix::unistd::close(open(root)?))),
    fine(Opcode::OPENDIR, |root, _| done(File::open(root))),
    passed(Opcode::READDIR, |root, _| {
        let entries = fs::read_dir(root).map(|entries| entries.collect::<Result<Vec<_>, _>>());
        done(entries.and_then(|entries| entries))
    }),
    fine(Opcode::FSYNCDIR, |root, _| done(File::open(root).and_then(|root| root.sync_all()))),
    passed(Opcode::GETLK, |root, _| {
        with_file(root, |file| fcntl(file, FcntlArg::F_GETLK(&mut crate::locks::whole(libc::F_WRLCK))))
    }),
    passed(Opcode::SETLK, |root, _| {
        with_file(root, |file| fcntl(file, FcntlArg::F_SETLK(&crate::locks::whole(libc::F_WRLCK))))
    }),
    passed(Opcode::SETLKW, |root, _| {
        with_file(root, |file| fcntl(file, FcntlArg::F_SETLKW(&crate::locks::whole(libc::F_WRLCK))))
    }),
    fine(Opcode::ACCESS, |root, _| done(access(&root.join("file"), AccessFlags::R_OK))),
    instead(Opcode::CREATE, &[Opcode::MKNOD, Opcode::OPEN], |root, round| {
        done(File::create_new(root.join(format!("new {round}"))))
    }),
    becomes(Opcode::IOCTL, Native::ENOTTY, |root, _| with_file(root, |file| rustix::fs::ioctl_getflags(file))),
    fine(Opcode::POLL, |root, _| {
        with_file(root, |file| {
            let mut asked = [PollFd::new(std::os::fd::AsFd::as_fd(file), PollFlags::POLLIN)];
            assert_eq!(poll(&mut asked, PollTimeout::ZERO), Ok(1));
            Ok::<_, Native>(())
        })
    }),
    becomes(Opcode::FALLOCATE, Native::EOPNOTSUPP, |root, _| {
        with_file(root, |file| fallocate(file, FallocateFlags::empty(), 0, 9))
    }),
    passed(Opcode::READDIRPLUS, |root, _| {
        let entries = fs::read_dir(root).map(|entries| entries.collect::<Result<Vec<_>, _>>());
        done(entries.and_then(|entries| entries))
    }),
    becomes(Opcode::RENAME2, Native::EINVAL, |root, _| {
        done(renameat_with(CWD, root.join("file"), CWD, root.join("new"), RenameFlags::NOREPLACE))
    }),
    instead(Opcode::LSEEK, &[], |root, _| {
        with_file(root, |file| {
            // The whole file counts as data.
            assert_eq!((lseek(file, 5, Whence::SeekData)?, lseek(file, 5, Whence::SeekHole)?), (5, 20));
            Ok::<_, Native>(())
        })
    }),
    instead(Opcode::COPY_FILE_RANGE, &[Opcode::READ, Opcode::WRITE], copy),
    becomes(Opcode::TMPFILE, Native::EOPNOTSUPP, |root, _| {
        done(nix::fcntl::open(root, nix::fcntl::OFlag::O_TMPFILE | nix::fcntl::OFlag::O_RDWR, Mode::S_IRWXU))
    }),
    instead(Opcode::STATX, &[Opcode::GETATTR], |root, _| {
        done(statx(CWD, root, AtFlags::empty(), StatxFlags::BTIME | StatxFlags::SIZE))
    }),
    instead(Opcode::COPY_FILE_RANGE_64, &[Opcode::COPY_FILE_RANGE], copy),
];

fn copy(root: &Path, _: u8) -> Outcome {
    let to = File::options().write(true).open(root.join("dir/inner")).unwrap();
    with_file(root, |from| copy_file_range(from, Some(&mut 0), &to, Some(&mut 0), 5))
}

/// Without an answer that anybody looks at, not for a filesystem to answer, or measured elsewhere.
fn is_exempt(opcode: Opcode) -> bool {
    let row = opcode.row().unwrap();
    let unreachable = crate::as_root::UNREACHABLE.iter().any(|(unreachable, _)| *unreachable == opcode);
    unreachable || row.enosys == Enosys::NotAnswered || row.answer == Answer::Session || opcode == Opcode::BMAP
}

fn measure(case: &Case) -> Enosys {
    let mut config = Config::forgetful();
    config.require = InitFlags::POSIX_LOCKS | InitFlags::FLOCK_LOCKS;
    if case.opcode == Opcode::READDIRPLUS {
        config.require |= InitFlags::DO_READDIRPLUS;
    }
    config.opened = if case.opcode == Opcode::READ { fusewire::OpenedFlags::DIRECT_IO } else { config.opened };
    let stage = Stage::new(config);
    stage.fs.fail(case.opcode, Errno::ENOSYS);
    if case.opcode == Opcode::COPY_FILE_RANGE {
        stage.fs.fail(Opcode::COPY_FILE_RANGE_64, Errno::ENOSYS);
    }
    let expected = case.error.map_or(Ok(()), Err);
    let mut counts = [0; 2];
    for (round, count) in (0..).zip(&mut counts) {
        stage.log().clear();
        assert_eq!((case.call)(stage.root(), round), expected, "{}, round {round}", case.opcode);
        *count = stage.log().count(case.opcode);
        for instead in case.instead {
            assert_ne!(stage.log().count(*instead), 0, "{instead} instead of {}, round {round}", case.opcode);
        }
    }
    assert_ne!(counts[0], 0, "{} was never asked for", case.opcode);
    let falls_back = !case.instead.is_empty() || case.opcode == Opcode::LSEEK;
    match (case.error, counts[1] > 0) {
        (Some(Native::ENOSYS), true) => Enosys::Passed,
        (Some(_), true) => Enosys::Translated,
        (Some(_), false) => Enosys::Unsupported,
        (None, false) if falls_back => Enosys::FallsBack,
        (None, false) => Enosys::Succeeds,
        (None, true) => panic!("{} succeeds and is asked for again", case.opcode),
    }
}

#[test]
fn kernel_does_with_enosys_what_the_table_says() {
    let measured: Vec<_> = CASES.iter().map(|case| (case.opcode, measure(case))).collect();
    let told: Vec<_> = CASES.iter().map(|case| (case.opcode, case.opcode.row().unwrap().enosys)).collect();
    let wrong: Vec<_> = measured.iter().zip(&told).filter(|(measured, told)| measured != told).collect();
    assert!(wrong.is_empty(), "measured, and told by the table: {wrong:?}");
    for row in opcode::rows() {
        let has_case = CASES.iter().any(|case| case.opcode == row.opcode);
        assert_ne!(has_case, is_exempt(row.opcode), "{}", row.opcode);
    }
}
