//! Relative links in the book and in the pages at the root lead to files. Links to other hosts are not followed.

use pulldown_cmark::{Event, Parser, Tag};

use super::Fault;
use super::tree::{Page, Tree};

/// Every relative link leads to a file or directory of the workspace.
pub(super) fn links(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for page in &tree.pages {
        for (line, target) in targets(page) {
            let path = target.split(['#', '?']).next().unwrap_or_default();
            if path.is_empty() || has_scheme(&target) || is_api(&page.path, path) {
                continue;
            }
            let directory = page.path.rsplit_once('/').map_or("", |(directory, _)| directory);
            if !tree.root.join(directory).join(path).exists() {
                faults.push(Fault::new(&page.path, line, format!("the link `{target}` leads nowhere")));
            }
        }
    }
    faults
}

/// Whether a link of the book leads into the documentation of the libraries, which only the built book has. `cargo xtask
/// book --check` follows these.
fn is_api(page: &str, path: &str) -> bool {
    page.starts_with("book/src/") && path.trim_start_matches("../").starts_with("api/")
}

/// Each link and image with its line, counted from 1; code is no link.
fn targets(page: &Page) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (event, range) in Parser::new(&page.text).into_offset_iter() {
        if let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event {
            let before = page.text.get(..range.start).unwrap_or_default();
            found.push((before.matches('\n').count() + 1, dest_url.into_string()));
        }
    }
    found
}

/// Whether this is `scheme:...` or `//host`, and so not a path.
fn has_scheme(target: &str) -> bool {
    let scheme = target.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme.chars().all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
    });
    scheme || target.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture::places;
    use super::*;

    #[test]
    fn links_fires_on_a_link_that_leads_nowhere() {
        let page = "book/src/start.md";
        let text = "One\n\n[a](gone.md#x) and ![b](img/none.png)\n\n[c]\n\n[c]: ../gone\n";
        assert_eq!(places(links, &[(page, text)]), [3, 3, 5].map(|line| format!("{page}:{line}")));
    }

    #[test]
    fn links_leaves_hosts_anchors_and_code_alone() {
        let text =
            "[a](https://example.org/x.md) [b](#there) [c](mailto:x@example.org) `[d](gone.md)` [e](start.md?x#y)\n";
        assert!(places(links, &[("book/src/start.md", text)]).is_empty());
        let api = "[a](../api/x/struct.Y.html)\n";
        assert!(places(links, &[("book/src/sub/start.md", api)]).is_empty());
        assert_eq!(places(links, &[("README.md", api)]), ["README.md:1"]);
    }
}
