//! Each chapter with commands is followed to the letter, in an empty home directory and on real mounts.
//! The tests need root, as the chapters say where they do.

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

/// The messages of one `cat` are those that the first chapter shows.
#[test]
fn messages_of_one_cat_are_as_shown() {
    follow("what.md");
}

/// Options and error messages of mounting are as the guide shows them.
#[test]
fn errors_of_mounting_are_as_shown() {
    follow("mounting.md");
}

/// A node lives as long as the guide says.
#[test]
fn life_of_a_node_is_as_shown() {
    follow("nodes.md");
}
