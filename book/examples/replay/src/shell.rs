//! A shell in an empty home directory, which remembers where it stands. What is typed comes from elsewhere.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// How long a command may take. The longest is the first `cargo build`.
const PATIENCE: Duration = Duration::from_secs(900);
/// What the home directory is called in what is printed.
const HOME: &str = "/home/you";
/// Ends what a command prints; the exit status follows.
const END: &str = "=====the command has ended:";

/// What a reader has installed of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// Its commands are on the `PATH`.
    Workspace,
    /// Nothing.
    Nothing,
}

/// What is downloaded is what the workspace builds with, so a new package begins with its versions. Others that happen to be there may
/// lack what they need.
const CARGO: &str = r#"cargo() {
    if [ "$1" != new ] && [ -f Cargo.toml ] && [ ! -e Cargo.lock ]; then cp ~/fusewire/Cargo.lock .; fi
    command cargo "$@"
}"#;

/// A shell. Dropped, it takes along what is still mounted below its home directory.
#[derive(Debug)]
pub struct Shell {
    home: TempDir,
    child: Child,
    stdin: ChildStdin,
    printed: Receiver<String>,
}

impl Shell {
    /// Starts it. The workspace is at `~/fusewire`, and cargo uses what is downloaded.
    ///
    /// # Errors
    /// The home directory or the process cannot be made.
    pub fn start(installed: Installed) -> Result<Self> {
        let home = tempfile::tempdir().context("making a home directory")?;
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize()?;
        std::os::unix::fs::symlink(&workspace, home.path().join("fusewire")).context("linking the workspace")?;

        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc"]).current_dir(home.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.envs([
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            ("CARGO_NET_OFFLINE", "true"),
            ("CARGO_TERM_COLOR", "never"),
        ]);
        for (variable, directory) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let set = std::env::var_os(variable).map(PathBuf::from);
            let old_home = std::env::var_os("HOME").map(PathBuf::from);
            if let Some(path) = set.or_else(|| old_home.map(|home| home.join(directory))) {
                command.env(variable, path);
            }
        }
        let binaries = binaries()?;
        if installed == Installed::Workspace {
            // A chapter that starts one in the background would wait for it for ever.
            for program in PROGRAMS {
                let file = binaries.join(program);
                ensure!(file.is_file(), "{} is not built; run cargo build --workspace --bins first", file.display());
            }
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        // cargo puts directories of its own in front for tests.
        let target = binaries.parent().unwrap_or(&binaries);
        let of_system = std::env::split_paths(&path).filter(|directory| !directory.starts_with(target));
        let of_workspace = (installed == Installed::Workspace).then(|| binaries.clone());
        let path = std::env::join_paths(of_workspace.into_iter().chain(of_system))?;
        command.env("PATH", path).env("HOME", home.path());
        // What a reader builds again each time is kept here; the programs still come to lie where the guide says.
        command.env("CARGO_BUILD_BUILD_DIR", binaries.with_file_name("guide"));
        // A reader has none of what cargo sets for tests.
        let inherited = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let of_cargo = |name: &String| {
            let kept = ["CARGO_HOME", "CARGO_BUILD_BUILD_DIR", "CARGO_NET_OFFLINE", "CARGO_TERM_COLOR"];
            name == "RUSTFLAGS" || name == "RUST_LOG" || name.starts_with("CARGO_") && !kept.contains(&name.as_str())
        };
        for name in inherited.filter(of_cargo) {
            command.env_remove(name);
        }
        let mut child = command.spawn().context("starting bash")?;
        let mut stdin = child.stdin.take().context("taking the shell's input")?;
        let stdout = child.stdout.take().context("taking the shell's output")?;
        writeln!(stdin, "exec 2>&1; umask 022; {CARGO}").context("starting bash")?;
        let (sender, printed) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { home, child, stdin, printed })
    }

    /// Runs a command. Returns what it printed, on both streams, and its exit status.
    ///
    /// # Errors
    /// It does not end in time, or the shell has gone.
    pub fn run(&mut self, command: &str) -> Result<(String, i32)> {
        writeln!(self.stdin, "{{ {command}\n}} </dev/null\nprintf '\\n%s%d\\n' '{END}' $?")
            .context("typing the command")?;
        let mut text = String::new();
        loop {
            let line = self.printed.recv_timeout(PATIENCE).context("waiting for the command to end")?;
            if let Some(status) = line.strip_prefix(END) {
                let status = status.parse().context("reading the exit status")?;
                // The newline that was put before the mark, unless the last line had none of its own.
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let ended = text.is_empty() || text.ends_with('\n');
                let text = if ended { text.to_owned() } else { format!("{text}\n") };
                return Ok((text.replace(&*self.home.path().to_string_lossy(), HOME), status));
            }
            text.push_str(&line);
            text.push('\n');
        }
    }

    /// Writes a file below the directory that the shell stands in.
    ///
    /// # Errors
    /// The directory is not known, or the file cannot be written.
    pub fn write(&mut self, path: &Path, text: &str) -> Result<()> {
        let (directory, _) = self.run("pwd")?;
        let directory = directory.trim_end().replace(HOME, &self.home.path().to_string_lossy());
        let path = Path::new(&directory).join(path);
        if let Some(above) = path.parent() {
            fs::create_dir_all(above).with_context(|| format!("making {}", above.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Ends the shell.
    ///
    /// # Errors
    /// Something was left mounted: the guide does not clean up.
    pub fn finish(self) -> Result<()> {
        let left = self.mounts()?;
        ensure!(left.is_empty(), "left mounted: {left:?}");
        Ok(())
    }

    fn mounts(&self) -> Result<Vec<String>> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
        let home = self.home.path().to_string_lossy();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|point| point.starts_with(&*home));
        Ok(points.map(str::to_owned).collect())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for mountpoint in self.mounts().unwrap_or_default().iter().rev() {
            // The best that can be done: what is wrong was reported already.
            let _ = Command::new("fusermount3").args(["-u", "-z", mountpoint]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The workspace's programs that chapters run.
const PROGRAMS: &[&str] = &["firstfs", "hellofs", "memfs", "mirrorfs"];

/// The directory of the workspace's binaries.
fn binaries() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("FUSEWIRE_BIN_DIR") {
        return Ok(directory.into());
    }
    // This is target/PROFILE/deps/NAME.
    let this = std::env::current_exe().context("finding this program")?;
    let directory = this.ancestors().nth(2);
    Ok(directory.with_context(|| format!("finding the binaries: {} has no place", this.display()))?.to_path_buf())
}
