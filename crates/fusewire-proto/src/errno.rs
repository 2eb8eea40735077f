//! Error numbers, as a type that can always be sent.
//!
//! Positive here and in every API; only the reply header knows that they are negative on the wire.

use core::fmt;

/// An error number between 1 and 511, the range that the kernel accepts in a reply (`fs/fuse/dev.c fuse_dev_do_write()`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(u16);

/// The largest error number that a reply may carry.
const MAX: i32 = 511;

macro_rules! errnos {
    ($($name:ident)*) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($name), "` of errno(3).")]
                pub const $name: Self = Self::from_libc(libc::$name);
            )*

            /// The symbol for it, if it is one that this crate names.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                $(if self == Self::$name { return Some(stringify!($name)); })*
                None
            }
        }
    };
}

errnos! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV
    ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK
    ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENODATA ETIME EREMOTE EPROTO EBADMSG EOVERFLOW EILSEQ EUSERS EOPNOTSUPP
    ECONNABORTED ECONNRESET ENOTCONN ETIMEDOUT ECONNREFUSED EHOSTUNREACH EALREADY EINPROGRESS ESTALE EDQUOT ENOMEDIUM
    ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE
}

impl Errno {
    /// "No such attribute": what getxattr and removexattr answer; the same number as `ENODATA`.
    pub const ENOATTR: Self = Self::ENODATA;

    const fn from_libc(number: i32) -> Self {
        assert!(number > 0 && number <= MAX);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "asserted above")]
        Self(number as u16)
    }

    /// The error with this number, if it can be sent: 1 to 511.
    #[must_use]
    pub fn from_raw(number: i32) -> Option<Self> {
        if !(1..=MAX).contains(&number) {
            return None;
        }
        u16::try_from(number).ok().map(Self)
    }

    /// The number, positive.
    #[must_use]
    pub fn raw(self) -> i32 {
        i32::from(self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "std")]
        {
            std::io::Error::from_raw_os_error(self.raw()).fmt(f)
        }
        #[cfg(not(feature = "std"))]
        {
            fmt::Debug::fmt(self, f)
        }
    }
}

impl core::error::Error for Errno {}

/// As for a borrowed error.
#[cfg(feature = "std")]
impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Self {
        Self::from(&error)
    }
}

/// Keeps the raw number. An error without one, or with one that cannot be sent, becomes what its kind stands for; `EIO` if
/// that is nothing in particular.
#[cfg(feature = "std")]
impl From<&std::io::Error> for Errno {
    fn from(error: &std::io::Error) -> Self {
        error.raw_os_error().and_then(Self::from_raw).unwrap_or_else(|| Self::from(error.kind()))
    }
}

/// The number that the kind of error stands for, as the standard library takes numbers for kinds; `EIO` for all others.
///
/// `Unsupported` is `EOPNOTSUPP`, not `ENOSYS`: the kernel may remember the latter for the whole connection.
#[cfg(feature = "std")]
impl From<std::io::ErrorKind> for Errno {
    fn from(kind: std::io::ErrorKind) -> Self {
        use std::io::ErrorKind as Kind;
        match kind {
            Kind::NotFound => Self::ENOENT,
            Kind::PermissionDenied => Self::EACCES,
            Kind::AlreadyExists => Self::EEXIST,
            Kind::InvalidInput => Self::EINVAL,
            Kind::WouldBlock => Self::EAGAIN,
            Kind::Interrupted => Self::EINTR,
            Kind::TimedOut => Self::ETIMEDOUT,
            Kind::OutOfMemory => Self::ENOMEM,
            Kind::Unsupported => Self::EOPNOTSUPP,
            Kind::BrokenPipe => Self::EPIPE,
            Kind::ConnectionRefused => Self::ECONNREFUSED,
            Kind::ConnectionReset => Self::ECONNRESET,
            Kind::ConnectionAborted => Self::ECONNABORTED,
            Kind::NotConnected => Self::ENOTCONN,
            Kind::HostUnreachable => Self::EHOSTUNREACH,
            Kind::NotADirectory => Self::ENOTDIR,
            Kind::IsADirectory => Self::EISDIR,
            Kind::DirectoryNotEmpty => Self::ENOTEMPTY,
            Kind::ReadOnlyFilesystem => Self::EROFS,
            Kind::StaleNetworkFileHandle => Self::ESTALE,
            Kind::StorageFull => Self::ENOSPC,
            Kind::QuotaExceeded => Self::EDQUOT,
            Kind::NotSeekable => Self::ESPIPE,
            Kind::FileTooLarge => Self::EFBIG,
            Kind::ResourceBusy => Self::EBUSY,
            Kind::ExecutableFileBusy => Self::ETXTBSY,
            Kind::Deadlock => Self::EDEADLK,
            Kind::CrossesDevices => Self::EXDEV,
            Kind::TooManyLinks => Self::EMLINK,
            Kind::ArgumentListTooLong => Self::E2BIG,
            _ => Self::EIO,
        }
    }
}

#[cfg(feature = "std")]
impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.raw())
    }
}
