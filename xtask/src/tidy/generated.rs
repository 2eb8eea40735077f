//! Pages of the book that are made from sources are as they would be made now. How they are made is not known here.

use super::Fault;
use super::tree::Tree;
use crate::book;

/// The generated pages are fresh. A workspace without the protocol has none.
pub(super) fn generated(tree: &Tree) -> Vec<Fault> {
    if !tree.root.join(book::SOURCES).is_dir() {
        return Vec::new();
    }
    match book::faults(&tree.root) {
        Ok(stale) => {
            let message = "not as its sources would make it: run `cargo xtask book --generate`";
            stale.into_iter().map(|path| Fault::new(path, 1, message)).collect()
        }
        Err(error) => vec![Fault::new("book/src", 1, format!("making the pages: {error:#}"))],
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture::places;
    use super::*;

    #[test]
    fn generated_fires_where_pages_cannot_be_made() {
        let operations = ("crates/fusewire-proto/src/op/mod.rs", "//! Operations.\n");
        assert_eq!(places(generated, &[operations]), ["book/src:1"]);
        assert!(places(generated, &[]).is_empty());
    }
}
