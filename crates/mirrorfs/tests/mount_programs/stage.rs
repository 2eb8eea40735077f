//! What a case stands on: two copies of a source tree, a mirror of one of them, and a process of the right user.
//!
//! A child that runs as somebody else is this test program again, in the mount namespace of the test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use fusewire::SessionConfig;
use fusewire::mount::{MountMethod, MountOptions};
use mirrorfs::Mirror;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{User, geteuid};

use crate::options;
use crate::programs::{PROGRAMS, Program};

/// How many files the tree has, at least.
const FILES: usize = 3000;
/// Crates with more files than this are left out: the tree is to have many different ones.
const MOST: usize = 700;
const NOTHING: Option<&str> = None;
/// What the child that runs as somebody else is to do.
const SCENARIO: &str = "FUSEWIRE_SCENARIO";

/// Who serves, and who runs the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Whoever runs the test does both.
    Oneself,
    /// An ordinary user does both, with the help of `fusermount3`.
    User,
    /// Root serves, and an ordinary user runs the programs.
    UserServedByRoot,
    /// An ordinary user does both as root of a user namespace, without `fusermount3`.
    UserNamespace,
}

/// The ground of a case.
pub(crate) struct Stage {
    directory: PathBuf,
}

impl Stage {
    /// Runs all programs as `who` on a mirror with the options that `word` stands for.
    pub(crate) fn run(who: Who, word: &str) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("opening the directory to all");
        let stage = Self { directory: directory.path().canonicalize().expect("the directory's path") };
        for name in ["native", "source", "mnt", "home"] {
            fs::create_dir(stage.path(name)).expect("a directory");
        }
        copy_tree(&stage.path("native"));
        shell(&stage.directory, "cp -a native/. source/");
        if who == Who::Oneself || !geteuid().is_root() {
            return stage.compare(who, word);
        }
        let (uid, gid) = test_user();
        for name in ["native", "source", "mnt", "home"] {
            chown(stage.path(name), Some(uid), Some(gid)).expect("giving the directory away");
        }
        chown(&stage.directory, Some(uid), Some(gid)).expect("giving the directory away");
        shell(&stage.directory, &format!("chown -R {uid}:{gid} native source"));
        // What is done to the mount namespace is this thread's.
        let there = || {
            unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
            mount(NOTHING, "/", NOTHING, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NOTHING).expect("a private tree");
            stage.show_toolchain();
            let mirror = (who == Who::UserServedByRoot).then(|| stage.mount(who, word));
            stage.run_child(who, word, (uid, gid));
            drop(mirror);
        };
        thread::scope(|scope| scope.spawn(there).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes this program and the Rust toolchain visible to users who cannot go where they are.
    fn show_toolchain(&self) {
        let program = self.path("program");
        fs::write(&program, "").expect("a file");
        let this = std::env::current_exe().expect("the path of this program");
        mount(Some(&this), &program, NOTHING, MsFlags::MS_BIND, NOTHING).expect("showing this program");
        let toolchain = self.path("toolchain");
        fs::create_dir(&toolchain).expect("a directory");
        let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().expect("running rustc");
        let sysroot = String::from_utf8(sysroot.stdout).expect("a path of text");
        mount(Some(sysroot.trim()), &toolchain, NOTHING, MsFlags::MS_BIND, NOTHING).expect("showing the toolchain");
    }

    /// Runs the scenario as somebody else.
    fn run_child(&self, who: Who, word: &str, (uid, gid): (u32, u32)) {
        let program = self.path("program");
        let mut command = match who {
            Who::UserNamespace => {
                let mut command = Command::new("unshare");
                command.arg("-Urm").arg(&program);
                command
            }
            _ => Command::new(&program),
        };
        let paths = [self.path("toolchain/bin").into_os_string(), std::env::var_os("PATH").unwrap_or_default()];
        command
            .args(["--exact", "stage::scenario_of_a_child", "--nocapture"])
            .env(SCENARIO, format!("{who:?}"))
            .env("FUSEWIRE_STAGE", &self.directory)
            .env("FUSEWIRE_OPTIONS", word)
            .env("PATH", paths.join(std::ffi::OsStr::new(":")))
            .env("HOME", self.path("home"))
            .env("CARGO_HOME", self.path("home"))
            .current_dir("/")
            .stdin(Stdio::null())
            .uid(uid)
            .gid(gid);
        let output = command.output().expect("running this program as somebody else");
        assert!(
            output.status.success(),
            "{who:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Mounts the mirror.
    fn mount(&self, who: Who, word: &str) -> fusewire::Mounted {
        let mirror = Mirror::new(&self.path("source"), options(word)).expect("a mirror");
        let mut how = MountOptions::new().subtype("mirrorfs").default_permissions();
        if who == Who::UserServedByRoot {
            how = how.allow_other();
        }
        let mounted = fusewire::mount(mirror, &self.path("mnt"), &how, SessionConfig::default()).expect("mounting");
        match who {
            Who::UserNamespace => assert_ne!(mounted.method(), MountMethod::Fusermount),
            Who::User => assert_eq!(mounted.method(), MountMethod::Fusermount),
            Who::Oneself | Who::UserServedByRoot => {}
        }
        mounted
    }

    /// Runs each program on both, and compares.
    fn compare(&self, who: Who, word: &str) {
        let mirror = (who != Who::UserServedByRoot).then(|| self.mount(who, word));
        for program in PROGRAMS {
            let native = program.run(&self.path("native"), "native");
            let through = program.run(&self.path("mnt"), "mnt");
            assert_same(program, &native, &through);
            if word != "writeback" {
                continue;
            }
            // What was gathered is in the source when it was synced.
            nix::unistd::sync();
        }
        let left = fs::read_dir(self.path("source")).expect("listing the source").count();
        assert_eq!(left, 0, "rm went through to the source");
        if let Some(mut mirror) = mirror {
            mirror.unmount().expect("unmounting");
        }
    }
}

fn assert_same(program: &Program, native: &str, through: &str) {
    let differing = native.lines().zip(through.lines()).filter(|(native, through)| native != through).take(10);
    let shown: Vec<_> = differing.map(|(native, through)| format!("- {native}\n+ {through}")).collect();
    assert!(
        native == through,
        "{}: {} lines on the directory, {} through the mirror; the first that differ:\n{}",
        program.name,
        native.lines().count(),
        through.lines().count(),
        shown.join("\n")
    );
}

/// The ordinary user: the one that the tests are told of, or nobody.
fn test_user() -> (u32, u32) {
    let Ok(name) = std::env::var("FUSEWIRE_TEST_USER") else {
        return (65534, 65534);
    };
    let user = User::from_name(&name).expect("looking the user up").expect("the user that FUSEWIRE_TEST_USER names");
    (user.uid.as_raw(), user.gid.as_raw())
}

/// Copies sources of crates from cargo's registry, some thousands of files.
fn copy_tree(to: &Path) {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"))).expect("CARGO_HOME or HOME");
    let registries = home.join("registry/src");
    let mut crates = Vec::new();
    for registry in fs::read_dir(&registries).expect("listing cargo's registry/src; the tests need its sources") {
        let listed = fs::read_dir(registry.expect("a registry").path()).expect("listing a registry");
        crates.extend(listed.map(|found| found.expect("a crate").path()).filter(|path| path.is_dir()));
    }
    crates.sort();
    let mut files = 0;
    for source in crates {
        let count = Command::new("find").arg(&source).args(["-type", "f"]).output().expect("running find");
        let count = count.stdout.iter().filter(|byte| **byte == b'\n').count();
        if count > MOST {
            continue;
        }
        let status = Command::new("cp").arg("-a").arg(&source).arg(to).status().expect("running cp");
        assert!(status.success(), "copying {}", source.display());
        files += count;
        if files >= FILES {
            break;
        }
    }
    assert!(files >= FILES, "{} has only {files} files, the tests need {FILES}", registries.display());
}

fn shell(directory: &Path, script: &str) {
    let status = Command::new("sh").args(["-eu", "-c", script]).current_dir(directory).status().expect("running sh");
    assert!(status.success(), "{script}: {status}");
}

/// Where a child that runs as somebody else starts. By itself it does nothing.
#[test]
fn scenario_of_a_child() {
    let Ok(scenario) = std::env::var(SCENARIO) else {
        return;
    };
    let who = [Who::User, Who::UserServedByRoot, Who::UserNamespace];
    let who = who.into_iter().find(|who| format!("{who:?}") == scenario).expect("a known scenario");
    let directory = PathBuf::from(std::env::var_os("FUSEWIRE_STAGE").expect("the stage"));
    let word = std::env::var("FUSEWIRE_OPTIONS").expect("the options");
    if who == Who::UserNamespace {
        let helper = Command::new("sh").args(["-c", "command -v fusermount3"]).output().expect("running sh");
        let helper = String::from_utf8(helper.stdout).expect("a path of text");
        if !helper.trim().is_empty() {
            mount(Some("/dev/null"), helper.trim(), NOTHING, MsFlags::MS_BIND, NOTHING).expect("hiding the helper");
        }
    }
    Stage { directory }.compare(who, &word);
}
