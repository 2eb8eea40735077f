//! Errors of the standard library become the number that the caller should see.
#![cfg(feature = "std")]

use std::io;

use fusewire_proto::Errno;

#[test]
fn the_raw_number_is_kept() {
    for number in [1, 2, 5, 38, 511] {
        let errno = Errno::from(io::Error::from_raw_os_error(number));
        assert_eq!(errno.raw(), number);
        assert_eq!(io::Error::from(errno).raw_os_error(), Some(number));
    }
}

#[test]
fn a_number_that_cannot_be_sent_is_eio() {
    for number in [0, -1, 512, i32::MAX] {
        assert_eq!(Errno::from_raw(number), None);
        assert_eq!(Errno::from(io::Error::from_raw_os_error(number)), Errno::EIO);
    }
}

#[test]
fn an_error_without_a_number_is_that_of_its_kind() {
    let own = |kind| Errno::from(&io::Error::new(kind, "without a number"));
    assert_eq!(own(io::ErrorKind::NotFound), Errno::ENOENT);
    assert_eq!(own(io::ErrorKind::PermissionDenied), Errno::EACCES);
    assert_eq!(own(io::ErrorKind::Other), Errno::EIO);
    assert_eq!(own(io::ErrorKind::UnexpectedEof), Errno::EIO);
}

#[test]
fn kinds_go_the_way_back_that_numbers_came() {
    // Each shares a kind with the number that is chosen: EACCES, and EOPNOTSUPP, which the kernel does not remember.
    let second_of_their_kind = [Errno::EPERM, Errno::ENOSYS];
    for number in 1..134 {
        let error = io::Error::from_raw_os_error(number);
        let errno = Errno::from(error.kind());
        if errno != Errno::EIO {
            let expected = Errno::from_raw(number).unwrap();
            assert!(errno == expected || second_of_their_kind.contains(&expected), "{error} became {errno:?}");
        }
    }
}

#[test]
fn names_and_numbers_belong_together() {
    assert_eq!(Errno::ENODATA.name(), Some("ENODATA"));
    assert_eq!(Errno::ENOATTR, Errno::ENODATA);
    assert_eq!(format!("{:?}", Errno::EXDEV), "EXDEV");
    assert_eq!(format!("{:?}", Errno::from_raw(500).unwrap()), "errno 500");
    assert_eq!(Errno::EACCES.to_string(), io::Error::from_raw_os_error(13).to_string());
}
