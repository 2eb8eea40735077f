//! Which kernel a guest boots: the one that was asked for, the newest that is installed, or the distribution's, unpacked
//! from its package. It boots nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::package::{self, Apt, KERNEL};

/// Packages that depend on the distribution's current kernel. The cloud flavour has what a guest needs and little else.
const META_PACKAGES: &[&str] = &["linux-image-cloud-amd64", "linux-image-amd64"];
/// Kernel packages of which a matrix takes the newest of each series; a package with two numbers only points to another.
const MATRIX: &str = r"^linux-image-[0-9]+\.[0-9]+\.[0-9].*-cloud-amd64$";

/// A kernel that can be booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// The compressed image, a file.
    pub(super) image: PathBuf,
    /// What `uname -r` says on it.
    pub(super) release: String,
    /// `/lib/modules/RELEASE`, or the like in an unpacked package.
    pub(super) modules: PathBuf,
}

impl Kernel {
    /// The kernel that was asked for: an image, or the name of a package.
    pub(super) fn named(store: &Path, name: &str) -> Result<Self> {
        if Path::new(name).is_file() {
            return Self::of_image(Path::new(name));
        }
        ensure!(name.starts_with(KERNEL), "finding the kernel {name}: no such file, and no package named {KERNEL}*");
        Self::of_package(store, name)
    }

    /// The newest installed kernel, else the distribution's from its package, else any that was unpacked before.
    pub(super) fn find(store: &Path) -> Result<Self> {
        let package = || META_PACKAGES.iter().find_map(|meta| real_package(meta));
        Self::find_among(store, Path::new("/"), package)
    }

    fn find_among(store: &Path, root: &Path, package: impl FnOnce() -> Option<String>) -> Result<Self> {
        if let Some(kernel) = newest_below(root) {
            return Ok(kernel);
        }
        match package().or_else(|| newest_unpacked(store)) {
            Some(package) => Self::of_package(store, &package),
            None => bail!(
                "finding a kernel: none in {} that can be read, and no package {} to unpack; give one with --kernel IMAGE",
                root.join("boot").display(),
                META_PACKAGES.join(" or ")
            ),
        }
    }

    /// The newest package of each series that Debian's archive has, oldest first, with its kernel if it can be fetched.
    pub(super) fn of_every_series(store: &Path) -> Result<Vec<(String, Result<Self>)>> {
        let apt = Apt::of_debian(store)?;
        let packages = newest_of_each_series(apt.search(MATRIX));
        ensure!(!packages.is_empty(), "finding kernels: apt-cache knows no package {MATRIX}");
        let fetched = |package: String| {
            let kernel = Self::from(&apt, store, &package);
            (package, kernel)
        };
        Ok(packages.into_iter().map(fetched).collect())
    }

    fn of_package(store: &Path, package: &str) -> Result<Self> {
        Self::from(&Apt::of_machine(), store, package)
    }

    fn from(apt: &Apt, store: &Path, package: &str) -> Result<Self> {
        let directory = apt.unpacked(store, package)?;
        newest_below(&directory).with_context(|| format!("finding a kernel: the package {package} brings none"))
    }

    fn of_image(image: &Path) -> Result<Self> {
        let image = image.canonicalize().with_context(|| format!("opening the kernel {}", image.display()))?;
        let bytes = fs::read(&image).with_context(|| format!("reading the kernel {}", image.display()))?;
        let release = release_of(&bytes).with_context(|| format!("{} is no bootable x86 kernel", image.display()))?;
        let beside = image.parent().unwrap_or(Path::new("/"));
        // Next to /boot in the same tree, as packages have it, else this machine's; or the image lies among them.
        let tree = beside.parent().unwrap_or(Path::new("/"));
        let places = [tree, &tree.join("usr"), Path::new("/")].map(|top| top.join("lib/modules").join(&release));
        let modules = [beside.to_path_buf()]
            .into_iter()
            .chain(places)
            .find(|place| place.join("modules.builtin").is_file())
            .with_context(|| format!("kernel {release}: its modules are not in /lib/modules/{release}"))?;
        Ok(Self { image, release, modules })
    }
}

