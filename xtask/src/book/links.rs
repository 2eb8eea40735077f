//! Links of the built book lead to files and places that are there. Links to other hosts are not followed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

/// What is wrong with the links of `pages`, which are relative to `built`.
pub(super) fn faults(built: &Path, pages: &[String]) -> Result<Vec<String>> {
    let mut texts = BTreeMap::new();
    let mut faults = Vec::new();
    for page in pages {
        let path = PathBuf::from(page);
        let text = read(&mut texts, built, &path)?.unwrap_or_default();
        for target in targets(&text) {
            if let Some(fault) = fault(&mut texts, built, &path, &target)? {
                faults.push(format!("{page}: the link `{target}` {fault}"));
            }
        }
    }
    faults.sort();
    faults.dedup();
    Ok(faults)
}

type Texts = BTreeMap<PathBuf, Option<String>>;

/// What is wrong with a link of `page` to `target`.
fn fault(texts: &mut Texts, built: &Path, page: &Path, target: &str) -> Result<Option<&'static str>> {
    if target.contains("://") || ["mailto:", "data:", "javascript:"].iter().any(|scheme| target.starts_with(scheme)) {
        return Ok(None);
    }
    let (path, place) = target.split_once('#').unwrap_or((target, ""));
    let path = path.split('?').next().unwrap_or_default();
    let file = match path {
        "" => page.to_path_buf(),
        _ => normal(&page.parent().unwrap_or(Path::new("")).join(path)),
    };
    let file = if built.join(&file).is_dir() { file.join("index.html") } else { file };
    if !built.join(&file).is_file() {
        return Ok(Some("leads nowhere"));
    }
    if place.is_empty() || file.extension().is_none_or(|end| end != "html") {
        return Ok(None);
    }
    let text = read(texts, built, &file)?.unwrap_or_default();
    let there = text.contains(&format!("id=\"{place}\"")) || text.contains(&format!("id={place} "));
    Ok((!there).then_some("leads to a page that has no such place"))
}

/// The text of a page; read once.
fn read(texts: &mut Texts, built: &Path, path: &Path) -> Result<Option<String>> {
    if let Some(text) = texts.get(path) {
        return Ok(text.clone());
    }
    let file = built.join(path);
    let text = file.is_file().then(|| fs::read_to_string(&file)).transpose();
    let text = text.with_context(|| format!("reading {}", file.display()))?;
    texts.insert(path.to_path_buf(), text.clone());
    Ok(text)
}

/// Without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

/// What the links and images of a page lead to.
fn targets(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in [" href=\"", " src=\""] {
        found.extend(
            html.split(attribute).skip(1).filter_map(|rest| rest.split_once('"')).map(|(target, _)| unescape(target)),
        );
    }
    found
}

fn unescape(text: &str) -> String {
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let built = tempfile::tempdir().unwrap();
        let page = "<a href=\"b.html#x\"></a> <a href=\"b.html#gone\"></a> <a href=\"../gone.html\"></a> \
                    <a href=\"https://example.org/\"></a> <img src=\"c.svg\"> <a href=\"#y\"></a> <p id=\"y\">";
        fs::create_dir(built.path().join("d")).unwrap();
        for (name, text) in [("d/a.html", page), ("d/b.html", "<h1 id=\"x\">"), ("d/c.svg", "")] {
            fs::write(built.path().join(name), text).unwrap();
        }
        let found = faults(built.path(), &["d/a.html".to_owned()]).unwrap();
        let expected = [
            "d/a.html: the link `../gone.html` leads nowhere",
            "d/a.html: the link `b.html#gone` leads to a page that has no such place",
        ];
        assert_eq!(found, expected);
    }
}
