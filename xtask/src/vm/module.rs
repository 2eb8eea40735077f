//! The modules of a kernel and what they need of each other, as the modules themselves tell: `depends=` in their
//! `.modinfo`. So no `modules.dep` is needed, which packages do not bring; it is made when one is installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// A module, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
}

/// The modules below one directory, `/lib/modules/RELEASE`.
#[derive(Debug)]
pub(super) struct Modules {
    directory: PathBuf,
    /// Files by the module's name.
    files: BTreeMap<String, PathBuf>,
    /// Names of what is in the kernel itself.
    builtin: Vec<String>,
}

impl Modules {
    /// Looks what there is below `directory`.
    pub(super) fn find(directory: &Path) -> Result<Self> {
        let list = directory.join("modules.builtin");
        let text = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
        let builtin = text.lines().filter_map(|line| name_of(Path::new(line))).collect();
        let mut files = BTreeMap::new();
        walk(directory, &mut files)?;
        Ok(Self { directory: directory.to_path_buf(), files, builtin })
    }

    /// Whether the kernel itself has it, or there is a module.
    pub(super) fn has(&self, name: &str) -> bool {
        self.is_builtin(name) || self.files.contains_key(name)
    }

    /// The lists that tools look for a module in: `modules.builtin`, and `modules.dep` with the files alone.
    pub(super) fn lists(&self) -> [(&'static str, String); 2] {
        let builtin = self.builtin.iter().map(|name| format!("kernel/{name}.ko\n")).collect();
        let files = self.files.values().map(|file| file.strip_prefix(&self.directory).unwrap_or(file));
        [("modules.builtin", builtin), ("modules.dep", files.map(|file| format!("{}:\n", file.display())).collect())]
    }

    fn is_builtin(&self, name: &str) -> bool {
        self.builtin.iter().any(|built| built == name)
    }

    /// These modules with all that they need, each after what it needs. What the kernel itself has is left out.
    pub(super) fn with_needs(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut sorted = Vec::new();
        for name in names {
            self.add(name, &mut sorted, &mut Vec::new())?;
        }
        Ok(sorted)
    }

    fn add(&self, name: &str, sorted: &mut Vec<Module>, above: &mut Vec<String>) -> Result<()> {
        let name = name.replace('-', "_");
        if self.is_builtin(&name) || sorted.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let Some(file) = self.files.get(&name) else {
            bail!("there is no {name}: it is neither in the kernel nor a module below {}", self.directory.display());
        };
        ensure!(!above.contains(&name), "module {name} needs itself: {}", above.join(" needs "));
        let content = unpacked(file)?;
        above.push(name.clone());
        for need in needs(&content) {
            self.add(&need, sorted, above).with_context(|| format!("looking up what {name} needs"))?;
        }
        above.pop();
        sorted.push(Module { name, content });
        Ok(())
    }
}

/// `virtio-rng.ko.xz` is the module `virtio_rng`.
fn name_of(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let (name, packing) = name.split_once(".ko")?;
    matches!(packing, "" | ".xz" | ".zst" | ".gz").then(|| name.replace('-', "_"))
}

fn walk(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let reading = || format!("reading the directory {}", directory.display());
    for entry in fs::read_dir(directory).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let kind = entry.file_type().with_context(reading)?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if let Some(name) = name_of(&entry.path()) {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// What the module lists as `depends=` in its strings, which end with NUL.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let list = module.get(at + KEY.len()..).unwrap_or_default();
    let list = list.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(list).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn unpacked(file: &Path) -> Result<Vec<u8>> {
    let tool = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(file).with_context(|| format!("reading {}", file.display())),
    };
    let output = Command::new(tool)
        .args(["-d", "-c"])
        .arg(file)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("unpacking {} with {tool}", file.display()))?;
    ensure!(output.status.success(), "unpacking {} with {tool}: {}", file.display(), output.status);
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(depends: &str) -> Vec<u8> {
        format!("ELF\0license=GPL\0depends={depends}\0retpoline=Y\0").into_bytes()
    }

    fn modules(files: &[(&str, &str)]) -> (tempfile::TempDir, Modules) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
        for (name, depends) in files {
            let file = directory.path().join("kernel").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, module(depends)).unwrap();
        }
        let found = Modules::find(directory.path()).unwrap();
        (directory, found)
    }

    fn names(modules: &[Module]) -> Vec<&str> {
        modules.iter().map(|module| module.name.as_str()).collect()
    }

    #[test]
    fn each_module_comes_after_what_it_needs_and_once() {
        let (_directory, modules) = modules(&[
            ("virtio/virtio_pci.ko", "virtio,virtio-ring"),
            ("virtio/virtio.ko", ""),
            ("virtio/virtio-ring.ko", "virtio,ext4"),
            ("fs/fuse.ko", ""),
        ]);
        let found = modules.with_needs(&["virtio_pci", "fuse", "ext4", "virtio"]).unwrap();
        assert_eq!(names(&found), ["virtio", "virtio_ring", "virtio_pci", "fuse"]);
        assert!(modules.has("ext4") && modules.has("fuse") && !modules.has("xfs"));
        let [(_, builtin), (_, files)] = modules.lists();
        assert_eq!(builtin, "kernel/ext4.ko\n");
        assert!(files.contains("kernel/fs/fuse.ko:\n"), "{files}");
    }

    #[test]
    fn missing_module_is_one_line_that_names_it() {
        let (_directory, modules) = modules(&[("a.ko", "b")]);
        let error = format!("{:#}", modules.with_needs(&["a"]).unwrap_err());
        assert!(error.starts_with("looking up what a needs: there is no b: "), "{error}");
        assert!(modules.with_needs(&["fuse"]).is_err());
    }

    #[test]
    fn modules_that_need_each_other_are_an_error() {
        let (_directory, modules) = modules(&[("a.ko", "b"), ("b.ko", "a")]);
        assert!(format!("{:#}", modules.with_needs(&["a"]).unwrap_err()).contains("needs itself"));
    }

    #[test]
    fn packed_modules_are_found_and_unpacked() {
        let (directory, _) = modules(&[("a.ko", "")]);
        let file = directory.path().join("kernel/a.ko");
        assert!(Command::new("gzip").arg(&file).status().unwrap().success());
        let found = Modules::find(directory.path()).unwrap().with_needs(&["a"]).unwrap();
        assert_eq!(found, [Module { name: "a".into(), content: module("") }]);
    }
}
