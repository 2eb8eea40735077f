//! Permission bits as `perms=` changes them: rules in the words of chmod(1), as bindfs has them.
//!
//! They change what is shown, and so what the kernel allows; the source keeps its own.

use std::fmt;
use std::str::FromStr;

const READ: u32 = 0o4;
const WRITE: u32 = 0o2;
const EXECUTE: u32 = 0o1;
const EVERYBODY: u32 = 0o777;

/// Rules that are applied to permission bits, in order: octal numbers such as `0750`, or `[ugoafd...][+-=][rwxXDdugo...]`,
/// separated by colons or commas.
///
/// On the left: the user, the group, others, all of them; `f` and `d` restrict a rule to files or to directories. On the
/// right: read, write, execute; `X` is execute for directories and for files that somebody may execute, `D` execute for
/// directories, `d` execute for directories that somebody may search; `u`, `g` and `o` copy the bits of those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// Shifts of the classes it is about.
    classes: Vec<u32>,
    to: To,
    operation: Operation,
    bits: Vec<Bits>,
}

/// What a rule is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    All,
    Files,
    Directories,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Add,
    Remove,
    Set,
}

/// What the right side of a rule stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    /// For each class.
    These(u32),
    /// For all classes: an octal number.
    Number(u32),
    ExecuteIfAny,
    ExecuteDirectories,
    ExecuteDirectoriesIfAny,
    /// Those of the class with this shift.
    Copy(u32),
}

/// What is wrong with rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPermissions {
    rule: String,
}

impl fmt::Display for InvalidPermissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is neither an octal mode nor of the form [ugoafd][+-=][rwxXDdugo]", self.rule)
    }
}

impl std::error::Error for InvalidPermissions {}

impl FromStr for Permissions {
    type Err = InvalidPermissions;

    fn from_str(text: &str) -> Result<Self, InvalidPermissions> {
        let rules =
            text.split([':', ',']).map(|rule| parse(rule).ok_or_else(|| InvalidPermissions { rule: rule.into() }));
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }
}

fn parse(text: &str) -> Option<Rule> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = u32::from_str_radix(text, 8).ok().filter(|number| *number <= EVERYBODY)?;
        let bits = vec![Bits::Number(number)];
        return Some(Rule { classes: vec![6, 3, 0], to: To::All, operation: Operation::Set, bits });
    }
    let at = text.find(['+', '-', '='])?;
    let (left, right) = text.split_at_checked(at)?;
    let mut letters = right.chars();
    let operation = match letters.next()? {
        '+' => Operation::Add,
        '-' => Operation::Remove,
        _ => Operation::Set,
    };
    let mut rule = Rule { classes: Vec::new(), to: To::All, operation, bits: Vec::new() };
    for letter in left.chars() {
        match letter {
            'a' => rule.classes.extend([6, 3, 0]),
            'f' if rule.to == To::All => rule.to = To::Files,
            'd' if rule.to == To::All => rule.to = To::Directories,
            letter => rule.classes.push(shift(letter)?),
        }
    }
    if rule.classes.is_empty() {
        rule.classes.extend([6, 3, 0]);
    }
    for letter in letters {
        rule.bits.push(match letter {
            'r' => Bits::These(READ),
            'w' => Bits::These(WRITE),
            'x' => Bits::These(EXECUTE),
            'X' => Bits::ExecuteIfAny,
            'D' => Bits::ExecuteDirectories,
            'd' => Bits::ExecuteDirectoriesIfAny,
            letter => Bits::Copy(shift(letter)?),
        });
    }
    Some(rule)
}

fn shift(class: char) -> Option<u32> {
    match class {
        'u' => Some(6),
        'g' => Some(3),
        'o' => Some(0),
        _ => None,
    }
}

impl Permissions {
    /// The mode that is shown for one of the source. Its type and special bits stay; symbolic links are left alone.
    #[must_use]
    pub fn apply(&self, mode: u32) -> u32 {
        let kind = mode & libc::S_IFMT;
        if kind == libc::S_IFLNK {
            return mode;
        }
        let directory = kind == libc::S_IFDIR;
        self.rules
            .iter()
            .filter(|rule| match rule.to {
                To::All => true,
                To::Files => !directory,
                To::Directories => directory,
            })
            .fold(mode, |mode, rule| rule.apply(mode, directory))
    }
}

impl Rule {
    fn apply(&self, mode: u32, directory: bool) -> u32 {
        let about = self.classes.iter().fold(0, |bits, shift| bits | 0o7 << shift);
        let any = mode & (EXECUTE << 6 | EXECUTE << 3 | EXECUTE) != 0;
        let execute = |yes: bool| if yes { EXECUTE } else { 0 };
        let mut wanted = 0;
        for bits in &self.bits {
            let each = match bits {
                Bits::Number(number) => {
                    wanted |= number;
                    continue;
                }
                Bits::These(bits) => *bits,
                Bits::ExecuteIfAny => execute(directory || any),
                Bits::ExecuteDirectories => execute(directory),
                Bits::ExecuteDirectoriesIfAny => execute(directory && any),
                Bits::Copy(shift) => mode >> shift & 0o7,
            };
            wanted |= self.classes.iter().fold(0, |bits, shift| bits | each << shift);
        }
        match self.operation {
            Operation::Add => mode | wanted,
            Operation::Remove => mode & !wanted,
            Operation::Set => mode & !about | wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: u32 = libc::S_IFREG;
    const DIRECTORY: u32 = libc::S_IFDIR;

    #[test]
    fn rules_change_bits_in_order() {
        for (rules, before, after) in [
            ("0640", FILE | 0o4777, FILE | 0o4640),
            ("a-w", FILE | 0o666, FILE | 0o444),
            ("-w", DIRECTORY | 0o1777, DIRECTORY | 0o1555),
            ("u=rwX:go=rX", FILE | 0o600, FILE | 0o644),
            ("u=rwX,go=rX", FILE | 0o711, FILE | 0o755),
            ("u=rwX:go=rX", DIRECTORY | 0o700, DIRECTORY | 0o755),
            ("a=rD", FILE | 0o777, FILE | 0o444),
            ("a=rD", DIRECTORY | 0o600, DIRECTORY | 0o555),
            ("a=rd", DIRECTORY | 0o600, DIRECTORY | 0o444),
            ("gd-w", FILE | 0o666, FILE | 0o666),
            ("gd-w", DIRECTORY | 0o777, DIRECTORY | 0o757),
            ("of+w", FILE | 0o444, FILE | 0o446),
            ("g=u", FILE | 0o604, FILE | 0o664),
            ("go=", FILE | 0o777, FILE | 0o700),
            ("0000:u+r", FILE | 0o777, FILE | 0o400),
            ("0000", libc::S_IFLNK | 0o777, libc::S_IFLNK | 0o777),
        ] {
            let permissions: Permissions = rules.parse().unwrap();
            assert_eq!(permissions.apply(before), after, "{rules}: {:o}", permissions.apply(before));
        }
    }

    #[test]
    fn wrong_rules_are_told() {
        for wrong in ["", "banana", "-1", "1000", "888", "u~r", "q+r", "u+q", "u=r:", "fd+x"] {
            let error = wrong.parse::<Permissions>().map(|rules| format!("{rules:?}")).unwrap_err();
            assert!(error.to_string().contains("neither an octal mode"), "{wrong}");
        }
    }
}
