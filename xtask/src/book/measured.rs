//! The page with the figures of the newest run of `cargo xtask bench` that is kept in the repository; none, no page. What
//! is measured, and how, is the matter of `fusewire-benches`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where runs are kept: `DATE-MODE.md`, and `DATE-MODE.svg`, the chart.
const RESULTS: &str = "benches/results";
/// The page, and its line in the summary.
pub(super) const PAGE: &str = "bench.md";
pub(super) const LINE: &str = "  - [Measured](bench.md)";
/// What it stands below in the summary.
pub(super) const ABOVE: &str = "](fast.md)";

/// The page, if there is something to show.
pub(super) fn page(root: &Path) -> Result<Option<String>> {
    let Some(newest) = newest(&root.join(RESULTS))? else { return Ok(None) };
    let tables = read(&newest)?;
    // The report's own title goes; its first paragraph says when and where.
    let tables =
        tables.trim_start().strip_prefix("# ").and_then(|text| text.split_once('\n')).map_or("", |(_, text)| text);
    let name = newest.to_string_lossy();
    let form = ["quick", "targets"].iter().find(|form| name.ends_with(&format!("-{form}.md")));
    let form = form.map(|form| format!("--{form} ")).unwrap_or_default();
    let mut out = format!(
        "# Measured\n\n\
         <!-- Made by `cargo xtask book --generate` from the newest run in {RESULTS}. Change nothing here. -->\n\n\
         All numbers on this page come from one run of this command. Run it yourself: yours will differ, as they depend on the \
         machine and on what else it is doing. The ratios differ much less.\n\n\
         ```text\ncargo xtask bench {form}--out {RESULTS}\n```\n\n\
         The chart shows how many operations a second each server does, as a multiple of the *floor*: a C program without a \
         library that answers each request with the least work possible. Longer is faster; a bar that is as long as the chart \
         may stand for more, and the tables have the number.\n\n"
    );
    if let Some(chart) = chart(&newest.with_extension("svg"))? {
        out.push_str(&chart);
        out.push('\n');
    }
    out.push_str(tables.trim());
    out.push('\n');
    Ok(Some(out))
}

/// The newest: names begin with the date.
fn newest(directory: &Path) -> Result<Option<PathBuf>> {
    if !directory.is_dir() {
        return Ok(None);
    }
    let reading = || format!("reading {}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|end| end == "md") && name.starts_with(|first: char| first.is_ascii_digit()) {
            found.push(path);
        }
    }
    Ok(found.into_iter().max())
}

/// The chart as a part of the page, in the colours of its theme; on a narrow page it is moved sideways.
fn chart(file: &Path) -> Result<Option<String>> {
    if !file.is_file() {
        return Ok(None);
    }
    let svg = read(file)?;
    // A ground of its own would be white in the dark theme, too.
    let lines: Vec<_> =
        svg.lines().filter(|line| !line.contains("fill=\"white\"/>") && !line.trim().is_empty()).collect();
    // As wide as the page on a desktop, with letters that can be read at that size.
    let svg = lines.join("\n").replacen("font-size=\"10\"", "font-size=\"12\"", 1).replacen(
        "<svg ",
        "<svg fill=\"currentColor\" role=\"img\" style=\"width: 100%; min-width: 720px; max-width: none\" ",
        1,
    );
    Ok(Some(format!("<div class=\"table-wrapper\">\n{svg}\n</div>\n")))
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_run_is_shown_and_none_makes_no_page() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(page(root.path()).unwrap(), None);
        let results = root.path().join(RESULTS);
        fs::create_dir_all(&results).unwrap();
        for (name, text) in [
            ("README.md", "# No run\n"),
            ("2026-01-02-full.md", "# Old\n\nold\n"),
            ("2026-01-03-quick.md", "# New\n\nnew\n\n| a |\n|---|\n"),
            ("2026-01-03-quick.svg", "<svg viewBox=\"0 0 1 1\">\n<rect fill=\"white\"/>\n<text>x</text>\n</svg>\n"),
        ] {
            fs::write(results.join(name), text).unwrap();
        }
        let page = page(root.path()).unwrap().unwrap();
        assert!(page.contains("cargo xtask bench --quick --out benches/results"), "{page}");
        assert!(page.contains("new\n\n| a |") && page.contains("<text>x</text>"), "{page}");
        assert!(!page.contains("white") && !page.contains("old") && !page.contains("# New"), "{page}");
    }
}
