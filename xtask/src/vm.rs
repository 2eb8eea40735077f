//! `cargo xtask vm`: runs the suite in a virtual machine with a kernel of its own, so that nobody needs root or another
//! machine. It installs nothing: a kernel that is not there is unpacked from its package below `target/vm`.

mod build;
mod cpio;
mod disk;
mod event;
mod examine;
mod initramfs;
mod kernel;
mod matrix;
mod module;
mod needs;
mod package;
mod plan;
mod power;
pub(crate) mod qemu;
mod runner;
mod session;
mod watch;
mod work;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use xshell::Shell;

use crate::signals::Signals;
use crate::test::{Case, Outcome, Totals};
use crate::workspace::{self, Metadata, find_program};
use build::{Built, Tests};
use cpio::Archive;
use initramfs::Initramfs;
use kernel::Kernel;
use needs::Need;
use plan::{GuestCase, Plan};
use power::PowerCase;
use qemu::{Accelerator, Machine};
use runner::RunnerCase;
pub(crate) use session::Interrupted;
use session::{GRACE, Ran, Session, Voice};

/// Flags of `cargo xtask vm`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel to boot: an image, or a package named linux-image-*; without it, the newest installed or the distribution's
    #[arg(long, value_name = "IMAGE|PACKAGE")]
    kernel: Option<String>,
    /// Run the suite on the newest kernel of each series in Debian's archive, and its mounting cases on this machine's
    #[arg(long, conflicts_with_all = ["kernel", "shell", "list"])]
    matrix: bool,
    /// Boot into a shell on this terminal instead of running anything
    #[arg(long)]
    shell: bool,
    /// Run only a few cases that show that the whole chain works
    #[arg(long)]
    smoke: bool,
    /// List the cases, and boot nothing
    #[arg(long)]
    list: bool,
    /// How long a case may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = CASE_LIMIT)]
    limit: u64,
    /// Make something go wrong, to see that the run tells so: daemon, hang, freeze or panic
    #[arg(long, value_name = "WHAT", hide = true)]
    r#break: Option<String>,
    /// Run only the cases whose name contains this
    filter: Option<String>,
}

/// Seconds for a case; the slowest takes about a quarter of it under emulation.
const CASE_LIMIT: u64 = 300;
/// In MiB.
const MEMORY: u32 = 512;
/// The size of the disk for the files of cases, in bytes; what is not written to takes no space.
const SCRATCH: u64 = 4 << 30;
/// The cases of a smoke run: mounts as root and as a user, and a session of the library's own tests.
const SMOKE: &[&str] = &["mount_as_root", "mount_as_user", "fusewire::mount_session reads_what_the_filesystem_says"];

/// What every boot of a run needs.
struct Bench<'a> {
    kernel: &'a Kernel,
    initramfs: &'a Initramfs,
    accelerator: Accelerator,
    signals: &'a Signals,
    store: &'a Path,
    /// Files of this run, below the store; gone afterwards.
    work: &'a Path,
    console: &'a Path,
}

/// What one boot has of its own.
#[derive(Default)]
struct Boot<'a> {
    disk: Option<&'a Path>,
    files: Archive,
}

impl<'a> Bench<'a> {
    fn boot(&self, plan: &Plan, boot: Boot<'_>) -> Result<Session<'a>> {
        let session = self.boot_with(Voice::Loud, plan, boot)?;
        println!("{}", session.greeting());
        Ok(session)
    }

    /// The same without a greeting.
    fn boot_with(&self, voice: Voice, plan: &Plan, boot: Boot<'_>) -> Result<Session<'a>> {
        let initramfs = self.work.join("initramfs");
        self.initramfs.write(&initramfs, plan, boot.files)?;
        Session::boot(&self.machine(&initramfs, boot.disk), self.console, self.signals, voice)
    }

    fn machine<'b>(&'b self, initramfs: &'b Path, disk: Option<&'b Path>) -> Machine<'b> {
        Machine { kernel: self.kernel, initramfs, accelerator: self.accelerator, memory: MEMORY, disk }
    }
}

