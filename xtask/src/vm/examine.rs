//! What a guest's kernel allows: boots one and runs this program's own doctor in it, so that both are asked the same.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use super::build::{self, Tests};
use super::cpio::Archive;
use super::event::Event;
use super::initramfs::{self, Initramfs};
use super::kernel::Kernel;
use super::module::Modules;
use super::plan::{GuestCase, Plan, What};
use super::qemu;
use super::session::Voice;
use super::watch::Heard;
use super::{Bench, Boot, need_qemu, store, work};
use crate::signals::Signals;
use crate::workspace;

/// Where the guest has this program.
const PROGRAM: &str = "/usr/bin/xtask";
/// How long the doctor may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs the doctor with these arguments in a guest, and gives what it said.
pub(crate) fn examine(kernel: Option<&str>, arguments: &[&str]) -> Result<String> {
    need_qemu()?;
    let shell = workspace::shell()?;
    let store = store(&shell)?;
    let kernel = match kernel {
        Some(name) => Kernel::named(&store, name)?,
        None => Kernel::find(&store)?,
    };
    let modules = initramfs::modules(&kernel)?;
    let built = build::build(&shell, &store, Tests::None)?;
    let initramfs = Initramfs::gather(&store, &modules, &built)?;
    let accelerator = qemu::accelerator(&store, &kernel);
    let signals = Signals::hold()?;
    let work = work::directory(&store)?;
    let console = work.path().join("console");
    let bench = Bench {
        kernel: &kernel,
        initramfs: &initramfs,
        accelerator,
        signals: &signals,
        store: &store,
        work: work.path(),
        console: &console,
    };
    let words = [PROGRAM, "doctor"].into_iter().chain(arguments.iter().copied()).map(str::to_owned).collect();
    let case = GuestCase { name: "doctor".to_owned(), what: What::Program(words) };
    let plan = Plan { limit: LIMIT, cases: vec![case], ..Plan::default() };
    let boot = Boot { files: files(&kernel)?, ..Boot::default() };
    let mut guest = bench.boot_with(Voice::Loud, &plan, boot)?;
    let mut said = String::new();
    loop {
        match guest.next(LIMIT * 2)? {
            Heard::Event(Event::Said(line)) => {
                said += &line;
                said.push('\n');
            }
            Heard::Event(Event::Ended) => return Ok(said),
            Heard::Event(Event::Broken(reason) | Event::Failed { reason, .. }) => {
                bail!("running the doctor in a guest: {reason}: {}", said.trim_end().replace('\n', "; "))
            }
            Heard::Event(_) => {}
            heard => bail!("running the doctor in a guest: {}", guest.trouble(&heard)?.0),
        }
    }
}

/// This program, and the lists of the kernel's modules.
fn files(kernel: &Kernel) -> Result<Archive> {
    let mut files = Archive::default();
    // By way of this process, since a build may have replaced the file.
    let this = format!("/proc/{}/exe", std::process::id());
    initramfs::add_program(&mut files, Path::new(&this), PROGRAM, 0o755)?;
    let directory = Path::new("/lib/modules").join(&kernel.release);
    for (name, text) in Modules::find(&kernel.modules)?.lists() {
        files.file(&directory.join(name).display().to_string(), 0o644, text.as_bytes());
    }
    Ok(files)
}
