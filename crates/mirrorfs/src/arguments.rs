//! The `-o` options of the program, and the mirror that they ask for.
//!
//! What they mean is the library's business.

use std::path::Path;
use std::time::Duration;

use fusewire::mount::MountOptions;
use fusewire_launch::{BuildError, Command, Invocation, OptionError, Source};
use mirrorfs::{CacheMode, Change, GroupId, IdMap, Mirror, Options, Permissions, UserId, Xattrs};

/// The command.
pub(crate) fn command() -> Command {
    Command::new("mirrorfs", env!("CARGO_PKG_VERSION"))
        .about("Shows a directory somewhere else, with other owners or permissions if need be")
        .details(&[
            "What is done in the mount is done in the source, and what others do there is seen here. As root, mirrorfs acts with \
             the rights of each caller, so the source checks what they may do, and the kernel before it.",
            "Users and groups are names or numbers. Options that show other owners or permissions leave the source's own alone; \
             the kernel then checks by what is shown, and the source is not asked.",
        ])
        .example("mirrorfs -o ro src mnt", "a view that cannot be written")
        .example("mirrorfs -o force-user=me,perms=u+rwX src mnt", "as if all of it were mine")
        .example("mirrorfs -o map=alice/bob src mnt", "alice's files, shown as bob's")
        .source(Source::Path, "The directory to show")
        .mount_options(MountOptions::new().default_permissions())
        .value("cache", "none|auto|always", "what the kernel remembers (default: auto)")
        .value("entry_timeout", "SECONDS", "how long names are remembered")
        .value("attr_timeout", "SECONDS", "how long attributes are remembered")
        .value("negative_timeout", "SECONDS", "how long missing names are remembered")
        .flag("writeback", "gather writes; nobody else may change the source")
        .flag("passthrough", "the kernel reads and writes the files (root)")
        .value("map", "U1/U2:@G1/@G2", "show user U1 as U2, group G1 as G2")
        .value("force-user", "USER", "show this user as the owner of everything")
        .value("force-group", "GROUP", "show this group as the group of everything")
        .value("perms", "RULES", "change permissions as chmod does, as u=rwX:go=rX")
        .value("create-for-user", "USER", "give this user what is made (root)")
        .value("create-for-group", "GROUP", "give this group what is made (root)")
        .value("create-with-perms", "RULES", "change the permissions of what is made")
        .flag("chown-ignore", "let changes of the owner do nothing")
        .flag("chown-deny", "refuse changes of the owner")
        .flag("chgrp-ignore", "let changes of the group do nothing")
        .flag("chgrp-deny", "refuse changes of the group")
        .flag("chmod-ignore", "let changes of permissions do nothing")
        .flag("chmod-deny", "refuse changes of permissions")
        .value("chmod-filter", "RULES", "change the permissions that chmod asks for")
        .flag("delete-deny", "refuse removing files and directories")
        .flag("rename-deny", "refuse renaming")
        .flag("xattr-none", "show no extended attributes")
        .flag("xattr-ro", "refuse changes of extended attributes")
        .flag("xattr-rw", "let extended attributes be changed (default)")
        .flag("hide-hard-links", "show a link count of 1 for files")
}

/// The mirror that the command line asks for.
pub(crate) fn mirror(invocation: &mut Invocation) -> Result<Mirror, BuildError> {
    let options = options(invocation)?;
    let source = invocation.source().map(Path::new).unwrap_or(Path::new("."));
    if let Err(error) = mirrorfs::raise_descriptor_limit() {
        tracing::warn!(%error, "raising the limit of file descriptors");
    }
    Ok(Mirror::new(source, options)?)
}

