//! From the words of a command line to an invocation.
//!
//! What there is to be said is in `command`; nothing here looks at the system, but for the working directory.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use fusewire::mount::{MountOptions, split_options};
use fusewire::{Channel, SessionConfig, Workers};

use crate::command::{Command, LAUNCH_OPTIONS, OptionRow, Source};
use crate::error::{OptionError, UsageError, one_line};
use crate::generate::Kind;
use crate::invocation::{Invocation, Mode, Verbosity};

pub(crate) fn parse<I>(command: &Command, words: I) -> Result<Invocation, UsageError>
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let matches = command.lenient_command().try_get_matches_from(words).map_err(|error| usage(command, &error))?;
    if let Some(kind) = matches.get_one::<Kind>("generate") {
        return Err(UsageError::Shown(command.generate(*kind)));
    }
    let words: Vec<_> = matches.get_many::<OsString>("words").unwrap_or_default().collect();
    let form = |problem: String| UsageError::Form { problem, name: command.name };
    let (source, mountpoint) = match (words.as_slice(), command.source) {
        ([mountpoint], Source::None) => (None, absolute(mountpoint)?),
        ([source, mountpoint], Source::Path) => (Some(absolute(source)?.into_os_string()), absolute(mountpoint)?),
        ([source, mountpoint], _) => (Some((*source).clone()), absolute(mountpoint)?),
        ([], Source::None) => return Err(form("the mountpoint is missing".to_owned())),
        ([], _) => return Err(form("the source and the mountpoint are missing".to_owned())),
        ([only], _) => {
            let only = one_line(&only.to_string_lossy());
            return Err(form(format!("it takes a source and a mountpoint, and only {only} was given")));
        }
        ([_, _, third, ..], _) => return Err(form(format!("{third:?} is one word too many; options go behind -o"))),
    };
    let source = source.filter(|source| !source.is_empty());
    let mut mount = command.mount.clone().subtype(command.name);
    if let Some(source) = &source {
        mount = mount.source(source);
    }
    let mut invocation = Invocation {
        source,
        mountpoint,
        options: Vec::new(),
        mount,
        session: SessionConfig::default(),
        mode: Mode::Background,
        verbosity: Verbosity::Quiet,
        log_file: None,
    };
    for list in matches.get_many::<OsString>("options").unwrap_or_default() {
        for option in split_options(list) {
            take(command, &mut invocation, &option)?;
        }
    }
    if matches.get_flag("foreground") {
        invocation.mode = Mode::Foreground;
    }
    if matches.get_flag("debug") {
        invocation.debug();
    }
    if matches.get_flag("single") {
        invocation.session = invocation.session.workers(Workers::single());
    }
    Ok(invocation)
}

/// Takes one `-o` option: the filesystem's own, then the command's, then those of mounting.
fn take(command: &Command, invocation: &mut Invocation, option: &OsStr) -> Result<(), UsageError> {
    let mut parts = option.as_bytes().splitn(2, |byte| *byte == b'=');
    let name = parts.next().unwrap_or_default();
    let value = parts.next().map(OsStr::from_bytes);
    let named = |row: &&OptionRow| row.name.as_bytes() == name;

    if let Some(row) = command.options.iter().find(named) {
        check_form(row, option, value)?;
        invocation.options.push((row.name, value.map(OsStr::to_owned)));
        return Ok(());
    }
    if let Some(row) = LAUNCH_OPTIONS.iter().find(named) {
        check_form(row, option, value)?;
        return match (row.name, value) {
            ("max_threads", Some(value)) => {
                let number = value.to_str().and_then(|text| text.parse::<NonZeroUsize>().ok());
                let number = number.ok_or_else(|| OptionError::new(option, "expected a number from 1 up"))?;
                invocation.session = invocation.session.workers(Workers::at_most(number.get()));
                Ok(())
            }
            ("transport", Some(value)) => {
                let channel = channel(value).ok_or_else(|| OptionError::new(option, "expected auto, dev or uring"))?;
                invocation.session = invocation.session.channel(channel);
                Ok(())
            }
            ("log_file", Some(path)) => {
                invocation.log_file = Some(absolute(path)?);
                Ok(())
            }
            _ => {
                invocation.debug();
                Ok(())
            }
        };
    }
    if take_mount_option(&mut invocation.mount, option)? {
        return Ok(());
    }
    if option == REMOUNT {
        // As mount(8) has its helper do it; the kernel could change no option of FUSE anyway (fs/fuse/inode.c fuse_reconfigure()).
        let problem = "its options stay as long as it is mounted; \
                       `mount -i -o remount,ro` and so on change the flags ro, noexec, nosuid, nodev and noatime";
        return Err(OptionError::new(option, problem).into());
    }
    let hint = match command.nearest_option(&String::from_utf8_lossy(name)) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("see {} --help", command.name),
    };
    Err(OptionError::new(option, format!("{} has no such option; {hint}", command.name)).into())
}

