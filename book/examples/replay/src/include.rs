//! `{{#include path:anchor}}`, as mdBook expands it. Ranges of lines are not known here.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The text of a block with what it includes; paths are relative to `directory`.
pub(crate) fn expand(text: &str, directory: &Path) -> Result<String> {
    let mut expanded = String::new();
    for line in text.lines() {
        let inside = line.trim().strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}"));
        if let Some(target) = inside {
            let (path, name) = target.trim().rsplit_once(':').unwrap_or((target.trim(), ""));
            let path = directory.join(path);
            let file = std::fs::read_to_string(&path).with_context(|| format!("including {}", path.display()))?;
            expanded.push_str(&anchored(&file, name).with_context(|| format!("including {}", path.display()))?);
        } else {
            expanded.push_str(line);
            expanded.push('\n');
        }
    }
    Ok(expanded)
}

/// The lines between the anchor's marks, without marks. Without a name, all lines.
fn anchored(text: &str, name: &str) -> Result<String> {
    let mut inside = name.is_empty();
    let mut found = inside;
    let mut lines = String::new();
    for line in text.lines() {
        if let Some((_, anchor)) = line.split_once("ANCHOR: ") {
            inside |= anchor.trim() == name;
            found |= inside;
        } else if let Some((_, anchor)) = line.split_once("ANCHOR_END: ") {
            inside &= anchor.trim() != name || name.is_empty();
        } else if inside {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    ensure!(found, "there is no anchor `{name}`");
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchor_has_its_lines_and_no_marks() {
        let text = "a\n// ANCHOR: x\nb\n// ANCHOR: y\nc\n// ANCHOR_END: y\n// ANCHOR_END: x\nd\n";
        assert_eq!(anchored(text, "x").unwrap(), "b\nc\n");
        assert_eq!(anchored(text, "y").unwrap(), "c\n");
        assert_eq!(anchored(text, "").unwrap(), "a\nb\nc\nd\n");
        assert!(anchored(text, "z").is_err());
    }
}