fn options(invocation: &Invocation) -> Result<Options, OptionError> {
    let seconds = |name| invocation.value_with(name, |value| duration(&value.to_string_lossy()));
    let mut options = Options::default();
    options.cache = invocation.value::<CacheMode>("cache")?.unwrap_or_default();
    options.entry_timeout = seconds("entry_timeout")?;
    options.attr_timeout = seconds("attr_timeout")?;
    options.negative_timeout = seconds("negative_timeout")?;
    options.writeback = invocation.flag("writeback");
    options.passthrough = invocation.flag("passthrough");
    options.map = invocation.value::<IdMap>("map")?.unwrap_or_default();
    options.force_user = invocation.value::<UserId>("force-user")?;
    options.force_group = invocation.value::<GroupId>("force-group")?;
    options.permissions = invocation.value::<Permissions>("perms")?;
    options.create_for_user = invocation.value::<UserId>("create-for-user")?;
    options.create_for_group = invocation.value::<GroupId>("create-for-group")?;
    options.create_with_permissions = invocation.value::<Permissions>("create-with-perms")?;
    options.chown = change(invocation, "chown-ignore", "chown-deny")?;
    options.chgrp = change(invocation, "chgrp-ignore", "chgrp-deny")?;
    options.chmod = change(invocation, "chmod-ignore", "chmod-deny")?;
    options.chmod_filter = invocation.value::<Permissions>("chmod-filter")?;
    options.deny_delete = invocation.flag("delete-deny");
    options.deny_rename = invocation.flag("rename-deny");
    options.xattrs = xattrs(invocation)?;
    options.hide_hard_links = invocation.flag("hide-hard-links");
    Ok(options)
}

fn change(invocation: &Invocation, ignore: &'static str, deny: &'static str) -> Result<Change, OptionError> {
    match (invocation.flag(ignore), invocation.flag(deny)) {
        (false, false) => Ok(Change::Allow),
        (true, false) => Ok(Change::Ignore),
        (false, true) => Ok(Change::Deny),
        (true, true) => Err(OptionError::new(deny, format!("it contradicts {ignore}"))),
    }
}

fn xattrs(invocation: &Invocation) -> Result<Xattrs, OptionError> {
    let ways = [("xattr-none", Xattrs::None), ("xattr-ro", Xattrs::ReadOnly), ("xattr-rw", Xattrs::ReadWrite)];
    let mut given = ways.into_iter().filter(|(name, _)| invocation.flag(name));
    match (given.next(), given.next()) {
        (None, _) => Ok(Xattrs::default()),
        (Some((_, way)), None) => Ok(way),
        (Some((first, _)), Some((second, _))) => Err(OptionError::new(second, format!("it contradicts {first}"))),
    }
}

/// Seconds, with a fraction if need be.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|_| String::from("it is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| String::from("it is not a length of time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Options, String> {
        let words = ["mirrorfs", "/", "/mnt", "-o", words];
        let invocation = command().parse(words).map_err(|error| error.to_string())?;
        options(&invocation).map_err(|error| error.to_string())
    }

    #[test]
    fn definition_is_sound_and_fits_a_terminal() {
        command().clap_command().debug_assert();
        let help = command().clap_command().render_help().to_string();
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    }

    #[test]
    fn options_are_read() {
        let options =
            read("cache=always,map=1/2:@3/@4,force-user=root,perms=u=rwX:go=rX,chown-deny,attr_timeout=1.5").unwrap();
        assert_eq!(options.cache, CacheMode::Always);
        assert_eq!(options.map, "1/2:@3/@4".parse().unwrap());
        assert_eq!(options.force_user, Some(UserId(0)));
        assert_eq!(options.permissions, Some("u=rwX:go=rX".parse().unwrap()));
        assert_eq!((options.chown, options.chgrp), (Change::Deny, Change::Allow));
        assert_eq!(options.attr_timeout, Some(Duration::from_millis(1500)));
        assert_eq!(read("xattr-ro").unwrap().xattrs, Xattrs::ReadOnly);
    }

    #[test]
    fn bad_options_are_told_in_one_line() {
        for (words, said) in [
            ("cache=sometimes", "reading option cache=sometimes: it must be one of none, auto, always"),
            ("map=1/nobody-knows", "reading option map=1/nobody-knows: there is no user `nobody-knows`"),
            ("force-user=-1", "reading option force-user=-1: there is no user `-1`"),
            ("perms=banana", "reading option perms=banana: `banana` is neither an octal mode nor"),
            ("chown-deny,chown-ignore", "reading option chown-deny: it contradicts chown-ignore"),
            ("xattr-none,xattr-rw", "reading option xattr-rw: it contradicts xattr-none"),
            ("entry_timeout=-1", "reading option entry_timeout=-1: it is not a length of time"),
            ("attr_timeout=long", "reading option attr_timeout=long: it is not a number of seconds"),
            ("size=1", "size"),
        ] {
            let error = read(words).unwrap_err();
            assert!(error.contains(said) && !error.contains('\n'), "{words}: {error}");
        }
    }
}
