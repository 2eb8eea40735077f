//! A large tree and few descriptors: everything is reached, also more files at a time than the program may have open.
//!
//! With `FUSEWIRE_FILES=1000000` the tree has that many files; otherwise it has enough to go over the limit many times.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};

/// The limit of descriptors of the daemon.
const LIMIT: usize = 1024;
/// Files in each directory.
const EACH: usize = 1000;

/// A tree with a daemon that mirrors it.
struct Stage {
    directory: tempfile::TempDir,
    files: usize,
    user: Option<(u32, u32)>,
}

impl Stage {
    fn new(user: Option<(u32, u32)>, words: &str) -> Self {
        let files = std::env::var("FUSEWIRE_FILES").ok().and_then(|files| files.parse().ok()).unwrap_or(20_000);
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("opening it to all");
        let stage = Self { directory, files, user };
        for name in ["source", "mnt"] {
            fs::create_dir(stage.path(name)).expect("a directory");
        }
        for number in 0..files {
            if number % EACH == 0 {
                fs::create_dir(stage.file(number).parent().expect("a parent")).expect("a directory");
            }
            File::create(stage.file(number)).expect("a file");
        }
        let program = stage.path("mirrorfs");
        fs::copy(env!("CARGO_BIN_EXE_mirrorfs"), &program).expect("copying the program");
        if let Some((uid, gid)) = user {
            for name in ["source", "mnt"] {
                chown(stage.path(name), Some(uid), Some(gid)).expect("giving the directory away");
            }
            let status = Command::new("chown").args(["-R", &format!("{uid}:{gid}")]).arg(stage.path("source")).status();
            assert!(status.expect("running chown").success());
        }
        let script = format!("ulimit -n {LIMIT} && exec \"$0\" source mnt -o {words}");
        let status = stage.command("sh", &["-c", &script]).arg(&program).status();
        // It ends when the mount is ready.
        assert!(status.expect("running mirrorfs").success());
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file of the source.
    fn file(&self, number: usize) -> PathBuf {
        self.path("source").join(format!("directory{}/file{number}", number / EACH))
    }

    /// The same file, through the mirror.
    fn shown(&self, number: usize) -> PathBuf {
        let file = self.file(number);
        self.path("mnt").join(file.strip_prefix(self.path("source")).expect("a file of the source"))
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.arg("280").arg(program).args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn output(&self, script: &str) -> String {
        let output = self.command("sh", &["-eu", "-c", script]).output().expect("running sh");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}: {} {said}", output.status);
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// How many descriptors the daemon has.
    fn descriptors(&self) -> usize {
        let program = self.path("mirrorfs");
        let daemon = fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .map(|entry| entry.path())
            .find(|process| fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program));
        count(&daemon.expect("the daemon").join("fd"))
    }

    fn check(&self) {
        let files = self.files.to_string();
        assert_eq!(self.output("find mnt -type f | wc -l"), files);
        // Each is looked up.
        assert_eq!(self.output("find mnt -type f -links 1 -size 0 | wc -l"), files);
        assert!(self.descriptors() <= LIMIT, "{}", self.descriptors());
        // Inodes from everywhere, in no order, and each is the right one.
        for number in (0..2000).map(|step| step * 7919 % self.files) {
            let (shown, source) = (fs::metadata(self.shown(number)), fs::metadata(self.file(number)));
            assert_eq!(shown.expect("through the mirror").ino(), source.expect("in the source").ino());
        }
        self.output("cd mnt && mv directory1 moved && echo 1 > moved/new && mv moved directory1 && rm directory1/new");
        self.output("cd mnt && rm -rf directory0 && ! test -e directory0");
        assert!(!self.file(0).exists());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let mountpoint = self.path("mnt");
        let helper = if self.user.is_some() { "fusermount3 -u mnt" } else { "umount mnt" };
        let status = self.command("sh", &["-c", helper]).status();
        if !status.is_ok_and(|status| status.success()) {
            // A directory that is still mounted cannot be removed, and a test that fails already does not mind.
            let _ = nix::mount::umount2(&mountpoint, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

fn count(directory: &Path) -> usize {
    fs::read_dir(directory).expect("a directory").count()
}

#[test]
fn large_tree_is_reached_with_few_descriptors() {
    let stage = Stage::new(None, "cache=always");
    stage.check();
}

#[test]
fn more_directories_are_open_than_there_are_descriptors() {
    let stage = Stage::new(None, "cache=auto");
    mirrorfs::raise_descriptor_limit().expect("raising the limit of this test");
    let directories = stage.files / EACH;
    let place = |number: usize| stage.path("mnt").join(format!("directory{}", number % directories));
    let open: Vec<_> = (0..LIMIT + LIMIT / 2).map(|number| fs::read_dir(place(number)).expect("opening")).collect();
    assert!(stage.descriptors() < LIMIT / 2, "{}", stage.descriptors());
    // Some of them are open in the daemon, and most are not.
    for listing in open.into_iter().step_by(LIMIT / 16) {
        assert_eq!(listing.flatten().count(), EACH);
    }
    File::open(place(0)).expect("opening a directory").sync_all().expect("syncing it");
}

mod as_user {
    use super::{Stage, User, geteuid};

    #[test]
    fn large_tree_is_reached_with_few_descriptors() {
        assert!(geteuid().is_root(), "this test needs root, to be another user");
        let user = std::env::var("FUSEWIRE_TEST_USER").map_or((65534, 65534), |name| {
            let user = User::from_name(&name).expect("looking the user up").expect("the user of FUSEWIRE_TEST_USER");
            (user.uid.as_raw(), user.gid.as_raw())
        });
        // Root is not let into the mount of a user.
        let stage = Stage::new(Some(user), "cache=always");
        let files = stage.files.to_string();
        assert_eq!(stage.output("find mnt -type f | wc -l"), files);
        assert_eq!(stage.output("find mnt -type f -links 1 -size 0 | wc -l"), files);
        stage.output("cd mnt && cat */* | wc -c");
        stage.output("cd mnt && mv directory1 moved && echo 1 > moved/new && mv moved directory1 && rm directory1/new");
        stage.output("cd mnt && rm -rf directory0 && ! test -e directory0");
        assert!(!stage.file(0).exists());
    }
}
