//! What is agreed on for each offer of a kernel and each wish of a filesystem.
//!
//! How the two messages look on the wire is tested with all others.

use fusewire_proto::init::{InitError, Negotiation, OLDEST_MINOR, PAGE_SIZE, Wishes, negotiate};
use fusewire_proto::op::Init;
use fusewire_proto::{InitFlags, Negotiated, reply};

/// Everything that a kernel could offer.
const ALL: InitFlags = InitFlags::all().difference(InitFlags::INIT_RESERVED);

/// No flags asked for, and one page of data a write.
fn plain() -> Wishes {
    let mut wishes = Wishes::default();
    wishes.wanted = InitFlags::empty();
    wishes.max_write = PAGE_SIZE;
    wishes
}

fn wishing(change: impl FnOnce(&mut Wishes)) -> Wishes {
    let mut wishes = plain();
    change(&mut wishes);
    wishes
}

fn agree(offer: &Init, wishes: &Wishes) -> Negotiated {
    match negotiate(offer, wishes, ALL) {
        Ok(Negotiation::Agreed(negotiated, answer)) => {
            assert_eq!(answer, reply::Init::new(&negotiated), "the answer says what was agreed");
            negotiated
        }
        other => unreachable!("no agreement: {other:?}"),
    }
}

fn refusal(offer: &Init, wishes: &Wishes, honoured: InitFlags) -> InitError {
    negotiate(offer, wishes, honoured).expect_err("it cannot be agreed to")
}

#[test]
fn the_lower_minor_is_spoken() {
    for minor in 31..=45 {
        assert_eq!(agree(&Init::new(minor, ALL), &plain()).minor, minor);
    }
    for minor in [46, 100, u32::MAX] {
        assert_eq!(agree(&Init::new(minor, ALL), &plain()).minor, 45);
    }
}

#[test]
fn a_kernel_that_is_too_old_is_refused() {
    for minor in [0, 8, 30] {
        let error = refusal(&Init::new(minor, ALL), &plain(), ALL);
        assert_eq!(error, InitError::TooOld { major: 7, minor });
        assert!(error.to_string().contains("at least 7.31"), "{error}");
    }
    let mut offer = Init::new(45, ALL);
    offer.major = 6;
    assert_eq!(refusal(&offer, &plain(), ALL), InitError::TooOld { major: 6, minor: 45 });
    assert_eq!(OLDEST_MINOR, 31);
}

