//! The fault schedule: sessions keep the laws under it, and a seed replays exactly.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fusewire_testkit::faults::{self, Faults};
use fusewire_testkit::laws::Law;
use fusewire_testkit::wire::{Received, Wire};
use fusewire_testkit::{Mutation, Running};
use support::{Flaw, direct, mutant, threaded};

#[test]
fn ten_thousand_seeds_of_a_session_keep_the_laws() {
    let book = faults::check(0..10_000, Faults::all(), || threaded(Flaw::None));
    for law in [Law::InterruptEndsWait, Law::MalformedIsEio, Law::UnknownIsEnosys, Law::LookupsBalanced] {
        assert!(book.checked(law) > 1000, "{law}: {}", book.checked(law));
    }
}

#[test]
fn ten_thousand_seeds_of_a_direct_session_keep_the_laws() {
    faults::check(0..10_000, Faults::all(), || direct(Flaw::None));
}

#[test]
fn a_flaw_is_found_and_its_seed_is_named() {
    let starts: [fn() -> Running; 4] = [
        || mutant(Mutation::ForgetsOneLess),
        || mutant(Mutation::LeaksHandles),
        || direct(Flaw::WritesMore),
        || direct(Flaw::UnstableIno),
    ];
    for (number, start) in starts.into_iter().enumerate() {
        let failure = (0..200).find_map(|seed| faults::run(seed, Faults::all(), start).err());
        let failure = failure.unwrap_or_else(|| panic!("number {number} was not found"));
        assert!(failure.to_string().contains(&format!("FUSEWIRE_SEED={}", failure.seed)));
        let again = faults::run(failure.seed, Faults::all(), start).unwrap_err();
        assert_eq!(again.what, failure.what);
    }
}

/// Remembers all that is sent.
struct Recorder {
    inner: Box<dyn Wire>,
    sent: Arc<Mutex<DefaultHasher>>,
}

impl Wire for Recorder {
    fn send(&self, request: &[u8]) -> io::Result<()> {
        request.hash(&mut *self.sent.lock().unwrap());
        self.inner.send(request)
    }

    fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Received> {
        self.inner.receive(buffer, patience)
    }

    fn close(&self) {
        self.inner.close();
    }

    fn is_direct(&self) -> bool {
        self.inner.is_direct()
    }
}

#[test]
fn a_seed_replays_byte_for_byte() {
    let digest = |seed| {
        let sent = Arc::new(Mutex::new(DefaultHasher::new()));
        let recorder = Arc::clone(&sent);
        faults::run(seed, Faults::all(), move || {
            let sent = Arc::clone(&recorder);
            direct(Flaw::None).through(|inner| Box::new(Recorder { inner, sent }))
        })
        .unwrap();
        Arc::into_inner(sent).unwrap().into_inner().unwrap().finish()
    };
    let all: Vec<u64> = (0..100).map(digest).collect();
    let again: Vec<u64> = (0..100).map(digest).collect();
    assert_eq!(all, again);
    assert_ne!(all[0], all[1]);
}
