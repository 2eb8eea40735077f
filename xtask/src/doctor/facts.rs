//! What this kernel's fuse is like: its modules, parameters, settings, and what it offers in INIT. It judges nothing.

use std::collections::BTreeMap;
use std::fs;

use fusewire_proto::init::InitFlags;
use serde::Serialize;

use super::machine::{Machine, Module};
use super::probe::Offer;

/// The facts, as `--json` has them.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    /// What `uname -r` says.
    kernel: String,
    /// Of `fuse`, `cuse` and `virtiofs`.
    modules: BTreeMap<&'static str, Module>,
    /// `/sys/module/fuse/parameters`.
    parameters: BTreeMap<String, String>,
    /// `/proc/sys/fs/fuse`.
    settings: BTreeMap<String, String>,
    /// What the kernel offers in INIT, if it could be asked.
    init: Option<Init>,
}

/// What a kernel offers in INIT.
#[derive(Debug, Serialize)]
struct Init {
    major: u32,
    minor: u32,
    /// Names of the flags that are set, as `linux/fuse.h` has them without `FUSE_`; `bit N` for one without a name.
    flags: Vec<String>,
    /// Names of the flags that Fusewire knows and this kernel does not offer.
    not_offered: Vec<String>,
}

impl Facts {
    /// Looks.
    pub(super) fn of(machine: &Machine) -> Self {
        Self {
            kernel: machine.text("/proc/sys/kernel/osrelease").trim().to_owned(),
            modules: ["fuse", "cuse", "virtiofs"].map(|name| (name, machine.module(name))).into(),
            parameters: files(machine, "/sys/module/fuse/parameters"),
            settings: files(machine, "/proc/sys/fs/fuse"),
            init: machine.offer.as_ref().ok().map(Init::of),
        }
    }

    /// Lines for people, below the table of checks.
    pub(super) fn text(&self) -> String {
        let pairs =
            |map: &BTreeMap<String, String>| map.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let modules = self.modules.iter().map(|(name, module)| format!("{name} {}", module.words())).collect();
        let mut text = format!("\nkernel {}\n", self.kernel);
        text += &paragraph("modules", ", ", modules);
        text += &paragraph("parameters", " ", pairs(&self.parameters));
        text += &paragraph("settings", " ", pairs(&self.settings));
        if let Some(init) = &self.init {
            text += &paragraph(&format!("INIT {}.{} offers", init.major, init.minor), " ", init.flags.clone());
            text += &paragraph("not offered", " ", init.not_offered.clone());
        }
        text
    }
}

impl Init {
    fn of(offer: &Offer) -> Self {
        let offered = InitFlags::from_bits_retain(offer.flags);
        // All bits are valid, whether they have a name or not.
        let named = InitFlags::all().iter_names().fold(InitFlags::empty(), |named, (_, flag)| named | flag);
        let unnamed = offered.difference(named).bits();
        let mut flags: Vec<String> = offered.iter_names().map(|(name, _)| name.to_owned()).collect();
        flags.extend((0..u64::BITS).filter(|bit| unnamed >> bit & 1 == 1).map(|bit| format!("bit {bit}")));
        let not_offered = named.difference(offered);
        Self {
            major: offer.major,
            minor: offer.minor,
            flags,
            not_offered: not_offered.iter_names().map(|(name, _)| name.to_owned()).collect(),
        }
    }
}

/// The files of a directory with what they hold; none if there is no such directory.
fn files(machine: &Machine, directory: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(machine.path(directory)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.map(|name| (name.clone(), machine.text(&format!("{directory}/{name}")).trim().to_owned())).collect()
}

/// Words in lines that a terminal holds; nothing without words.
fn paragraph(head: &str, between: &str, words: Vec<String>) -> String {
    const WIDTH: usize = 100;
    if words.is_empty() {
        return String::new();
    }
    let mut lines = vec![format!("{head}:")];
    let last = words.len() - 1;
    for (number, word) in words.into_iter().enumerate() {
        let word = if number < last { word + between.trim_end() } else { word };
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => *line += &format!(" {word}"),
            _ => lines.push(format!("  {word}")),
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_by_their_names() {
        let init = Init::of(&Offer { major: 7, minor: 45, flags: 1 | 1 << 62 });
        assert_eq!(init.flags, ["ASYNC_READ", "bit 62"]);
        assert!(init.not_offered.contains(&"POSIX_LOCKS".to_owned()));
        assert_eq!(init.not_offered.len() + 1, InitFlags::all().iter_names().count());
    }

    #[test]
    fn parameters_and_settings_are_read_from_their_files() {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in
            [("sys/module/fuse/parameters/enable_uring", "Y\n"), ("proc/sys/fs/fuse/max_pages_limit", "256\n")]
        {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let facts = Facts::of(&Machine::bare(root.path()));
        let text = facts.text();
        assert!(text.contains("parameters: enable_uring=Y\nsettings: max_pages_limit=256\n"), "{text}");
        assert!(text.contains("modules: cuse absent, fuse absent, virtiofs absent\n"), "{text}");
        assert!(facts.init.is_none());
    }

    #[test]
    fn paragraphs_fit_a_terminal() {
        let text = paragraph("flags", " ", vec!["A_RATHER_LONG_NAME".to_owned(); 20]);
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.len() <= 100), "{text}");
        assert_eq!(paragraph("flags", " ", Vec::new()), "");
    }
}
