//! Users and groups as options name them, and the map between those of the source and those that are shown.
//!
//! Who may do what is decided elsewhere.

use std::fmt;
use std::str::FromStr;

use nix::unistd::{Group, User};

/// A user, by number, or by a name that this system knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserId(pub u32);

/// A group, by number, or by a name that this system knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId(pub u32);

/// What is wrong with a user, a group or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidId {
    problem: String,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for InvalidId {}

fn invalid(problem: impl Into<String>) -> InvalidId {
    InvalidId { problem: problem.into() }
}

/// The number that stands for no user and no group.
const NOBODY: u32 = u32::MAX;

impl FromStr for UserId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let known = |name: &str| User::from_name(name).map(|user| user.map(|user| user.uid.as_raw()));
        id(text, "user", known).map(Self)
    }
}

impl FromStr for GroupId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let known = |name: &str| Group::from_name(name).map(|group| group.map(|group| group.gid.as_raw()));
        id(text, "group", known).map(Self)
    }
}

fn id(text: &str, what: &str, known: impl FnOnce(&str) -> nix::Result<Option<u32>>) -> Result<u32, InvalidId> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text.parse().ok().filter(|number| *number != NOBODY);
        return number.ok_or_else(|| invalid(format!("`{text}` is no number of a {what}")));
    }
    match known(text) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(invalid(format!("there is no {what} `{text}`"))),
        Err(error) => Err(invalid(format!("looking up the {what} `{text}`: {}", std::io::Error::from(error)))),
    }
}

/// Which users and groups of the source are shown as which others, and back.
///
/// In words as bindfs has them: `user1/user2:@group1/@group2` shows what is `user1`'s as `user2`'s; what `user2` makes, or
/// is given, belongs to `user1` in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    users: Vec<Pair>,
    groups: Vec<Pair>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    source: u32,
    shown: u32,
}

fn forth(pairs: &[Pair], id: u32) -> u32 {
    pairs.iter().find(|pair| pair.source == id).map_or(id, |pair| pair.shown)
}

fn back(pairs: &[Pair], id: u32) -> u32 {
    pairs.iter().find(|pair| pair.shown == id).map_or(id, |pair| pair.source)
}

impl IdMap {
    /// Whether nothing is mapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// The user that is shown for one of the source.
    pub(crate) fn shown_user(&self, id: u32) -> u32 {
        forth(&self.users, id)
    }

    /// The group that is shown for one of the source.
    pub(crate) fn shown_group(&self, id: u32) -> u32 {
        forth(&self.groups, id)
    }

    /// The user of the source that is shown as this one.
    pub(crate) fn source_user(&self, id: u32) -> u32 {
        back(&self.users, id)
    }

    /// The group of the source that is shown as this one.
    pub(crate) fn source_group(&self, id: u32) -> u32 {
        back(&self.groups, id)
    }
}

impl FromStr for IdMap {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut map = Self::default();
        for part in text.split(':') {
            let (source, shown) =
                part.split_once('/').ok_or_else(|| invalid(format!("`{part}` is not of the form FROM/TO")))?;
            let (pairs, pair) = match (source.strip_prefix('@'), shown.strip_prefix('@')) {
                (Some(source), Some(shown)) => {
                    let pair = Pair { source: source.parse::<GroupId>()?.0, shown: shown.parse::<GroupId>()?.0 };
                    (&mut map.groups, pair)
                }
                (None, None) => {
                    let pair = Pair { source: source.parse::<UserId>()?.0, shown: shown.parse::<UserId>()?.0 };
                    (&mut map.users, pair)
                }
                _ => return Err(invalid(format!("`{part}` maps a user to a group"))),
            };
            if pairs.iter().any(|other| other.source == pair.source || other.shown == pair.shown) {
                return Err(invalid(format!("`{part}` names somebody who is mapped already")));
            }
            pairs.push(pair);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_taken() {
        assert_eq!("0".parse(), Ok(UserId(0)));
        assert_eq!("root".parse(), Ok(UserId(0)));
        assert_eq!("root".parse(), Ok(GroupId(0)));
        assert_eq!("4294967294".parse(), Ok(GroupId(u32::MAX - 1)));
        let problem = |text: &str| text.parse::<UserId>().unwrap_err().to_string();
        assert_eq!(problem("4294967295"), "`4294967295` is no number of a user");
        assert_eq!(problem("no-such-user"), "there is no user `no-such-user`");
        assert_eq!(problem("-1"), "there is no user `-1`");
        assert_eq!(problem(""), "there is no user ``");
    }

    #[test]
    fn map_leads_forth_and_back() {
        let map: IdMap = "1/2:@3/@4:5/6".parse().unwrap();
        assert_eq!((map.shown_user(1), map.shown_user(5), map.shown_user(3)), (2, 6, 3));
        assert_eq!((map.source_user(2), map.source_user(6), map.source_user(1)), (1, 5, 1));
        assert_eq!((map.shown_group(3), map.source_group(4), map.shown_group(1)), (4, 3, 1));
        assert!(!map.is_empty() && IdMap::default().is_empty());
    }

    #[test]
    fn wrong_maps_are_told() {
        let problem = |text: &str| text.parse::<IdMap>().unwrap_err().to_string();
        assert_eq!(problem("1"), "`1` is not of the form FROM/TO");
        assert_eq!(problem("1/@2"), "`1/@2` maps a user to a group");
        assert_eq!(problem("1/2:1/3"), "`1/3` names somebody who is mapped already");
        assert_eq!(problem("1/2:3/2"), "`3/2` names somebody who is mapped already");
        assert_eq!(problem("1/no-such-user"), "there is no user `no-such-user`");
        assert_eq!(problem(""), "`` is not of the form FROM/TO");
    }
}
