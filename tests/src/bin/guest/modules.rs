//! Loads and unloads modules of the kernel. The files are uncompressed; the host unpacked them and put them in order.

use std::ffi::CString;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};

/// Loads a module from its file. One that is there already is fine.
pub(crate) fn load(file: &Path) -> Result<()> {
    let opened = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    match finit_module(&opened, c"", ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("loading {}", file.display())),
    }
}

/// Unloads a module, if nobody uses it.
pub(crate) fn unload(name: &str) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    delete_module(&name, DeleteModuleFlags::O_NONBLOCK)
}