/// Everything that can run, before the choice.
struct Cases {
    guest: Vec<GuestCase>,
    /// Names of cases that have no place in a guest, with the reason.
    elsewhere: Vec<(String, &'static str)>,
    power: Vec<&'static PowerCase>,
    runner: Vec<&'static RunnerCase>,
}

impl Cases {
    /// Of what was built; `whole` if that is everything.
    fn of(shell: &Shell, built: &Built, whole: bool) -> Result<Self> {
        let mut guest = build::list_own(shell, built)?;
        let mut elsewhere = built.elsewhere.clone();
        let tests = build::list_tests(shell, built)?;
        let unknown = needs::without_a_case(tests.iter().map(|case| case.name.as_str()));
        if let Some(part) = unknown.filter(|_| whole) {
            bail!("looking up what cases need: no case has `{part}` in its name, which xtask/src/vm/needs.rs lists");
        }
        for case in tests {
            match needs::of(&case.name) {
                Some(Need::Host(reason)) => elsewhere.push((case.name, reason)),
                _ => guest.push(case),
            }
        }
        Ok(Self { guest, elsewhere, power: power::ALL.iter().collect(), runner: runner::ALL.iter().collect() })
    }

    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.guest.retain(|case| keep(&case.name));
        self.elsewhere.retain(|(name, _)| keep(name));
        self.power.retain(|case| keep(case.name));
        self.runner.retain(|case| keep(case.name));
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.guest.iter().map(|case| case.name.clone()).collect();
        names.extend(self.elsewhere.iter().map(|(name, _)| name.clone()));
        names.extend(self.power.iter().map(|case| case.name.to_owned()));
        names.extend(self.runner.iter().map(|case| case.name.to_owned()));
        names
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let shell = workspace::shell()?;
    let store = store(&shell)?;
    if args.list {
        let mut out = std::io::stdout();
        for name in cases(&shell, &store, args)?.1.names() {
            writeln!(out, "{name}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    need_qemu()?;
    if args.matrix {
        return matrix::run(&shell, &store, args);
    }
    let kernel = match &args.kernel {
        Some(name) => Kernel::named(&store, name)?,
        None => Kernel::find(&store)?,
    };
    let Some(Ran { cases, .. }) = run_on(&shell, &store, &kernel, args)? else {
        ensure!(args.shell, "choosing cases: none has `{}` in its name", args.filter.as_deref().unwrap_or_default());
        return Ok(ExitCode::SUCCESS);
    };
    let totals = Totals::of_cases(&cases);
    println!("{totals}");
    Ok(if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The kernel that `cargo xtask test` uses.
pub(crate) struct Guest {
    store: PathBuf,
    kernel: Kernel,
}

impl Guest {
    /// Looks for an emulator and a kernel with the modules that are needed. An error says why there can be no guest here.
    pub(crate) fn find() -> Result<Self> {
        need_qemu()?;
        let store = store(&workspace::shell()?)?;
        let kernel = Kernel::find(&store)?;
        initramfs::modules(&kernel)?;
        Ok(Self { store, kernel })
    }

    /// The whole suite, or what of it has `filter` in its name.
    pub(crate) fn run_suite(&self, filter: Option<&str>) -> Result<Vec<Case>> {
        let shell = workspace::shell()?;
        let args = Args { filter: filter.map(str::to_owned), ..Args::default() };
        Ok(run_on(&shell, &self.store, &self.kernel, &args)?.map(|ran| ran.cases).unwrap_or_default())
    }
}

/// What the doctor says in a guest.
pub(crate) use examine::examine;

/// The names of the suite's cases.
pub(crate) fn list_suite(filter: Option<&str>) -> Result<Vec<String>> {
    let shell = workspace::shell()?;
    let store = store(&shell)?;
    let args = Args { filter: filter.map(str::to_owned), ..Args::default() };
    Ok(cases(&shell, &store, &args)?.1.names())
}

impl Default for Args {
    fn default() -> Self {
        Self {
            kernel: None,
            matrix: false,
            shell: false,
            smoke: false,
            list: false,
            limit: CASE_LIMIT,
            r#break: None,
            filter: None,
        }
    }
}

/// Runs what was chosen, if anything was; or the shell, which has no cases.
fn run_on(shell: &Shell, store: &Path, kernel: &Kernel, args: &Args) -> Result<Option<Ran>> {
    println!("kernel {} ({})", kernel.release, kernel.image.display());
    let modules = initramfs::modules(kernel)?;
    let (built, chosen) = cases(shell, store, args)?;
    if chosen.names().is_empty() {
        return Ok(None);
    }
    let initramfs = Initramfs::gather(store, &modules, &built)?;
    let accelerator = qemu::accelerator(store, kernel);
    println!(
        "{}",
        match accelerator {
            Accelerator::Kvm => "KVM works",
            Accelerator::Emulation => "KVM does not work here: the processor is emulated",
        }
    );
    let signals = Signals::hold()?;
    let work = work::directory(store)?;
    let console = work.path().join("console");
    let bench = Bench {
        kernel,
        initramfs: &initramfs,
        accelerator,
        signals: &signals,
        store,
        work: work.path(),
        console: &console,
    };
    if args.shell {
        let file = work.path().join("initramfs");
        initramfs.write(&file, &Plan { shell: true, ..Plan::default() }, Archive::default())?;
        println!("leave with exit, or with Ctrl-A X");
        let status = bench.machine(&file, None).boot_here()?;
        ensure!(status.success(), "{}: {status}", qemu::PROGRAM);
        return Ok(None);
    }
    run_chosen(&bench, &chosen, args).map(Some)
}

fn run_chosen(bench: &Bench<'_>, chosen: &Cases, args: &Args) -> Result<Ran> {
    let scratch = bench.work.join("scratch");
    let plan = Plan {
        limit: Duration::from_secs(args.limit),
        broken: args.r#break.clone(),
        scratch: true,
        cases: chosen.guest.clone(),
        ..Plan::default()
    };
    let mut ran = Ran::default();
    for (name, reason) in &chosen.elsewhere {
        let case = Case { name: name.clone(), outcome: Outcome::Skipped((*reason).to_owned()), time: None };
        session::show(&case, "");
        ran.cases.push(case);
    }
    if !plan.cases.is_empty() {
        disk::make(&scratch, SCRATCH)?;
        let boot = Boot { disk: Some(&scratch), ..Boot::default() };
        let Ran { cases, minor, .. } = bench.boot(&plan, boot)?.run(&plan, plan.limit + GRACE)?;
        ran.minor = minor;
        ran.cases.extend(cases);
    }
    for case in &chosen.runner {
        ran.cases.push(told(case.name, runner::run(bench, case))?);
    }
    for case in &chosen.power {
        ran.cases.push(told(case.name, power::run(bench, case))?);
    }
    Ok(ran)
}

/// A case that could not be run has failed, and the others have their turn; unless somebody wants all to end.
fn told(name: &str, result: Result<Case>) -> Result<Case> {
    let Err(error) = result else { return result };
    if error.is::<Interrupted>() {
        return Err(error);
    }
    let case = Case { name: name.to_owned(), outcome: Outcome::Failed(format!("{error:#}")), time: None };
    session::show(&case, "");
    Ok(case)
}

/// Builds, and chooses among what was built.
fn cases(shell: &Shell, store: &Path, args: &Args) -> Result<(Built, Cases)> {
    let filter = args.filter.as_deref();
    let tests = match filter.as_slice() {
        _ if args.shell => Tests::None,
        _ if args.smoke => Tests::With(SMOKE),
        [] => Tests::All,
        filters => Tests::With(filters),
    };
    eprintln!("building what runs in the guest");
    let built = build::build(shell, store, tests)?;
    let mut cases = Cases::of(shell, &built, matches!(tests, Tests::All))?;
    if args.smoke {
        cases.retain(|name| SMOKE.contains(&name));
    }
    if let Some(filter) = filter {
        cases.retain(|name| name.contains(filter));
    }
    Ok((built, cases))
}

fn need_qemu() -> Result<()> {
    ensure!(
        std::env::consts::ARCH == "x86_64",
        "starting a guest: only x86_64 is known here, and this machine is {}",
        std::env::consts::ARCH
    );
    ensure!(
        find_program(qemu::PROGRAM).is_some(),
        "starting a guest: {} is missing; to mend: apt-get install qemu-system-x86",
        qemu::PROGRAM
    );
    Ok(())
}

/// Where packages, builds and files of a run are kept.
fn store(shell: &Shell) -> Result<PathBuf> {
    let store = Metadata::read(shell)?.target().join("vm");
    fs::create_dir_all(&store).with_context(|| format!("creating {}", store.display()))?;
    Ok(store)
}
