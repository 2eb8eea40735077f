//! What a filesystem's command is: its name, its source, its options. The definition for clap comes from the same value.
//!
//! Reading a command line by it is the matter of `parse`.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ValueHint};
use fusewire::mount::{MountOptions, option_help};

use crate::error::UsageError;
use crate::generate::Kind;
use crate::invocation::Invocation;
use crate::parse;

/// What stands before the mountpoint on the command line, and in the first column of `/etc/fstab`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The filesystem shows nothing that lies elsewhere. A source may be given all the same, as fstab needs one: it is the
    /// name in df(1) and `/proc/mounts`.
    #[default]
    None,
    /// A file or directory, which must be given. It is made absolute; whether it is there, the filesystem sees.
    Path,
    /// Something else, such as `HOST:DIRECTORY`, which must be given. It comes as it is.
    Text,
}

/// An `-o` option of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OptionRow {
    pub(crate) name: &'static str,
    /// What stands for the value in the help; `None` for an option without one.
    pub(crate) value: Option<&'static str>,
    pub(crate) help: &'static str,
}

/// The `-o` options that every command has, besides those of mounting.
pub(crate) const LAUNCH_OPTIONS: &[OptionRow] = &[
    OptionRow { name: "debug", value: None, help: "as -d" },
    OptionRow { name: "max_threads", value: Some("N"), help: "serve with no more than this many threads" },
    OptionRow { name: "transport", value: Some("auto|dev|uring"), help: "use /dev/fuse or io_uring (default: auto)" },
    OptionRow { name: "log_file", value: Some("PATH"), help: "append the log to this file" },
];

/// How like another a name must be to be taken for a mistyped one, from 0 to 1.
const ALIKE: f64 = 0.8;

/// A filesystem's command: what it is called, what it takes, and how the help describes it.
#[derive(Clone, Debug)]
pub struct Command {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) about: &'static str,
    pub(crate) details: &'static [&'static str],
    pub(crate) examples: Vec<(&'static str, &'static str)>,
    pub(crate) source: Source,
    source_help: &'static str,
    pub(crate) options: Vec<OptionRow>,
    pub(crate) mount: MountOptions,
}

