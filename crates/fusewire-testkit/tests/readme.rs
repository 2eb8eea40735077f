//! What the READMEs show is what is compiled and run: the file `first.rs` beside this one.

const SHOWN: &str = include_str!("first.rs");

/// Whether a README has the file, from behind its first comment on, as a block of its own.
fn shows_the_test(path: &str) {
    let (_, code) = SHOWN.split_once("\n\n").expect("the comment at the head ends");
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("reading the file");
    assert!(text.contains(&format!("```rust\n{code}```\n")), "{path} does not show tests/first.rs:\n{code}");
}

#[test]
fn readme_of_the_crate_shows_the_test() {
    shows_the_test("README.md");
}

#[test]
fn readme_of_the_workspace_shows_the_test() {
    shows_the_test("../../README.md");
}
