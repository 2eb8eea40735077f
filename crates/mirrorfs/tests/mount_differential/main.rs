//! One random sequence of system calls, on a mirror and on a directory of the same filesystem: each call must come out the
//! same, and so must the tree in the end. Whole programs are run elsewhere.
#![forbid(unsafe_code)]

mod actor;
mod call;
mod random;
mod tree;
mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use actor::Actor;
use call::{Call, Room};
use mirrorfs::{CacheMode, Options};
use random::Random;
use world::{Mirrored, Native, World};

/// How many calls each case makes.
const CALLS: usize = 4000;

#[test]
fn calls_of_root_come_out_the_same() {
    compare(Actor::Root, Options::default(), 1);
}

#[test]
fn calls_come_out_the_same_when_nothing_is_cached() {
    compare(Actor::Root, Options::default().cache(CacheMode::None), 2);
}

#[test]
fn calls_come_out_the_same_when_everything_is_cached() {
    compare(Actor::Root, Options::default().cache(CacheMode::Always), 3);
}

#[test]
fn calls_come_out_the_same_when_the_kernel_gathers_writes() {
    compare(Actor::Root, Options::default().cache(CacheMode::Always).writeback(), 4);
}

#[test]
fn calls_of_an_ordinary_user_come_out_the_same_when_root_serves() {
    compare(Actor::User, Options::default(), 5);
}

#[test]
fn calls_of_an_ordinary_user_come_out_the_same_when_everything_is_cached() {
    compare(Actor::User, Options::default().cache(CacheMode::Always), 6);
}

#[test]
fn calls_of_two_users_and_root_come_out_the_same() {
    compare(Actor::Anybody, Options::default().cache(CacheMode::None), 7);
}

#[test]
fn calls_come_out_the_same_when_the_kernel_reads_and_writes_itself() {
    let mut options = Options::default();
    options.passthrough = true;
    compare(Actor::Anybody, options, 10);
}

#[test]
fn calls_come_out_the_same_when_no_inode_has_a_descriptor() {
    let mut options = Options::default();
    options.descriptors = Some(0);
    compare(Actor::Anybody, options, 8);
}

#[test]
fn calls_come_out_the_same_when_few_inodes_have_a_descriptor() {
    let mut options = Options::default().cache(CacheMode::None);
    options.descriptors = Some(5);
    compare(Actor::Anybody, options, 9);
}

/// Runs the sequence that `seed` leads to in both worlds.
fn compare(actor: Actor, options: Options, seed: u64) {
    // A longer run, or the one that failed elsewhere.
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let seed = number("FUSEWIRE_SEED").unwrap_or(seed);
    let calls = number("FUSEWIRE_CALLS").and_then(|calls| usize::try_from(calls).ok()).unwrap_or(CALLS);
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("opening the directory to all");
    let apart = Apart::of(&options);
    // The kernel does not say where the holes are in what it has gathered.
    let room = if apart == Apart::Times || seed % 2 == 0 { Room::Reserved } else { Room::Holes };
    let native = Native::new(&directory.path().join("native"));
    let mirrored = Mirrored::new(directory.path(), options);
    let work = || {
        actor.begin();
        let (mut native, mut mirror) = (World::new(native.root()), World::new(mirrored.root()));
        let mut random = Random::new(seed);
        let mut history = Vec::new();
        for number in 0..calls {
            let call = Call::random(&mut random, room);
            let who = actor.choose(&mut random);
            let (expected, found) = who.act(|| (call.make(&mut native), call.make(&mut mirror)));
            history.push(format!("{who:?} {call:?} -> {expected}"));
            if apart.differ(&expected, &found) {
                let start = history.len().saturating_sub(25);
                let before = history.get(start..).unwrap_or(&[]).join("\n");
                return Err(format!("call {number} of seed {seed}: {found} on the mirror\n{before}"));
            }
        }
        Ok(())
    };
    // Credentials are a thread's own.
    let outcome = thread::scope(|scope| scope.spawn(work).join()).expect("the thread that makes the calls");
    assert!(outcome.is_ok(), "{}", outcome.err().unwrap_or_default());
    tree::assert_same("through the mirror", native.root(), mirrored.root(), apart);
    let source = mirrored.end();
    tree::assert_same("in the source", native.root(), &source, apart);
}

/// What is not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Apart {
    Nothing,
    /// A kernel that gathers writes keeps the time of modification itself, and leaves it alone when a file is truncated to
    /// the size that it has (`fs/fuse/dir.c fuse_do_setattr()`).
    Times,
    /// A kernel that reads and writes itself takes suid and sgid away with any write.
    Special,
}

impl Apart {
    fn of(options: &Options) -> Self {
        match (options.writeback, options.passthrough) {
            (true, _) => Self::Times,
            (_, true) => Self::Special,
            _ => Self::Nothing,
        }
    }

    fn differ(self, expected: &str, found: &str) -> bool {
        let before = |text: &str, mark| text.split(mark).next().map(String::from);
        match self {
            Self::Nothing => expected != found,
            Self::Times => before(expected, " mtime ") != before(found, " mtime "),
            Self::Special => before(expected, " suid+sgid ") != before(found, " suid+sgid "),
        }
    }
}
