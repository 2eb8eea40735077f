//! The tables of the guide are complete: the errors of mounting, and the counterparts of other libraries. What the sessions
//! on the pages show is tested elsewhere.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::Path;

use fusewire::opcode::{Answer, rows};

/// The text of a page.
fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new("../../src").join(name)).unwrap()
}

/// The texts of the errors that a source declares, as in `#[error("mounting {name}: {fault}")]`.
fn errors(source: &str) -> Vec<String> {
    let source = std::fs::read_to_string(Path::new("../../../crates").join(source)).unwrap();
    let declared = source.split("#[error(").skip(1).filter_map(|rest| {
        let text = rest.trim_start().strip_prefix('"')?;
        Some(text.split("\"").next()?.to_owned())
    });
    declared.collect()
}

/// The parts of an error that are always the same.
fn fixed_parts(error: &str) -> Vec<String> {
    let mut outside = String::new();
    let mut depth = 0_usize;
    for letter in error.chars() {
        match letter {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                outside.push('\n');
            }
            _ if depth == 0 => outside.push(letter),
            _ => {}
        }
    }
    let parts = outside.split(['\n', ':', ';', ',']).map(str::trim).filter(|part| !part.is_empty());
    let mut parts: Vec<_> = parts.map(str::to_owned).collect();
    // A short word, such as `running`, says something only where there is no longer one.
    if parts.iter().any(|part| part.len() >= 10) {
        parts.retain(|part| part.len() >= 10);
    }
    parts
}

#[test]
fn every_error_of_mounting_is_explained() {
    let page = page("mounting.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with('|')).collect();
    let mut missing = Vec::new();
    let mut found = 0;
    for source in [
        "fusewire/src/mount/error.rs",
        "fusewire/src/mount/table.rs",
        "fusewire/src/session/mod.rs",
        "fusewire-launch/src/error.rs",
    ] {
        for error in errors(source) {
            let parts = fixed_parts(&error);
            // Only what the error consists of besides what it carries along.
            if parts.is_empty() {
                continue;
            }
            let explained = parts.iter().any(|part| rows.iter().any(|row| row.contains(part.as_str())));
            found += usize::from(explained);
            if !explained {
                missing.push(error);
            }
        }
    }
    assert!(missing.is_empty(), "mounting.md does not explain {missing:#?}");
    assert!(found > 35, "only {found} errors were found in the sources");
}

#[test]
fn every_operation_has_its_counterpart() {
    for name in ["libfuse.md", "fuser.md"] {
        let page = page(name);
        let answered = rows().filter(|row| row.answer != Answer::Session).map(|row| row.method);
        let missing: Vec<_> = answered.filter(|method| !page.contains(&format!("`{method}`"))).collect();
        assert!(missing.is_empty(), "{name} does not name {missing:?}");
    }
}
