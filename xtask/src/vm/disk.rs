//! Disks of a guest: sparse files with an ext4.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

/// Makes a sparse file of `size` bytes with an empty ext4.
pub(super) fn make(file: &Path, size: u64) -> Result<()> {
    let creating = || format!("creating {}", file.display());
    File::create(file).and_then(|disk| disk.set_len(size)).with_context(creating)?;
    let shell = Shell::new().context("starting a shell")?;
    let made = cmd!(shell, "mkfs.ext4 -q -F {file}").quiet().ignore_status().output().with_context(creating);
    let made = made.context("running mkfs.ext4; to mend: apt-get install e2fsprogs")?;
    if !made.status.success() {
        bail!("mkfs.ext4: {}: {}", made.status, String::from_utf8_lossy(&made.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disk_is_one_line_that_names_the_file() {
        let error = format!("{:#}", make(Path::new("/dev/full"), 1 << 20).unwrap_err());
        assert!(error.contains("/dev/full: "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
