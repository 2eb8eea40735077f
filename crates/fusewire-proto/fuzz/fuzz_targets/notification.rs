//! Any bytes as a notification: what is decoded is encoded and decoded to the same again.
//!
//! The bytes are tried as they are, and once more behind a header whose code and length are right.
#![no_main]

use fusewire_proto::Notification;
use libfuzzer_sys::fuzz_target;

/// The largest code there is.
const CODES: u8 = 9;

fn assert_same_again(bytes: &[u8]) {
    if let Ok(notification) = Notification::decode(bytes) {
        let again = notification.encode().expect("it was short enough to arrive");
        assert_eq!(Notification::decode(&again), Ok(notification));
    }
}

fuzz_target!(|bytes: &[u8]| {
    assert_same_again(bytes);
    let Some((code, body)) = bytes.split_first() else { return };
    let length = 16 + u32::try_from(body.len()).expect("inputs are short");
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(u32::from(1 + code % CODES).to_ne_bytes());
    message.extend(0u64.to_ne_bytes());
    message.extend(body);
    assert_same_again(&message);
});
