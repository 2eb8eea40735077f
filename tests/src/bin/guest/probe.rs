//! Asks the guest's kernel what it offers: begins to mount a filesystem, and gives up when `INIT` has come.

use std::sync::mpsc;

use anyhow::{Context, Result, bail};
use fusewire::mount::MountOptions;
use fusewire::{Errno, Filesystem, SessionConfig, Wishes, op};

/// Tells what the kernel offers, and does not want to be mounted.
struct Curious(mpsc::Sender<op::Init>);

impl Filesystem for Curious {
    fn init(&self, offer: &op::Init, _: &mut Wishes) -> Result<(), Errno> {
        // Who asks waits for it.
        let _ = self.0.send(*offer);
        Err(Errno::ECANCELED)
    }
}

/// Asks. Nothing is left mounted.
pub(crate) fn ask() -> Result<op::Init> {
    let directory = tempfile::tempdir().context("making a mountpoint")?;
    let (tell, told) = mpsc::channel();
    let mounted = fusewire::mount(Curious(tell), directory.path(), &MountOptions::new(), SessionConfig::default());
    match (told.try_recv(), mounted) {
        (Ok(offer), Err(_)) => Ok(offer),
        (Err(_), Err(error)) => Err(error).context("mounting to ask the kernel"),
        (_, Ok(_)) => bail!("the kernel took a filesystem that had given up"),
    }
}
