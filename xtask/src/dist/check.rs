//! Unpacks the archive as a user would, and uses what is in it: the commands, a mount, the man pages, the completions.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use xshell::{Shell, cmd};

use super::{DOCUMENTATION, DOCUMENTS, FILESYSTEMS};
use crate::workspace::{self, find_program};

/// Loads the completions in `$1` for the command `$2`, asks for what `$3` may become, and prints it.
const COMPLETE: &str = r#"
source "$1"
complete -p "$2" >/dev/null || exit 1
COMP_WORDS=("$2" "${@:3}") COMP_CWORD=$(($# - 2)) COMPREPLY=()
"_$2" "$2" "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

/// Checks the archive.
pub(super) fn run(shell: &Shell, archive: &Path) -> Result<()> {
    let unpacked = tempfile::tempdir().context("making a directory to unpack in")?;
    let prefix = unpacked.path();
    cmd!(shell, "tar --extract --gzip --file={archive} --directory={prefix} --strip-components=1").quiet().run()?;
    for document in DOCUMENTS {
        let file = prefix.join(DOCUMENTATION).join(document);
        ensure!(file.is_file(), "checking {}: there is no {document}", archive.display());
    }
    for name in FILESYSTEMS {
        command(shell, prefix, name).with_context(|| format!("checking the command {name}"))?;
        man_page(shell, &prefix.join(format!("share/man/man1/{name}.1")), name)?;
        completions(shell, prefix, name).with_context(|| format!("checking the completions of {name}"))?;
    }
    mount(shell, prefix).context("mounting hellofs from the archive")?;
    println!("the archive was unpacked, and all in it works");
    Ok(())
}

fn command(shell: &Shell, prefix: &Path, name: &str) -> Result<()> {
    let binary = prefix.join("bin").join(name);
    let version = cmd!(shell, "{binary} --version").quiet().read()?;
    ensure!(version == format!("{name} {}", env!("CARGO_PKG_VERSION")), "its version is `{version}`");
    let libraries = cmd!(shell, "ldd {binary}").quiet().read()?;
    ensure!(!libraries.contains("fuse"), "it is linked with libfuse: {libraries}");
    Ok(())
}

/// `man` formats it without a warning, and so does mandoc, where it is.
fn man_page(shell: &Shell, page: &Path, name: &str) -> Result<()> {
    if !there_is("man", "man-db")? {
        return Ok(());
    }
    let _locale = shell.push_env("LC_ALL", "C.UTF-8");
    let output = cmd!(shell, "man --warnings --local-file {page}").quiet().output()?;
    let warnings = String::from_utf8_lossy(&output.stderr);
    ensure!(warnings.is_empty(), "formatting {}: {warnings}", page.display());
    let text = String::from_utf8_lossy(&output.stdout);
    for words in ["NAME", "SYNOPSIS", "MOUNT OPTIONS OF", "EXIT STATUS", "EXAMPLES", "allow_other", name] {
        ensure!(text.contains(words), "reading {}: it does not have `{words}`", page.display());
    }
    if find_program("mandoc").is_some() {
        // A date, which mandoc misses, would have to be that of a release.
        cmd!(shell, "mandoc -T lint -W error {page}").quiet().run()?;
    }
    Ok(())
}

fn completions(shell: &Shell, prefix: &Path, name: &str) -> Result<()> {
    let bash = prefix.join(format!("share/bash-completion/completions/{name}"));
    for (words, expected) in [(["--ge"].as_slice(), "--generate"), (&["-o", "allow"], "allow_other")] {
        let found = cmd!(shell, "bash --norc -c {COMPLETE} bash {bash} {name} {words...}").quiet().read()?;
        ensure!(found.lines().any(|word| word == expected), "bash completes {words:?} to {found:?}");
    }
    let zsh = prefix.join(format!("share/zsh/site-functions/_{name}"));
    if there_is("zsh", "zsh")? {
        let script = "autoload -U compinit && compinit -u -D && source $1 && [[ ${_comps[$2]} == _$2 ]]";
        cmd!(shell, "zsh -f -c {script} zsh {zsh} {name}").quiet().run()?;
    }
    let fish = prefix.join(format!("share/fish/vendor_completions.d/{name}.fish"));
    if there_is("fish", "fish")? {
        let line = format!("source {}; complete --do-complete '{name} --ge'", fish.display());
        let home = prefix.join("home");
        fs::create_dir_all(&home).context("making a home for fish")?;
        let found = cmd!(shell, "fish --no-config --command {line}").env("HOME", &home).quiet().read()?;
        ensure!(found.starts_with("--generate"), "fish completes --ge to {found:?}");
    }
    Ok(())
}

fn mount(shell: &Shell, prefix: &Path) -> Result<()> {
    let binary = prefix.join("bin/hellofs");
    let mountpoint = prefix.join("mnt");
    fs::create_dir(&mountpoint).context("making a mountpoint")?;
    cmd!(shell, "{binary} {mountpoint} -o greeting=packed").quiet().run()?;
    let said = fs::read_to_string(mountpoint.join("hello.txt"));
    cmd!(shell, "fusermount3 -u {mountpoint}").quiet().run()?;
    let said = said.context("reading the greeting")?;
    ensure!(said == "packed\n", "the greeting is {said:?}");
    Ok(())
}

/// Whether a checker is there; in CI it must be.
fn there_is(program: &str, package: &str) -> Result<bool> {
    if find_program(program).is_some() {
        return Ok(true);
    }
    if workspace::in_ci() {
        bail!("there is no {program} (Debian: apt-get install {package})");
    }
    println!("no {program} here: what is made for it is not checked");
    Ok(false)
}
