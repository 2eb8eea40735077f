//! A chapter as a list of steps. How steps are done is not known here.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

use crate::include;

/// What a reader does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes a file: a code block with `file=PATH` in its info string.
    File {
        /// Relative to the directory that the reader stands in.
        path: PathBuf,
        /// What goes into it.
        text: String,
    },
    /// Types a command: a line that begins with `$ ` in a block of the language `console`.
    Command {
        /// Where it stands in the chapter, counted from 1.
        line: usize,
        /// Without the prompt.
        command: String,
        /// The lines up to the next command, or the end of the block.
        expected: String,
    },
}

/// A chapter of the book, read.
#[derive(Clone, Debug)]
pub struct Chapter {
    /// The name of its file.
    pub name: String,
    /// What to do, in order.
    pub steps: Vec<Step>,
}

impl Chapter {
    /// Reads `book/src/NAME`.
    ///
    /// # Errors
    /// The file or one that it includes cannot be read, or a block has no sense.
    pub fn read(name: &str) -> Result<Self> {
        let path = directory().join(name);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let steps = steps(&text, path.parent().unwrap_or(&path)).with_context(|| format!("reading {name}"))?;
        Ok(Self { name: name.to_owned(), steps })
    }
}

/// The directory of the book's pages.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src")
}

fn steps(text: &str, directory: &Path) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut block: Option<(String, String, usize)> = None;
    // What stands before a file tells the reader where it goes.
    let mut paragraph = String::new();
    for (event, range) in Parser::new(text).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                let line = text.get(..range.start).unwrap_or_default().matches('\n').count() + 2;
                block = Some((info.into_string(), String::new(), line));
            }
            Event::Start(Tag::Paragraph) => paragraph.clear(),
            Event::Text(words) => match &mut block {
                Some((_, body, _)) => body.push_str(&words),
                None => paragraph.push_str(&words),
            },
            Event::Code(code) => paragraph.push_str(&code),
            Event::End(TagEnd::CodeBlock) => {
                let Some((info, body, line)) = block.take() else { continue };
                let mut words = info.split([',', ' ']);
                if words.next() == Some("console") {
                    commands(&body, line, &mut steps)?;
                } else if let Some(path) = words.find_map(|word| word.strip_prefix("file=")) {
                    ensure!(paragraph.contains(path), "line {line}: the text before the block does not name `{path}`");
                    steps.push(Step::File { path: path.into(), text: include::expand(&body, directory)? });
                }
            }
            _ => {}
        }
    }
    Ok(steps)
}

fn commands(body: &str, first_line: usize, steps: &mut Vec<Step>) -> Result<()> {
    let mut last: Option<Step> = None;
    for (text, line) in body.lines().zip(first_line..) {
        if let Some(command) = text.strip_prefix("$ ") {
            steps.extend(last.take());
            last = Some(Step::Command { line, command: command.to_owned(), expected: String::new() });
        } else if let Some(Step::Command { expected, .. }) = &mut last {
            expected.push_str(text);
            expected.push('\n');
        } else {
            anyhow::bail!("line {line}: the session does not begin with a command");
        }
    }
    steps.extend(last);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_commands_come_in_order() {
        let text = "Write `a.txt`:\n\n```text,file=a.txt\none\n```\n\n```console\n$ cat a.txt\none\n$ true\n```\n\n```rust\nno\n```\n";
        let command = |line, command: &str, expected: &str| Step::Command {
            line,
            command: command.into(),
            expected: expected.into(),
        };
        let file = Step::File { path: "a.txt".into(), text: "one\n".into() };
        let found = steps(text, Path::new(".")).unwrap();
        assert_eq!(found, [file, command(8, "cat a.txt", "one\n"), command(10, "true", "")]);
    }

    #[test]
    fn file_that_the_text_does_not_name_is_refused() {
        let text = "Write this:\n\n```text,file=a.txt\none\n```\n";
        assert!(steps(text, Path::new(".")).is_err());
    }
}