impl Command {
    /// The command `name`, which is also the type in fstab (`fuse.NAME`) and in `/proc/mounts`. The version is best
    /// `env!("CARGO_PKG_VERSION")`.
    #[must_use]
    pub fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            name,
            version,
            about: "",
            details: &[],
            examples: Vec::new(),
            source: Source::None,
            source_help: "A name for df and /proc/mounts",
            options: Vec::new(),
            mount: MountOptions::new(),
        }
    }

    /// What the filesystem is for, in one sentence without a dot.
    #[must_use]
    pub fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// More paragraphs about it, for the man page: what users must know, and what it does not do.
    #[must_use]
    pub fn details(self, details: &'static [&'static str]) -> Self {
        Self { details, ..self }
    }

    /// Adds an example, `line`, and its meaning in a few words. The help shows both, the man page as well.
    #[must_use]
    pub fn example(mut self, line: &'static str, meaning: &'static str) -> Self {
        self.examples.push((line, meaning));
        self
    }

    /// What stands before the mountpoint, and the help for it.
    #[must_use]
    pub fn source(self, source: Source, help: &'static str) -> Self {
        Self { source, source_help: help, ..self }
    }

    /// Adds the option `-o name`.
    #[must_use]
    pub fn flag(mut self, name: &'static str, help: &'static str) -> Self {
        self.options.push(OptionRow { name, value: None, help });
        self
    }

    /// Adds the option `-o name=value`. `form` stands for the value in the help, such as `BYTES` or `none|auto|always`.
    #[must_use]
    pub fn value(mut self, name: &'static str, form: &'static str, help: &'static str) -> Self {
        self.options.push(OptionRow { name, value: Some(form), help });
        self
    }

    /// How this filesystem is mounted unless the `-o` options say otherwise, such as
    /// `MountOptions::new().default_permissions()`. Subtype and source are set from the command line.
    #[must_use]
    pub fn mount_options(self, mount: MountOptions) -> Self {
        Self { mount, ..self }
    }

    /// Reads a command line, whose first word is the command itself. For tests of options, and for programs that do
    /// something else than [`run`](crate::run) with the outcome.
    ///
    /// # Errors
    /// It is wrong, or asks for the help or the version.
    pub fn parse<I>(&self, words: I) -> Result<Invocation, UsageError>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        parse::parse(self, words)
    }

    /// The definition for clap, from which the help, the man page and the completions for shells are made. `--generate` prints
    /// the latter.
    #[must_use]
    pub fn clap_command(&self) -> clap::Command {
        let words = self.option_groups().into_iter().flat_map(|(_, rows)| rows).flat_map(|(form, _)| words(&form));
        let words = PossibleValuesParser::new(words.collect::<Vec<_>>());
        let hint = if self.source == Source::Path { ValueHint::AnyPath } else { ValueHint::Other };
        let source = Arg::new("source").value_name("SOURCE").help(self.source_help).value_hint(hint);
        let mountpoint = Arg::new("mountpoint").value_name("MOUNTPOINT").required(true).value_hint(ValueHint::DirPath);
        self.switches()
            .allow_missing_positional(true)
            .mut_arg("options", |options| options.value_parser(words).hide_possible_values(true))
            .arg(source.required(self.source != Source::None))
            .arg(mountpoint.help("The directory to mount on, or /dev/fd/N, an open FUSE device"))
    }

    /// The definition by which words are read. clap finds a mountpoint behind a missing source only if no option stands
    /// between words, so they are told apart later.
    pub(crate) fn lenient_command(&self) -> clap::Command {
        let words = Arg::new("words").value_parser(clap::value_parser!(OsString)).action(ArgAction::Append);
        self.switches().arg(words.num_args(1..))
    }

    fn switches(&self) -> clap::Command {
        clap::Command::new(self.name)
            .version(self.version)
            .about(self.about)
            .arg(
                Arg::new("options")
                    .short('o')
                    .value_name("OPTION,...")
                    .value_parser(clap::value_parser!(OsString))
                    .action(ArgAction::Append)
                    .allow_hyphen_values(true)
                    .help("Mount options, see below; a backslash keeps a comma"),
            )
            .arg(switch("foreground", 'f', "Stay in the foreground"))
            .arg(switch("debug", 'd', "Stay in the foreground and show each request"))
            .arg(switch("single", 's', "Serve with a single thread"))
            .arg(
                Arg::new("generate")
                    .long("generate")
                    .value_name("WHAT")
                    .value_parser(|word: &str| word.parse::<Kind>())
                    .help(format!("Print the man page or completions: {}", Kind::WORDS.join(", "))),
            )
            .after_help(self.after_help())
    }

    /// The `-o` options by groups: the title of each, and the form and the help of its rows.
    pub(crate) fn option_groups(&self) -> Vec<(String, Vec<(String, &'static str)>)> {
        let own = |row: &OptionRow| (row.form(), row.help);
        let shared = option_help().map(|row| (row.form.to_owned(), row.help));
        let shared: Vec<_> = LAUNCH_OPTIONS.iter().map(own).chain(shared).collect();
        let own: Vec<_> = self.options.iter().map(own).collect();
        let mut groups = Vec::new();
        if !own.is_empty() {
            groups.push((format!("Mount options of {}", self.name), own));
        }
        groups.push(("Mount options of every filesystem".to_owned(), shared));
        groups
    }

    /// The `-o` option that somebody most likely meant who wrote `typed`, if one is like it.
    pub(crate) fn nearest_option(&self, typed: &str) -> Option<String> {
        let forms = self.option_groups().into_iter().flat_map(|(_, rows)| rows).map(|(form, _)| form);
        let names = forms.flat_map(|form| words(&form)).map(|word| word.trim_end_matches('=').to_owned());
        let rated = names.map(|name| (strsim::jaro(&name, typed), name)).filter(|(likeness, _)| *likeness > ALIKE);
        rated.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
    }

    /// The part of the help behind the arguments.
    fn after_help(&self) -> String {
        let mut text = String::new();
        let groups = self.option_groups();
        let width = groups.iter().flat_map(|(_, rows)| rows).map(|(form, _)| form.len()).max().unwrap_or(0);
        for (title, rows) in groups {
            list(&mut text, &title, &rows, width);
        }
        if !self.examples.is_empty() {
            let rows: Vec<_> = self.examples.iter().map(|(line, meaning)| ((*line).to_owned(), *meaning)).collect();
            let width = rows.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
            list(&mut text, "Examples", &rows, width);
        }
        text.push_str("The command returns when the mount is ready; it goes on in the background.\n");
        text.push_str("Unmount with: fusermount3 -u MOUNTPOINT");
        text
    }
}

impl OptionRow {
    /// As it is written.
    pub(crate) fn form(&self) -> String {
        match self.value {
            Some(value) => format!("{}={value}", self.name),
            None => self.name.to_owned(),
        }
    }
}

fn switch(name: &'static str, letter: char, help: &'static str) -> Arg {
    Arg::new(name).short(letter).action(ArgAction::SetTrue).help(help)
}

/// The options of a form as they are typed: `size=BYTES` begins with `size=`, and `ro, rw` are two.
fn words(form: &str) -> Vec<String> {
    match form.split_once('=') {
        Some((name, _)) => vec![format!("{name}=")],
        None => form.split(", ").map(str::to_owned).collect(),
    }
}

fn list(text: &mut String, title: &str, rows: &[(String, &'static str)], width: usize) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{title}:");
    for (form, help) in rows {
        let _ = writeln!(text, "  {form:<width$}  {help}");
    }
    let _ = writeln!(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::new("poemfs", "1.2.3")
            .about("Shows a poem")
            .value("verses", "N", "how many verses there are")
            .example("poemfs mnt", "A poem")
    }

    #[test]
    fn definition_for_clap_is_sound() {
        command().clap_command().debug_assert();
        command().source(Source::Path, "The poem").clap_command().debug_assert();
        command().lenient_command().debug_assert();
    }

    #[test]
    fn help_tells_own_and_shared_options() {
        let help = command().clap_command().render_help().to_string();
        for words in
            ["Shows a poem", "[SOURCE] <MOUNTPOINT>", "verses=N", "how many verses", "max_threads=N", "allow_other"]
        {
            assert!(help.contains(words), "{words} is not in\n{help}");
        }
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
        assert!(help.contains("Examples:\n  poemfs mnt  A poem\n"), "{help}");
        let needed = command().source(Source::Path, "The poem").clap_command().render_help().to_string();
        assert!(needed.contains("<SOURCE> <MOUNTPOINT>"), "{needed}");
    }
}
