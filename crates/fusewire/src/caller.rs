//! What the system tells of the caller of a request, beyond what the request itself carries.
//!
//! It is asked anew each time: nothing is kept.

use std::fs;

use fusewire_proto::{Gid, Pid};

/// The supplementary groups of a process or thread; none if it is gone or cannot be seen.
pub(crate) fn supplementary_groups(pid: Pid) -> Vec<Gid> {
    if pid.0 == 0 {
        return Vec::new();
    }
    parse(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default())
}

/// The groups in the text of `/proc/PID/status`.
fn parse(status: &str) -> Vec<Gid> {
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|group| group.parse().ok()).map(Gid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_in_a_status_file() {
        assert_eq!(parse("Name:\tx\nGroups:\t4 24 1000 \nNStgid:\t1\n"), [Gid(4), Gid(24), Gid(1000)]);
        assert_eq!(parse("Groups:\t \n"), []);
        assert_eq!(parse(""), []);
        assert_eq!(supplementary_groups(Pid(0)), []);
    }
}
