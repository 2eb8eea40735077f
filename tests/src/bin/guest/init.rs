//! Process 1 of the guest: mounts what a system has, loads modules, runs the plan, reports, switches off.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};
use fusewire::op;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

use crate::cases::BROKEN;
use crate::plan::{self, Plan, Step};
use crate::probe;
use crate::process::{self, End, Ended};
use crate::report::Report;
use crate::{leftovers, modules, power};

/// What is mounted before anything else: source, place, type, options, mode of the directory.
const MOUNTS: &[(&str, &str, &str, u32)] = &[
    ("proc", "/proc", "", 0o555),
    ("sysfs", "/sys", "", 0o555),
    ("devtmpfs", "/dev", "mode=0755", 0o755),
    ("devpts", "/dev/pts", "mode=0620,ptmxmode=0666", 0o755),
    ("tmpfs", "/dev/shm", "mode=1777", 0o1777),
    ("tmpfs", "/tmp", "mode=1777", 0o1777),
    ("tmpfs", "/run", "mode=0755", 0o755),
];

const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/self/mounts", "/etc/mtab"),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"),
    ("HOME", "/root"),
    ("TMPDIR", "/tmp"),
    ("RUST_BACKTRACE", "1"),
    ("FUSEWIRE_BIN_DIR", "/usr/bin"),
    ("FUSEWIRE_TEST_USER", "fusewire-test"),
];

pub(crate) const DEVICE: &str = "/dev/fuse";
const CONTROL: &str = "/sys/fs/fuse/connections";
const URING: &str = "/sys/module/fuse/parameters/enable_uring";
/// How many lines of a failed case's words, and of the kernel's, go to the host.
const LINES: usize = 60;

/// Runs everything and switches the guest off. Comes back only if that fails.
pub(crate) fn run() -> ExitCode {
    if std::process::id() != 1 || !Path::new(plan::FILE).exists() {
        eprintln!("error: this is process 1 of a test guest and nothing else; cargo xtask vm boots it");
        return ExitCode::FAILURE;
    }
    if let Err(error) = set_up_and_run() {
        // The console is what is left when the port cannot be used.
        println!("guest: {error:#}");
        if let Ok(mut report) = Report::open() {
            report.send("error", &[&format!("{error:#}")]);
            report.send("end", &[]);
            report.drain();
        }
    }
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    println!("guest: switching off: {error}");
    ExitCode::FAILURE
}

fn set_up_and_run() -> Result<()> {
    for (kind, place, options, mode) in MOUNTS {
        fs::create_dir_all(place).with_context(|| format!("creating {place}"))?;
        fs::set_permissions(place, fs::Permissions::from_mode(*mode)).or_else(|error| {
            // A read-only kernel filesystem has modes of its own.
            if Path::new(place).exists() { Ok(()) } else { Err(error) }
        })?;
        let nothing = MsFlags::empty();
        mount(Some(*kind), *place, Some(*kind), nothing, Some(*options))
            .with_context(|| format!("mounting {kind} on {place}"))?;
    }
    for (target, link) in LINKS {
        // devtmpfs of some kernels has them already.
        if !Path::new(link).exists() {
            symlink(target, link).with_context(|| format!("linking {link}"))?;
        }
    }
    let plan = Plan::read()?;
    for module in &plan.modules {
        modules::load(Path::new(module))?;
    }
    prepare_fuse()?;
    if plan.scratch {
        mount_scratch()?;
    }
    for (path, target) in &plan.links {
        let above = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(above).with_context(|| format!("creating {}", above.display()))?;
        symlink(target, path).with_context(|| format!("linking {}", path.display()))?;
    }

    if plan.shell {
        return shell();
    }
    let mut report = Report::open()?;
    let offer = probe::ask().context("asking the kernel what it offers")?;
    let (release, uptime) = (first_word("/proc/sys/kernel/osrelease"), first_word("/proc/uptime"));
    report.send("ready", &[&release, &uptime, &offer.minor, &offer.flags.bits()]);
    report.drain();
    misbehave(plan.broken.as_deref())?;
    run_steps(&plan, offer, &mut report);
    report.send("end", &[]);
    report.drain();
    Ok(())
}

