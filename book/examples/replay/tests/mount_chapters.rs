//! Each chapter with commands is followed to the letter, in an empty home directory and on real mounts.
//! What needs root, as these chapters say where they do, is in the module `as_root`.

/// Follows chapters in one home; the message of a failure says where it went wrong.
fn follow(chapters: &[&str]) {
    let followed = guide_replay::follow(chapters).map_err(|error| format!("following {chapters:?}: {error:#}"));
    assert_eq!(followed, Ok(()));
}

/// As `follow`, with nothing of the workspace but its sources.
fn follow_from_nothing(chapters: &[&str]) {
    let followed = guide_replay::follow_from_nothing(chapters);
    assert_eq!(followed.map_err(|error| format!("following {chapters:?}: {error:#}")), Ok(()));
}

/// A reader who has nothing but Rust and a clone of the workspace gets to a filesystem, and then to tests of it.
#[test]
fn first_filesystem_is_made_and_tested_as_the_guide_says() {
    follow_from_nothing(&["first.md", "testing.md"]);
}

/// The messages of one `cat` are those that the first chapter shows.
#[test]
fn messages_of_one_cat_are_as_shown() {
    follow(&["what.md"]);
}

/// Options and error messages of mounting are as the guide shows them.
#[test]
fn errors_of_mounting_are_as_shown() {
    follow(&["mounting.md"]);
}

/// The port has the size that the guide says.
#[test]
fn port_is_as_long_as_shown() {
    follow(&["fuser.md"]);
}

mod as_root {
    use super::follow;

    /// A node lives as long as the guide says.
    #[test]
    fn life_of_a_node_is_as_shown() {
        follow(&["nodes.md"]);
    }

    /// Names are asked for as often as the guide says.
    #[test]
    fn lookups_are_as_many_as_shown() {
        follow(&["caching.md"]);
    }

    /// Permissions are checked where the guide says.
    #[test]
    fn permissions_are_checked_as_shown() {
        follow(&["permissions.md"]);
    }

    /// A connection is looked at and aborted as the guide says.
    #[test]
    fn abort_of_a_connection_is_as_shown() {
        follow(&["hangs.md"]);
    }

    mod tracepoints {
        use super::follow;

        /// The kernel shows the requests of a mount as the guide says.
        #[test]
        fn requests_are_traced_as_shown() {
            follow(&["tracing.md"]);
        }
    }

    /// The reference filesystems have the options that the guide lists, and work as shown.
    #[test]
    fn reference_filesystems_work_as_shown() {
        follow(&["filesystems.md"]);
        for name in ["hellofs", "memfs", "mirrorfs"] {
            follow(&[&format!("filesystems/{name}.md")]);
        }
    }

    /// The sessions of the READMEs, which stand beside the crates.
    #[test]
    fn filesystems_work_as_their_readmes_show() {
        for name in ["hellofs", "memfs", "mirrorfs"] {
            follow(&[&format!("../../crates/{name}/README.md")]);
        }
        follow(&["../../README.md"]);
    }
}
