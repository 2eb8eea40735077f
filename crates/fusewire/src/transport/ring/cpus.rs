//! Which CPUs there may be, and what they share.
//!
//! A queue of FUSE belongs to a CPU that may come online, whether or not it is. How many workers it has is not decided here.

use std::io;

use super::policy::Cpu;
use crate::transport::schedule;

const CPUS: &str = "/sys/devices/system/cpu";

/// The numbers of all possible CPUs, in order: each of them needs an entry before the kernel uses any ring.
///
/// # Errors
/// `/sys` is not there, or says something else than a list.
pub(super) fn possible() -> io::Result<Vec<u16>> {
    let path = format!("{CPUS}/possible");
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("reading {path}: {error}"));
    let list = std::fs::read_to_string(&path).map_err(failed)?;
    let unlike = || failed(io::Error::new(io::ErrorKind::InvalidData, format!("{list:?} is no list of CPUs")));
    parse(list.trim()).ok_or_else(unlike)
}

/// Reads `0-3,8,10-11`.
fn parse(list: &str) -> Option<Vec<u16>> {
    let mut cpus = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?);
    }
    Some(cpus)
}

/// The CPUs that are online and that this thread may use, with what they share, as far as `/sys` tells.
pub(super) fn topology() -> Vec<Cpu> {
    let allowed = schedule::allowed(schedule::THIS);
    let online = std::fs::read_to_string(format!("{CPUS}/online")).ok().and_then(|list| parse(list.trim()));
    let list = |number: u16, what: &str| {
        let text = std::fs::read_to_string(format!("{CPUS}/cpu{number}/{what}")).ok()?;
        parse(text.trim())
    };
    let cpu = |number| Cpu {
        number,
        core: list(number, "topology/core_cpus_list").unwrap_or_default(),
        caches: (0..).map_while(|index| list(number, &format!("cache/index{index}/shared_cpu_list"))).collect(),
    };
    let usable = |number: &u16| allowed.is_set(usize::from(*number)).unwrap_or(false);
    online.unwrap_or_default().into_iter().filter(usable).map(cpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_cpu_that_shares_its_caches_with_itself() {
        let cpus = topology();
        assert!(!cpus.is_empty());
        assert!(cpus.iter().all(|cpu| cpu.caches.iter().all(|cache| cache.contains(&cpu.number))));
    }

    #[test]
    fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0-1"), Some(vec![0, 1]));
        assert_eq!(parse("0-2,5,7-8"), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(parse("x"), None);
        assert_eq!(parse(""), None);
    }
}
