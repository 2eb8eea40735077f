//! What is shown instead of what the source has: owners, permissions, link counts.
//!
//! The source is not changed by it.

use fusewire::{Attr, FileType, Gid, StatxAttr, Uid};

use crate::ids::IdMap;
use crate::options::Options;
use crate::permissions::Permissions;

/// How what is shown differs from the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    map: IdMap,
    user: Option<u32>,
    group: Option<u32>,
    permissions: Option<Permissions>,
    hide_hard_links: bool,
}

impl View {
    /// `None` if the source is shown as it is.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        let view = Self {
            map: options.map.clone(),
            user: options.force_user.map(|user| user.0),
            group: options.force_group.map(|group| group.0),
            permissions: options.permissions.clone(),
            hide_hard_links: options.hide_hard_links,
        };
        let plain = view.map.is_empty() && !options.shows_others() && !view.hide_hard_links;
        (!plain).then_some(view)
    }

    fn owner(&self, uid: Uid, gid: Gid) -> (Uid, Gid) {
        let user = self.user.unwrap_or_else(|| self.map.shown_user(uid.0));
        let group = self.group.unwrap_or_else(|| self.map.shown_group(gid.0));
        (Uid(user), Gid(group))
    }

    fn mode(&self, mode: u32) -> u32 {
        self.permissions.as_ref().map_or(mode, |permissions| permissions.apply(mode))
    }

    fn links(&self, mode: u32, links: u32) -> u32 {
        let hidden = self.hide_hard_links && FileType::from_mode(mode) != FileType::DIRECTORY;
        // None is none: the file has no name any more.
        if hidden { links.min(1) } else { links }
    }

    /// Makes attributes of the source those that are shown.
    pub(crate) fn show(&self, attr: &mut Attr) {
        (attr.uid, attr.gid) = self.owner(attr.uid, attr.gid);
        attr.nlink = self.links(attr.mode, attr.nlink);
        attr.mode = self.mode(attr.mode);
    }

    /// As [`show`](Self::show).
    pub(crate) fn show_statx(&self, attr: &mut StatxAttr) {
        (attr.uid, attr.gid) = self.owner(attr.uid, attr.gid);
        attr.nlink = self.links(u32::from(attr.mode), attr.nlink);
        attr.mode = u16::try_from(self.mode(u32::from(attr.mode))).unwrap_or(attr.mode);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    #[test]
    fn plain_options_show_the_source() {
        assert_eq!(View::new(&Options::default()), None);
    }

    #[test]
    fn owners_modes_and_links_are_shown_as_asked() {
        let mut options = Options { force_user: Some(UserId(7)), hide_hard_links: true, ..Options::default() };
        options.map = "1/2:@3/@4".parse().unwrap();
        options.permissions = Some("a-w".parse().unwrap());
        let view = View::new(&options).unwrap();
        let mut attr = Attr::new(1, FileType::REGULAR, 0o4664);
        (attr.uid, attr.gid, attr.nlink) = (Uid(1), Gid(3), 5);
        view.show(&mut attr);
        assert_eq!((attr.uid, attr.gid, attr.nlink, attr.mode), (Uid(7), Gid(4), 1, libc::S_IFREG | 0o4444));
        let mut directory = Attr::new(1, FileType::DIRECTORY, 0o755);
        directory.nlink = 5;
        view.show(&mut directory);
        assert_eq!(directory.nlink, 5);
    }
}