/// What mount(8) asks its helper for when options of a mount are to change.
const REMOUNT: &str = "remount";

/// How requests come in, by its name on a command line.
fn channel(name: &OsStr) -> Option<Channel> {
    match name.to_str()? {
        "auto" => Some(Channel::Auto),
        "dev" => Some(Channel::Device),
        "uring" => Some(Channel::Ring),
        _ => None,
    }
}

fn take_mount_option(mount: &mut MountOptions, option: &OsStr) -> Result<bool, UsageError> {
    Ok(mount.parse_option(option)?)
}

fn check_form(row: &OptionRow, option: &OsStr, value: Option<&OsStr>) -> Result<(), OptionError> {
    match (row.value, value) {
        (Some(_), None) => Err(OptionError::new(option, format!("it needs a value; write {}", row.form()))),
        (None, Some(_)) => Err(OptionError::new(option, format!("it takes no value; write {} alone", row.name))),
        _ => Ok(()),
    }
}

impl Invocation {
    fn debug(&mut self) {
        self.mode = Mode::Foreground;
        self.verbosity = Verbosity::Requests;
    }
}

fn absolute(path: &OsStr) -> Result<PathBuf, UsageError> {
    std::path::absolute(Path::new(path)).map_err(|error| UsageError::Path {
        path: format!("`{}`", one_line(&path.to_string_lossy())),
        problem: error.to_string(),
    })
}

/// What clap says, in one line: its first paragraph, without the word before it.
fn usage(command: &Command, error: &clap::Error) -> UsageError {
    let text = match error.kind() {
        ErrorKind::DisplayHelp => return UsageError::Shown(command.clap_command().render_help().to_string()),
        ErrorKind::DisplayVersion => return UsageError::Shown(error.render().to_string()),
        _ => error.render().to_string(),
    };
    let paragraph: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let problem = paragraph.join(" ");
    let problem = problem.strip_prefix("error: ").unwrap_or(&problem);
    UsageError::Form { problem: one_line(problem), name: command.name }
}

#[cfg(test)]
mod tests {
    use fusewire::mount::MountFlag;

    use super::*;

    fn command() -> Command {
        Command::new("poemfs", "1.2.3").value("verses", "N", "how many").flag("rhymed", "make them rhyme")
    }

    fn parsed(words: &[&str]) -> Result<Invocation, UsageError> {
        command().parse(["poemfs"].iter().chain(words))
    }

    fn refused(words: &[&str]) -> String {
        parsed(words).unwrap_err().to_string()
    }

    #[test]
    fn one_word_is_the_mountpoint_and_two_are_source_and_mountpoint() {
        let one = parsed(&["/mnt"]).unwrap();
        assert_eq!((one.source(), one.mountpoint()), (None, Path::new("/mnt")));
        let two = parsed(&["none", "/mnt"]).unwrap();
        assert_eq!((two.source(), two.mountpoint()), (Some(OsStr::new("none")), Path::new("/mnt")));
        assert_eq!(parsed(&["", "/mnt"]).unwrap().source(), None);
    }

    #[test]
    fn options_stand_before_between_and_behind_and_come_in_several_lists() {
        let lists: [&[&str]; 3] = [
            &["-o", "ro,verses=1", "-s", "none", "/mnt", "-overses=2,rhymed"],
            &["none", "-o", "ro", "/mnt", "-o", "verses=2", "-o", "rhymed"],
            &["none", "/mnt", "-o", "verses=7,ro,,verses=2,rhymed,_netdev,nofail,x-systemd.automount"],
        ];
        for words in lists {
            let invocation = parsed(words).unwrap();
            assert_eq!(invocation.value::<u32>("verses"), Ok(Some(2)), "{words:?}");
            assert!(invocation.flag("rhymed"), "{words:?}");
            assert!(invocation.mount_options().has(MountFlag::ReadOnly), "{words:?}");
        }
        assert!(!parsed(&["/mnt"]).unwrap().flag("rhymed"));
        assert_eq!(parsed(&["/mnt"]).unwrap().value::<u32>("verses"), Ok(None));
    }