/// What udev and systemd would do: everybody may open the device, and connections can be listed and aborted. And what they
/// would not: requests may come over io_uring, where the kernel knows that.
pub(crate) fn prepare_fuse() -> Result<()> {
    if Path::new(DEVICE).exists() {
        let everybody = fs::Permissions::from_mode(0o666);
        fs::set_permissions(DEVICE, everybody).with_context(|| format!("making {DEVICE} mode 0666"))?;
    }
    if Path::new(URING).exists() {
        fs::write(URING, "Y").with_context(|| format!("writing {URING}"))?;
    }
    if Path::new(CONTROL).is_dir() {
        mount(Some("fusectl"), CONTROL, Some("fusectl"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting fusectl on {CONTROL}"))?;
    }
    Ok(())
}

/// Cases make their files on a disk, as they do on a machine of one's own: a filesystem in memory knows less.
fn mount_scratch() -> Result<()> {
    let (disk, place) = (power::DISK, "/tmp");
    mount(Some(disk), place, Some("ext4"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mounting {disk} on {place}"))?;
    let everybody = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(place, everybody).with_context(|| format!("opening {place} to everybody"))
}

fn first_word(file: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The ways to go wrong that only process 1 can show.
fn misbehave(how: Option<&str>) -> Result<()> {
    match how {
        Some("panic") => fs::write("/proc/sysrq-trigger", "c").context("asking the kernel to panic"),
        Some("freeze") => loop {
            println!("guest: standing still");
            std::thread::park();
        },
        _ => Ok(()),
    }
}

fn run_steps(plan: &Plan, offer: op::Init, report: &mut Report) {
    let mut lacking = None;
    for step in &plan.steps {
        match step {
            Step::Minor(minor) if offer.minor < *minor => lacking = Some(format!("it needs protocol 7.{minor}")),
            Step::Flag(bit) if offer.flags.bits() >> bit & 1 == 0 => {
                lacking = Some(format!("it needs INIT flag {bit}"));
            }
            Step::Minor(_) | Step::Flag(_) => {}
            Step::Libtest { name, .. } | Step::Own { name } | Step::Program { name, .. } if lacking.is_some() => {
                report.send("skipped", &[name, &lacking.take().unwrap_or_default()]);
            }
            Step::Libtest { name, program, test } => {
                let mut command = Command::new(program);
                command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
                run_case(plan, report, name, &mut command);
            }
            Step::Own { name } => {
                let mut command = Command::new("/proc/self/exe");
                command.args(["case", name]);
                run_case(plan, report, name, &mut command);
            }
            Step::Program { name, words } => tell(plan, report, name, words),
            Step::Synced { round, files } => power::check(*round, *files, report),
            Step::Power { mount, round, fsync_ignored } => {
                if let Err(error) = power::write_until_the_end(mount, *round, *fsync_ignored, report) {
                    report.send("error", &[&format!("{error:#}")]);
                }
            }
        }
    }
}

fn run_case(plan: &Plan, report: &mut Report, name: &str, command: &mut Command) {
    report.send("start", &[&name]);
    command.env_clear().envs(ENVIRONMENT.iter().copied()).current_dir("/");
    if let Some(what) = &plan.broken {
        command.env(BROKEN, what);
    }
    let start = Instant::now();
    let ended = process::run(command, plan.limit);
    let left = leftovers::clear();
    let millis = |ended: &Ended| ended.time.as_millis();
    match ended {
        Err(error) => {
            report.send("failed", &[&name, &start.elapsed().as_millis(), &format!("{error:#}")]);
        }
        Ok(ended) => match failure(&ended, plan) {
            None if left.is_empty() => report.send("ok", &[&name, &millis(&ended)]),
            None => report.send("failed", &[&name, &millis(&ended), &format!("it left behind: {}", left.join(", "))]),
            Some(Failure::Skipped) => {
                let reason = ended.output.lines().last().unwrap_or_default();
                report.send("skipped", &[&name, &reason]);
            }
            Some(Failure::Failed(why)) => {
                report.say(&tail(&ended.output));
                if matches!(ended.end, End::TimedOut) {
                    report.say(&kernel_log());
                }
                report.send("failed", &[&name, &millis(&ended), &why]);
            }
        },
    }
}

/// Runs a program and sends all that it says.
fn tell(plan: &Plan, report: &mut Report, name: &str, words: &[String]) {
    let mut command = Command::new(words.first().map_or("", String::as_str));
    command.args(words.iter().skip(1)).env_clear().envs(ENVIRONMENT.iter().copied()).current_dir("/");
    match process::run(&mut command, plan.limit) {
        Ok(ended) => {
            report.say(&ended.output);
            match failure(&ended, plan) {
                None => report.send("ok", &[&name, &ended.time.as_millis()]),
                Some(Failure::Skipped) => report.send("skipped", &[&name, &"it cannot run here"]),
                Some(Failure::Failed(why)) => report.send("failed", &[&name, &ended.time.as_millis(), &why]),
            }
        }
        Err(error) => report.send("failed", &[&name, &0, &format!("{error:#}")]),
    }
}

enum Failure {
    Skipped,
    Failed(String),
}

fn failure(ended: &Ended, plan: &Plan) -> Option<Failure> {
    match ended.end {
        End::Exited(0) => None,
        End::Exited(code) if code == i32::from(process::SKIPPED) => Some(Failure::Skipped),
        End::Exited(code) => Some(Failure::Failed(format!("exit status {code}"))),
        End::Killed(signal) => Some(Failure::Failed(format!("killed by {signal}"))),
        End::TimedOut => Some(Failure::Failed(format!("no end within {} s", plan.limit.as_secs()))),
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len().saturating_sub(LINES);
    lines.get(last..).unwrap_or_default().join("\n")
}

fn kernel_log() -> String {
    match Command::new("/bin/dmesg").output() {
        Ok(output) => format!("dmesg:\n{}", tail(&String::from_utf8_lossy(&output.stdout))),
        Err(error) => format!("dmesg: {error}"),
    }
}

/// A shell on the console; the guest ends with it.
fn shell() -> Result<()> {
    println!("\nThe guest's programs are in /usr/bin and /tests. Leave with exit, or Ctrl-A X.");
    let mut command = Command::new("/bin/setsid");
    command.args(["-c", "/bin/sh", "-l"]).env_clear().envs(ENVIRONMENT.iter().copied()).env("TERM", "vt100");
    command.current_dir("/root").status().context("starting a shell")?;
    Ok(())
}
