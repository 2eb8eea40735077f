//! The man page of a command, and completions for shells, made from its definition: what `--generate` prints.
//!
//! Where they are installed is the matter of who packs them.

use std::io::{self, Write as _};
use std::str::FromStr;

use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::command::{Command, Source};

/// What can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Man,
    Completion(Shell),
}

impl Kind {
    /// The words for them, for the help.
    pub(crate) const WORDS: [&'static str; 4] = ["man", "bash", "zsh", "fish"];
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "man" => Ok(Self::Man),
            "bash" => Ok(Self::Completion(Shell::Bash)),
            "zsh" => Ok(Self::Completion(Shell::Zsh)),
            "fish" => Ok(Self::Completion(Shell::Fish)),
            _ => Err(format!("expected one of {}", Self::WORDS.join(", "))),
        }
    }
}

impl Command {
    pub(crate) fn generate(&self, kind: Kind) -> String {
        match kind {
            Kind::Man => self.man_page(),
            Kind::Completion(shell) => {
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut self.clap_command(), self.name, &mut text);
                String::from_utf8_lossy(&text).into_owned()
            }
        }
    }

    fn man_page(&self) -> String {
        let mut page = Vec::new();
        // Writing to memory cannot fail.
        let _ = self.write_man_page(&mut page);
        String::from_utf8_lossy(&page).into_owned()
    }

    fn write_man_page(&self, out: &mut Vec<u8>) -> io::Result<()> {
        // clap_mangen leaves an empty date out, and the rest would be taken for it.
        let (title, name, version) = (self.name.to_uppercase(), self.name, self.version);
        writeln!(out, ".TH {title} 1 \"\" \"{name} {version}\" \"Filesystems in user space\"")?;
        let man = Man::new(self.clap_command());
        man.render_name_section(out)?;
        self.beginning().to_writer(out)?;
        man.render_options_section(out)?;
        let mut rest = Roff::new();
        for (title, rows) in self.option_groups() {
            rest.control("SH", [title.to_uppercase().as_str()]);
            for (form, help) in rows {
                rest.control("TP", []).text([bold(form)]).text([roman(help)]);
            }
        }
        self.surroundings(&mut rest);
        rest.to_writer(out)
    }

    fn beginning(&self) -> Roff {
        let mut text = Roff::new();
        let source = if self.source == Source::None { "[SOURCE]" } else { "SOURCE" };
        let [before, between, after] = [" [-fds] [-o ", "] ", " "].map(roman);
        let words =
            [bold(self.name), before, italic("OPTION,..."), between, italic(source), after, italic("MOUNTPOINT")];
        text.control("SH", ["SYNOPSIS"]).text(words).control("br", []);
        text.text([bold(self.name), roman(format!(" --generate {}", Kind::WORDS.join("|")))]);
        text.control("SH", ["DESCRIPTION"]);
        text.text([roman(format!("{}.", self.about))]);
        for paragraph in self.details {
            text.control("PP", []).text([roman(*paragraph)]);
        }
        text.control("PP", []).text([
            roman("The command returns when the mount is ready, and the filesystem goes on in the background until it is unmounted: "),
            bold("fusermount3 -u"),
            roman(" "),
            italic("MOUNTPOINT"),
            roman(", or umount(8) as root. Ordinary users need fusermount3(1), and a mountpoint of their own. Until "),
            bold("allow_other"),
            roman(" says otherwise, only the user who mounted may look in."),
        ]);
        text
    }

    /// The part that is nearly the same for all commands.
    fn surroundings(&self, page: &mut Roff) {
        let name = self.name;
        let source = if self.source == Source::None { "none" } else { "/srv/data" };
        let entry = |page: &mut Roff, term: Vec<Inline>, words: &str| {
            page.control("TP", []).text(term).text([roman(words)]);
        };
        page.control("SH", ["EXIT STATUS"]);
        entry(
            page,
            vec![bold("0")],
            "The mount is ready; with -f or -d, it was served and has ended in an orderly way.",
        );
        entry(
            page,
            vec![bold("1")],
            "Something failed: a line on standard error says what, and nothing is left mounted.",
        );
        page.control("SH", ["ENVIRONMENT"]);
        entry(page, vec![bold("RUST_LOG")], "What is logged, such as warn or fusewire=debug.");
        page.control("SH", ["FILES"]);
        let conf = "The line user_allow_other lets ordinary users give the option allow_other.";
        entry(page, vec![bold("/etc/fuse.conf")], conf);
        let fstab = format!("A line with the type fuse.{name} mounts this filesystem:");
        entry(page, vec![bold("/etc/fstab")], &fstab);
        example(page, &format!("{source}  /mnt/{name}  fuse.{name}  noauto,user  0 0"));
        page.control("SH", ["EXAMPLES"]).text([roman(format!("With a directory mnt that {name} is mounted on,"))]);
        for (line, meaning) in &self.examples {
            page.control("PP", []).text([roman(format!("{meaning}:"))]);
            example(page, line);
        }
        page.control("PP", []).text([roman("the end of any of them:")]);
        example(page, "fusermount3 -u mnt");
        page.control("SH", ["SEE ALSO"]);
        let others: [(&str, &str); 4] =
            [("fusermount3", "(1), "), ("fuse", "(4), "), ("fstab", "(5), "), ("mount", "(8)")];
        page.text(others.iter().flat_map(|(name, section)| [bold(*name), roman(*section)]).collect::<Vec<_>>());
    }
}

/// A line that somebody types.
fn example(page: &mut Roff, line: &str) {
    page.control("PP", [])
        .control("RS", ["4"])
        .control("nf", [])
        .text([roman(line)])
        .control("fi", [])
        .control("RE", []);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::new("poemfs", "1.2.3")
            .about("Shows a poem")
            .details(&["A poem has verses.", ".A dot at the start of a line"])
            .value("verses", "N", "how many verses there are")
            .example("poemfs -o verses=2 mnt", "Two verses")
    }

    #[test]
    fn man_page_has_every_option_and_what_surrounds_a_command() {
        let page = command().generate(Kind::Man).replace("\\-", "-");
        for words in [
            ".TH POEMFS 1",
            "poemfs - Shows a poem",
            "A poem has verses.",
            "verses=N",
            "how many verses there are",
            "allow_other",
            "max_threads=N",
            "fuse.poemfs",
            "poemfs -o verses=2 mnt",
        ] {
            assert!(page.contains(words), "{words} is not in\n{page}");
        }
        // Text cannot become a request of the formatter.
        assert!(!page.lines().any(|line| line.starts_with(".A")), "{page}");
    }

    #[test]
    fn completions_name_the_command_and_its_options() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = command().generate(Kind::Completion(shell));
            for words in ["poemfs", "generate", "verses=", "allow_other"] {
                assert!(text.contains(words), "{shell}: {words} is not in\n{text}");
            }
        }
    }

    #[test]
    fn kinds_are_those_of_the_help() {
        assert!(Kind::WORDS.iter().all(|word| word.parse::<Kind>().is_ok()));
        assert_eq!("ksh".parse::<Kind>().unwrap_err(), "expected one of man, bash, zsh, fish");
    }
}
