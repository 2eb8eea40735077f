//! How requests come in: what may be asked for, what is chosen, and why.
//!
//! The choice is made before anything is mounted. That a kernel does not agree to it is seen in the handshake.

use std::fmt;

use crate::handler::Manner;
use crate::session::{SessionConfig, SessionError};
use crate::transport::check_rings;

/// How requests come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Channel {
    /// Through io_uring where that is possible: the kernel has it (6.14) and is allowed to (`enable_uring`), the process may
    /// make rings and have a thread for each possible CPU, the handler's [`Manner`] allows it, and the device was opened by us.
    /// Through `/dev/fuse` otherwise, or if the environment variable `FUSEWIRE_TRANSPORT` is `dev`. The log says which, and why.
    #[default]
    Auto,
    /// Through `/dev/fuse`.
    Device,
    /// Through io_uring; mounting fails where that is impossible, and says why.
    Ring,
}

/// What is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// `/dev/fuse`, and why.
    Device(String),
    /// io_uring, if the kernel agrees.
    Ring,
}

/// Who opened the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Ours,
    Given,
}

/// The environment variable that keeps [`Channel::Auto`] to `/dev/fuse`, for whoever cannot change what a program asks for.
const VARIABLE: &str = "FUSEWIRE_TRANSPORT";

/// Chooses for a handler of this manner.
///
/// # Errors
/// What is asked for cannot be had.
pub(crate) fn choose(config: SessionConfig, manner: Manner) -> Result<Chosen, SessionError> {
    if config.channel == Channel::Device {
        return Ok(Chosen::Device(String::from("io_uring was not asked for")));
    }
    if config.channel == Channel::Auto && std::env::var_os(VARIABLE).is_some_and(|word| word == "dev") {
        return Ok(Chosen::Device(format!("{VARIABLE} is dev")));
    }
    let obstacle = match manner {
        Manner::Either => Some(String::from("the handler blocks for some requests and answers others later")),
        Manner::AtOnce | Manner::NeverBlocks => check_rings(config.workers).err().map(|error| error.to_string()),
    };
    match obstacle {
        None => Ok(Chosen::Ring),
        Some(why) if config.channel == Channel::Ring => Err(SessionError::NoRing(why)),
        Some(why) => Ok(Chosen::Device(why)),
    }
}

impl Chosen {
    /// The same, if `channel` may be had with a device that came from there.
    pub(crate) fn with_device(self, channel: Channel, origin: Origin) -> Self {
        if origin == Origin::Given && channel == Channel::Auto && self == Self::Ring {
            // Whoever holds it may want to serve on after us, and there is no way back from rings.
            return Self::Device(String::from("the device was opened by somebody else"));
        }
        self
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(why) => write!(f, "/dev/fuse: {why}"),
            Self::Ring => write!(f, "io_uring"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Workers;

    fn config(channel: Channel) -> SessionConfig {
        SessionConfig::default().channel(channel)
    }

    #[test]
    fn device_is_had_for_the_asking() {
        for manner in [Manner::AtOnce, Manner::NeverBlocks, Manner::Either] {
            assert!(matches!(choose(config(Channel::Device), manner), Ok(Chosen::Device(_))));
        }
    }

    #[test]
    fn handler_that_blocks_and_answers_later_is_served_through_the_device() {
        let Ok(Chosen::Device(why)) = choose(config(Channel::Auto), Manner::Either) else { panic!("no device") };
        assert!(why.contains("blocks"), "{why}");
        let error = choose(config(Channel::Ring), Manner::Either).unwrap_err().to_string();
        assert_eq!(error, format!("using io_uring: {why}"));
    }

    #[test]
    fn single_thread_is_not_enough_for_rings() {
        let single = |channel| config(channel).workers(Workers::single());
        assert!(matches!(choose(single(Channel::Auto), Manner::AtOnce), Ok(Chosen::Device(_))));
        assert!(matches!(choose(single(Channel::Ring), Manner::AtOnce), Err(SessionError::NoRing(_))));
    }

    #[test]
    fn given_device_is_used_with_rings_only_if_that_is_asked_for() {
        let with = |channel| Chosen::Ring.with_device(channel, Origin::Given);
        assert_eq!(with(Channel::Ring), Chosen::Ring);
        assert!(matches!(with(Channel::Auto), Chosen::Device(_)));
        assert_eq!(Chosen::Ring.with_device(Channel::Auto, Origin::Ours), Chosen::Ring);
    }
}