/// The release in an image's header: a bzImage has its place at 0x20e (`Documentation/arch/x86/boot.rst`).
fn release_of(image: &[u8]) -> Result<String> {
    ensure!(image.get(0x202..0x206) == Some(b"HdrS"), "it has no boot header");
    let place = image.get(0x20e..0x210).and_then(|bytes| bytes.first_chunk::<2>()).context("it is cut short")?;
    let start = usize::from(u16::from_le_bytes(*place)) + 0x200;
    let text = image.get(start..).unwrap_or_default();
    let text = text.split(|byte| *byte == 0 || *byte == b' ').next().unwrap_or_default();
    ensure!(!text.is_empty(), "its header tells no release");
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// The newest kernel of a tree that can be read and has its modules: in `/boot`, or among its modules.
fn newest_below(root: &Path) -> Option<Kernel> {
    let entries = |directory: &str| fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
    let in_boot = entries("boot").filter(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"));
    let among_modules = entries("lib/modules").chain(entries("usr/lib/modules"));
    let images = in_boot.map(|entry| entry.path()).chain(among_modules.map(|entry| entry.path().join("vmlinuz")));
    let kernels = images.filter_map(|image| Kernel::of_image(&image).ok());
    kernels.max_by(|left, right| package::by_version(&left.release, &right.release))
}

/// The kernel package that a meta package depends on.
fn real_package(meta: &str) -> Option<String> {
    Apt::of_machine().depends(meta).into_iter().find(|package| package.starts_with(KERNEL))
}

fn newest_unpacked(store: &Path) -> Option<String> {
    let entries = fs::read_dir(store.join("packages")).ok()?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(KERNEL)).max_by(|left, right| package::by_version(left, right))
}

/// Of each `6.1`, `6.12`, ... the newest, in order.
fn newest_of_each_series(mut packages: Vec<String>) -> Vec<String> {
    packages.sort_by(|left, right| package::by_version(left, right));
    let mut newest: Vec<String> = Vec::new();
    for package in packages {
        if let Some(last) = newest.last_mut().filter(|last| series(last) == series(&package)) {
            *last = package;
        } else {
            newest.push(package);
        }
    }
    newest
}

/// The first two numbers of a kernel package's version.
fn series(package: &str) -> Vec<&str> {
    package.trim_start_matches(KERNEL).split('.').take(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(release: &str) -> Vec<u8> {
        let mut bytes = vec![0; 0x600];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e..0x210].copy_from_slice(&0x300_u16.to_le_bytes());
        let text = format!("{release} (somebody@host) #1 SMP\0");
        bytes[0x500..0x500 + text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    /// A tree as a package has it.
    fn tree(releases: &[&str]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("boot")).unwrap();
        for release in releases {
            fs::write(tree.path().join("boot").join(format!("vmlinuz-{release}")), image(release)).unwrap();
            let modules = tree.path().join("lib/modules").join(release);
            fs::create_dir_all(&modules).unwrap();
            fs::write(modules.join("modules.builtin"), "").unwrap();
        }
        tree
    }

    #[test]
    fn release_is_read_from_the_image() {
        assert_eq!(release_of(&image("6.1.0-56-cloud-amd64")).unwrap(), "6.1.0-56-cloud-amd64");
        for bytes in [&b"MZ"[..], &[0; 0x600], &image("")[..0x20f]] {
            assert!(release_of(bytes).is_err());
        }
    }

    #[test]
    fn newest_kernel_with_modules_is_chosen() {
        let tree = tree(&["6.1.0-9-amd64", "6.1.0-56-amd64"]);
        let boot = tree.path().join("boot");
        fs::write(boot.join("vmlinuz-7.0"), image("7.0-without-modules")).unwrap();
        fs::write(boot.join("vmlinuz-8.0"), "not an image").unwrap();
        let found = newest_below(tree.path()).unwrap();
        assert_eq!(found.release, "6.1.0-56-amd64");
        assert!(found.modules.ends_with("lib/modules/6.1.0-56-amd64"));
        assert_eq!(newest_below(&tree.path().join("nowhere")), None);
    }

    #[test]
    fn kernel_among_its_modules_is_found() {
        let tree = tree(&["6.1.0-56-amd64"]);
        let modules = tree.path().join("usr/lib/modules/6.19.1");
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("vmlinuz"), image("6.19.1")).unwrap();
        assert_eq!(newest_below(tree.path()).unwrap().release, "6.1.0-56-amd64", "it has no modules");
        fs::write(modules.join("modules.builtin"), "").unwrap();
        let found = newest_below(tree.path()).unwrap();
        assert_eq!((found.release.as_str(), found.modules), ("6.19.1", modules.canonicalize().unwrap()));
    }

    #[test]
    fn no_kernel_at_all_is_one_line() {
        let tree = tree(&[]);
        let error = Kernel::find_among(tree.path(), tree.path(), || None).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with("finding a kernel: none in ") && error.contains("--kernel IMAGE"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }

    #[test]
    fn file_that_is_no_kernel_is_said() {
        let tree = tree(&[]);
        let file = tree.path().join("boot/vmlinuz");
        fs::write(&file, "text").unwrap();
        let error = format!("{:#}", Kernel::named(tree.path(), file.to_str().unwrap()).unwrap_err());
        assert!(error.contains("is no bootable x86 kernel"), "{error}");
        let error = format!("{:#}", Kernel::named(tree.path(), "/nowhere").unwrap_err());
        assert!(error.contains("no such file"), "{error}");
    }

    #[test]
    fn matrix_has_the_newest_of_each_series() {
        let names =
            ["linux-image-6.12.9-cloud-amd64", "linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64"];
        let newest = newest_of_each_series(names.map(str::to_owned).to_vec());
        assert_eq!(newest, ["linux-image-6.1.0-56-cloud-amd64", "linux-image-6.12.9-cloud-amd64"]);
    }
}