#[test]
fn a_newer_major_is_asked_again() {
    let mut offer = Init::new(0, InitFlags::empty());
    offer.major = 8;
    match negotiate(&offer, &plain(), ALL) {
        Ok(Negotiation::AskAgain(answer)) => assert_eq!((answer.major, answer.minor), (7, 45)),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn what_is_required_and_not_offered_is_an_error() {
    let both = InitFlags::POSIX_LOCKS | InitFlags::FLOCK_LOCKS;
    let wishes = wishing(|wishes| wishes.required = both);
    let offer = Init::new(45, InitFlags::INIT_EXT | InitFlags::POSIX_LOCKS);
    let error = refusal(&offer, &wishes, ALL);
    assert_eq!(error, InitError::NotOffered(InitFlags::FLOCK_LOCKS));
    assert_eq!(error.to_string(), "the kernel does not offer FLOCK_LOCKS");
    assert!(agree(&Init::new(45, both), &wishes).has(both));
}

#[test]
fn what_is_wanted_and_not_offered_is_left_out() {
    let wishes = wishing(|wishes| wishes.wanted = InitFlags::POSIX_LOCKS | InitFlags::FLOCK_LOCKS);
    let agreed = agree(&Init::new(45, InitFlags::POSIX_LOCKS), &wishes);
    assert_eq!(agreed.flags, InitFlags::POSIX_LOCKS);
}

#[test]
fn what_is_offered_and_not_asked_for_is_left_out() {
    assert_eq!(agree(&Init::new(45, ALL), &plain()).flags, InitFlags::INIT_EXT);
}

#[test]
fn what_cannot_be_honoured_is_an_error_even_if_only_wanted() {
    let locks = InitFlags::POSIX_LOCKS;
    for wishes in [wishing(|wishes| wishes.required = locks), wishing(|wishes| wishes.wanted = locks)] {
        let error = refusal(&Init::new(45, ALL), &wishes, ALL - locks);
        assert_eq!(error, InitError::NotImplemented(locks));
        assert_eq!(error.to_string(), "the filesystem asks for POSIX_LOCKS, which cannot be honoured here");
        // Whether it is offered is not even looked at.
        assert_eq!(refusal(&Init::new(45, InitFlags::empty()), &wishes, ALL - locks), error);
    }
}

#[test]
fn the_flags_of_init_itself_need_not_be_honoured_by_the_caller() {
    let wishes = wishing(|wishes| wishes.wanted = InitFlags::MAX_PAGES);
    assert!(negotiate(&Init::new(45, ALL), &wishes, InitFlags::empty()).is_ok());
}

#[test]
fn capabilities_that_exclude_one_another_are_refused() {
    for pair in [
        InitFlags::PASSTHROUGH | InitFlags::WRITEBACK_CACHE,
        InitFlags::AUTO_INVAL_DATA | InitFlags::EXPLICIT_INVAL_DATA,
    ] {
        let wishes = wishing(|wishes| wishes.wanted = pair);
        assert_eq!(refusal(&Init::new(45, ALL), &wishes, ALL), InitError::Conflict(pair));
        for one in pair.iter() {
            let wishes = wishing(|wishes| wishes.wanted = one);
            assert!(agree(&Init::new(45, ALL), &wishes).has(one));
        }
    }
}

#[test]
fn no_high_flag_without_init_ext() {
    let wishes = wishing(|wishes| wishes.wanted = InitFlags::HAS_RESEND | InitFlags::ASYNC_READ);
    let without = ALL - InitFlags::INIT_EXT;
    assert_eq!(agree(&Init::new(35, without), &wishes).flags, InitFlags::ASYNC_READ);
    assert_eq!(
        agree(&Init::new(45, ALL), &wishes).flags,
        InitFlags::ASYNC_READ | InitFlags::HAS_RESEND | InitFlags::INIT_EXT
    );
}

#[test]
fn regression_required_high_flag_without_init_ext_is_not_offered() {
    let wishes = wishing(|wishes| wishes.required = InitFlags::HAS_RESEND);
    let error = refusal(&Init::new(45, ALL - InitFlags::INIT_EXT), &wishes, ALL);
    assert_eq!(error, InitError::NotOffered(InitFlags::HAS_RESEND));
}

#[test]
fn long_writes_need_max_pages() {
    let offers = |flags| Init::new(45, flags);
    let cases = [
        // Wished for, pages then, bytes then; with MAX_PAGES and without.
        (4096, (1, 4096), (1, 4096)),
        (4097, (2, 4097), (2, 4097)),
        (128 << 10, (32, 128 << 10), (32, 128 << 10)),
        (1 << 20, (256, 1 << 20), (32, 128 << 10)),
        (u32::MAX, (u16::MAX, u32::from(u16::MAX) * PAGE_SIZE), (32, 128 << 10)),
    ];
    for (max_write, with, without) in cases {
        let wishes = wishing(|wishes| {
            wishes.max_write = max_write;
            wishes.wanted = InitFlags::MAX_PAGES;
        });
        let agreed = agree(&offers(InitFlags::MAX_PAGES), &wishes);
        assert_eq!((agreed.max_pages, agreed.max_write), with);
        assert_eq!(agreed.max_data(), u32::from(with.0) * PAGE_SIZE);
        let agreed = agree(&offers(InitFlags::empty()), &wishes);
        assert_eq!((agreed.max_pages, agreed.max_write), without);
    }
}

#[test]
fn readahead_is_the_smaller_of_both() {
    let mut offer = Init::new(45, ALL);
    offer.max_readahead = 65_536;
    for (wish, agreed) in [(0, 0), (4096, 4096), (u32::MAX, 65_536)] {
        let wishes = wishing(|wishes| wishes.max_readahead = wish);
        assert_eq!(agree(&offer, &wishes).max_readahead, agreed);
    }
}

#[test]
fn congestion_begins_at_three_quarters_and_never_above_the_limit() {
    for (limit, wish, threshold) in
        [(64, None, 48), (1, None, 1), (u16::MAX, None, 49_152), (12, Some(9), 9), (12, Some(99), 12)]
    {
        let wishes = wishing(|wishes| {
            wishes.max_background = limit;
            wishes.congestion_threshold = wish;
        });
        let agreed = agree(&Init::new(45, ALL), &wishes);
        assert_eq!((agreed.max_background, agreed.congestion_threshold), (limit, threshold));
    }
}

#[test]
fn numbers_that_belong_to_a_capability_are_zero_without_it() {
    let wishes = wishing(|wishes| {
        wishes.wanted = InitFlags::PASSTHROUGH | InitFlags::REQUEST_TIMEOUT;
        wishes.max_stack_depth = 2;
        wishes.request_timeout = 60;
    });
    let agreed = agree(&Init::new(45, ALL), &wishes);
    assert_eq!((agreed.max_stack_depth, agreed.request_timeout), (2, 60));
    let agreed = agree(&Init::new(45, InitFlags::INIT_EXT), &wishes);
    assert_eq!((agreed.max_stack_depth, agreed.request_timeout), (0, 0));
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let passthrough = |depth| {
        wishing(|wishes| {
            wishes.wanted = InitFlags::PASSTHROUGH;
            wishes.max_stack_depth = depth;
        })
    };
    let cases = [
        (wishing(|wishes| wishes.max_write = 4095), "max_write", 4095),
        (wishing(|wishes| wishes.max_background = 0), "max_background", 0),
        (wishing(|wishes| wishes.time_gran = 0), "time_gran", 0),
        (wishing(|wishes| wishes.time_gran = 1_000_000_001), "time_gran", 1_000_000_001),
        (passthrough(0), "max_stack_depth", 0),
        (passthrough(3), "max_stack_depth", 3),
    ];
    for (wishes, what, value) in cases {
        let error = refusal(&Init::new(45, ALL), &wishes, ALL);
        assert_eq!(error, InitError::Value { what, value });
        assert_eq!(error.to_string(), format!("{what} cannot be {value}"));
    }
    agree(&Init::new(45, ALL), &wishing(|wishes| wishes.max_stack_depth = 3));
}

#[test]
fn the_default_wishes_can_be_granted() {
    let agreed = agree(&Init::new(45, ALL), &Wishes::default());
    assert_eq!(agreed.max_write, 1 << 20);
    let mut wishes = Wishes::default();
    wishes.refuse(InitFlags::MAX_PAGES).want(InitFlags::WRITEBACK_CACHE).require(InitFlags::POSIX_ACL);
    let agreed = agree(&Init::new(45, ALL), &wishes);
    assert!(agreed.has(InitFlags::WRITEBACK_CACHE | InitFlags::POSIX_ACL));
    assert!(!agreed.has(InitFlags::MAX_PAGES));
}
