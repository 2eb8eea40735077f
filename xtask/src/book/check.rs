//! Looks at the built book in a headless Chromium: on the width of a desktop and of a phone, in the light and the dark theme.
//! What must hold is in `probe.js`, which runs in each page of a copy; here, pages are found and faults reported.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{api, links};
use crate::workspace::find_program;

const PROBE: &str = include_str!("probe.js");
const HARNESS: &str = include_str!("harness.html");
/// The browser, by the names that distributions give it.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome"];
/// A page of each kind: text, a diagram, code, tables, generated.
const KINDS: &[&str] = &[
    "introduction",
    "what",
    "first",
    "mounting",
    "nodes",
    "caching",
    "permissions",
    "hangs",
    "filesystems/memfs",
    "filesystems/mirrorfs",
    "testing",
    "libfuse",
    "fuser",
    "bench",
    "protocol",
    "protocol/lookup",
    "architecture",
];
const THEMES: &[&str] = &["light", "navy"];
/// Width and height in pixels.
const SIZES: &[(&str, u32, u32)] = &[("desktop", 1280, 900), ("phone", 390, 844)];

/// What the harness finds.
#[derive(Deserialize)]
struct Report {
    total: usize,
    faults: Vec<String>,
    /// How many pages all searches found together.
    titles: usize,
}

/// Checks the book in `built`; keeps screenshots of a page of each kind if told where.
pub(super) fn run(built: &Path, screenshots: Option<&Path>) -> Result<()> {
    let Some(browser) = BROWSERS.iter().find_map(|name| find_program(name)) else {
        bail!("looking at the book: there is no Chromium; install it (Debian: apt-get install chromium)")
    };
    let stage = tempfile::tempdir().context("making a directory for the copy of the book")?;
    let mut pages = Vec::new();
    copy(built, &stage.path().join("book"), "", &mut pages)?;
    pages.retain(|page| !["print.html", "404.html", "toc.html"].contains(&page.as_str()));
    pages.sort();
    let mut faults = links::faults(built, &pages)?;
    let list = serde_json::to_string(&pages).context("writing the list of pages")?;
    let harness = stage.path().join("harness.html");
    fs::write(&harness, HARNESS.replace("/*PAGES*/[]", &list)).context("writing the harness")?;

    let url = format!("file://{}", harness.display());
    let dom = chromium(&browser, stage.path(), &["--virtual-time-budget=600000", "--dump-dom", &url])?;
    let report =
        between(&dom, "<pre id=\"report\">", "</pre>").context("looking at the book: the browser did not finish")?;
    let report: Report = serde_json::from_str(&unescape(report)).context("reading the browser's report")?;
    println!("looked at {} pages, {} times; the searches found {} places", pages.len(), report.total, report.titles);
    if let Some(directory) = screenshots {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        shoot(&browser, stage.path(), &url, directory, &pages)?;
    }
    faults.extend(report.faults);
    for fault in &faults {
        eprintln!("{fault}");
    }
    ensure!(faults.is_empty(), "looking at the book: {} faults", faults.len());
    Ok(())
}

fn shoot(browser: &Path, stage: &Path, url: &str, directory: &Path, pages: &[String]) -> Result<()> {
    for page in KINDS.iter().map(|kind| format!("{kind}.html")).filter(|page| pages.contains(page)) {
        for (size, width, height) in SIZES {
            for theme in THEMES {
                let name = format!("{}-{size}-{theme}.png", page.trim_end_matches(".html").replace('/', "-"));
                let file = directory.join(name);
                let shown = format!("{url}?show={page}&theme={theme}&width={width}&height={height}");
                let window = format!("--window-size={},{height}", (*width).max(500));
                let target = format!("--screenshot={}", file.display());
                chromium(browser, stage, &["--virtual-time-budget=5000", &window, &target, &shown])?;
                println!("{}", file.display());
            }
        }
    }
    Ok(())
}

/// Runs the browser with a fresh profile and no network; returns what it prints.
fn chromium(browser: &Path, stage: &Path, args: &[&str]) -> Result<String> {
    let profile = stage.join("profile");
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-dev-shm-usage", "--hide-scrollbars"])
        .args(["--allow-file-access-from-files", "--host-resolver-rules=MAP * ~NOTFOUND"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(args)
        .output()
        .with_context(|| format!("starting {}", browser.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "running {}: {}: {}", browser.display(), output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Copies the book, with the probe in each page. Gathers the paths of the pages.
fn copy(from: &Path, to: &Path, prefix: &str, pages: &mut Vec<String>) -> Result<()> {
    let reading = || format!("reading {}", from.display());
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(reading)? {
        let path: PathBuf = entry.with_context(reading)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = to.join(&name);
        if prefix.is_empty() && name == api::DIRECTORY {
            // rustdoc's pages are not ours to look at.
            continue;
        }
        if path.is_dir() {
            copy(&path, &target, &format!("{prefix}{name}/"), pages)?;
        } else if name.ends_with(".html") {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let text = text.replacen("</body>", &format!("<script>\n{PROBE}</script></body>"), 1);
            fs::write(&target, text).with_context(|| format!("writing {}", target.display()))?;
            pages.push(format!("{prefix}{name}"));
        } else {
            fs::copy(&path, &target).with_context(|| format!("copying {}", path.display()))?;
        }
    }
    Ok(())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(inside, _)| inside)
}

fn unescape(html: &str) -> String {
    html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_found_in_what_the_browser_prints() {
        let dom = "<html><body><pre id=\"report\">{\"total\":1,\"faults\":[\"a &lt;b&gt; &amp;amp;\"],\"titles\":0}</pre></body>";
        let inside = unescape(between(dom, "<pre id=\"report\">", "</pre>").unwrap());
        let report: Report = serde_json::from_str(&inside).unwrap();
        assert_eq!(report.faults, ["a <b> &amp;"]);
    }

    #[test]
    fn probe_is_put_into_each_page() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("a"), directory.path().join("b"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/x.html"), "<body></body>").unwrap();
        fs::write(from.join("y.css"), "").unwrap();
        let mut pages = Vec::new();
        copy(&from, &to, "", &mut pages).unwrap();
        assert_eq!(pages, ["sub/x.html"]);
        assert!(fs::read_to_string(to.join("sub/x.html")).unwrap().contains("postMessage"));
    }
}
