//! Each chapter with commands is followed to the letter, in an empty home directory and on real mounts.

/// Follows a chapter; the message of a failure says where it went wrong.
fn follow(chapter: &str) {
    if let Err(error) = guide_replay::follow(chapter) {
        panic!("following {chapter}: {error:#}");
    }
}

/// A reader who has nothing but Rust and a clone of the workspace gets through the second chapter.
#[test]
fn first_filesystem_is_made_as_the_guide_says() {
    follow("first.md");
}