    #[test]
    fn paths_are_absolute() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(parsed(&["mnt"]).unwrap().mountpoint(), here.join("mnt"));
        let poem = command().source(Source::Path, "The poem").parse(["poemfs", "poem", "mnt"]).unwrap();
        assert_eq!(poem.source(), Some(here.join("poem").as_os_str()));
        let host = command().source(Source::Text, "The host").parse(["poemfs", "host:poem", "mnt"]).unwrap();
        assert_eq!(host.source(), Some(OsStr::new("host:poem")));
        assert_eq!(parsed(&["/mnt", "-olog_file=log"]).unwrap().log_file, Some(here.join("log")));
    }

    #[test]
    fn debugging_is_done_in_the_foreground() {
        for words in [["/mnt", "-d"], ["/mnt", "-odebug"]] {
            let invocation = parsed(&words).unwrap();
            assert_eq!((invocation.mode, invocation.verbosity), (Mode::Foreground, Verbosity::Requests));
        }
        let invocation = parsed(&["/mnt", "-f"]).unwrap();
        assert_eq!((invocation.mode, invocation.verbosity), (Mode::Foreground, Verbosity::Quiet));
        assert_eq!(parsed(&["/mnt"]).unwrap().mode, Mode::Background);
    }

    #[test]
    fn number_of_threads_is_limited() {
        let session = |words: &[&str]| parsed(words).unwrap().session;
        assert_eq!(session(&["/mnt", "-s"]), SessionConfig::default().workers(Workers::single()));
        for (word, channel) in [("auto", Channel::Auto), ("dev", Channel::Device), ("uring", Channel::Ring)] {
            let option = format!("-otransport={word}");
            assert_eq!(session(&["/mnt", &option]), SessionConfig::default().channel(channel));
        }
        assert_eq!(
            refused(&["/mnt", "-otransport=pigeon"]),
            "reading option transport=pigeon: expected auto, dev or uring"
        );
        assert_eq!(session(&["/mnt", "-omax_threads=3"]), SessionConfig::default().workers(Workers::at_most(3)));
        for wrong in ["0", "-1", "many", ""] {
            assert_eq!(
                refused(&["/mnt", &format!("-omax_threads={wrong}")]),
                format!("reading option max_threads={wrong}: expected a number from 1 up")
            );
        }
    }

    #[test]
    fn wrong_command_lines_are_told_in_one_line() {
        assert_eq!(refused(&[]), "reading the command line: the mountpoint is missing; see poemfs --help");
        assert_eq!(
            refused(&["-z", "/mnt"]),
            "reading the command line: unexpected argument '-z' found; see poemfs --help"
        );
        assert_eq!(
            refused(&["a", "b", "c"]),
            "reading the command line: \"c\" is one word too many; options go behind -o; see poemfs --help"
        );
        assert_eq!(refused(&[""]), "finding the absolute path of ``: cannot make an empty path absolute");
        assert_eq!(
            refused(&["/mnt", "-obogus=1"]),
            "reading option bogus=1: poemfs has no such option; see poemfs --help"
        );
        assert_eq!(
            refused(&["poems", "/mnt", "-o", "rw,remount,size=2m"]),
            "reading option remount: its options stay as long as it is mounted; `mount -i -o remount,ro` and so on change the \
             flags ro, noexec, nosuid, nodev and noatime"
        );
        assert_eq!(refused(&["/mnt", "-overses"]), "reading option verses: it needs a value; write verses=N");
        assert_eq!(
            refused(&["/mnt", "-orhymed=yes"]),
            "reading option rhymed=yes: it takes no value; write rhymed alone"
        );
        assert_eq!(refused(&["/mnt", "-oro=1"]), "reading option ro: it takes no value; write ro alone");
    }

    #[test]
    fn mistyped_option_is_recognized() {
        for (typed, meant) in [
            ("verse=3", "verses"),
            ("rhymd", "rhymed"),
            ("alow_other", "allow_other"),
            ("default_permission", "default_permissions"),
            ("auto-unmount", "auto_unmount"),
            ("norelatme", "norelatime"),
            ("maxthreads=2", "max_threads"),
        ] {
            assert_eq!(
                refused(&["/mnt", "-o", typed]),
                format!("reading option {typed}: poemfs has no such option; did you mean {meant}?")
            );
        }
        let source = command().source(Source::Path, "The poem");
        assert_eq!(
            source.parse(["poemfs", "mnt"]).unwrap_err().to_string(),
            "reading the command line: it takes a source and a mountpoint, and only mnt was given; see poemfs --help"
        );
    }

    #[test]
    fn wrong_value_is_told_with_its_option() {
        let invocation = parsed(&["/mnt", "-overses=banana"]).unwrap();
        assert_eq!(
            invocation.value::<u32>("verses").unwrap_err().to_string(),
            "reading option verses=banana: invalid digit found in string"
        );
    }

    #[test]
    fn help_and_version_are_shown() {
        for word in ["-h", "--help", "-V", "--version"] {
            assert!(matches!(parsed(&[word]), Err(UsageError::Shown(_))), "{word}");
        }
        assert_eq!(refused(&["-V"]), "poemfs 1.2.3\n");
    }
}
