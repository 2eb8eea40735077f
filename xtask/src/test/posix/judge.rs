//! What a result means: it is held against what the kernel's own filesystems do in the same run, and against the list of
//! what is known. It runs nothing.

use std::collections::{HashMap, HashSet};

use super::known::{FILE, Known};
use crate::test::report::{Case, Outcome};

/// Judges results.
pub(super) struct Judge {
    known: Vec<Known>,
    /// Numbers of the entries of the list that met a case.
    met: HashSet<usize>,
    /// Names of cases that ran on a filesystem of the kernel, and whether they pass on one.
    native: HashMap<String, bool>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) ground: &'a str,
    /// Without the filesystem.
    pub(super) case: &'a str,
}

impl Judge {
    pub(super) fn new(known: Vec<Known>) -> Self {
        Self { known, met: HashSet::new(), native: HashMap::new() }
    }

    /// A case came out like this on a filesystem of the kernel.
    pub(super) fn learn(&mut self, case: &str, outcome: &Outcome) {
        *self.native.entry(case.to_owned()).or_default() |= *outcome == Outcome::Passed;
    }

    /// The names of the cases that ran on a filesystem of the kernel.
    pub(super) fn known_natively(&self) -> impl Iterator<Item = &str> {
        self.native.keys().map(String::as_str)
    }

    /// As [`judge`](Self::judge), where what passes on neither of the kernel's filesystems says nothing.
    pub(super) fn judge_by_native(&mut self, named: Named<'_>, outcome: Outcome) -> Option<Outcome> {
        let counts = outcome == Outcome::Passed || self.native.get(named.case).copied().unwrap_or(false);
        if !counts {
            return None;
        }
        let outcome = match outcome {
            // Not having run is no excuse where it can run.
            Outcome::Skipped(reason) => Outcome::Failed(format!("it did not run: {reason}")),
            outcome => outcome,
        };
        Some(self.judge(named, outcome))
    }

    /// What is known not to pass may fail, and must not pass.
    pub(super) fn judge(&mut self, named: Named<'_>, outcome: Outcome) -> Outcome {
        let known = self.known.iter().position(|known| known.is_about(named.ground, named.case));
        let Some((number, known)) = known.and_then(|number| Some((number, self.known.get(number)?))) else {
            return outcome;
        };
        self.met.insert(number);
        match outcome {
            Outcome::Passed => Outcome::Failed(format!("it passes: take it out of {FILE}")),
            Outcome::Failed(_) => Outcome::Skipped(format!("{KNOWN}{}", known.reason)),
            Outcome::Skipped(reason) => Outcome::Skipped(reason),
        }
    }

    /// A failure for each entry of the list that no case was met by. If cases were left out, it may be about one of those: then
    /// it is told, and skipped.
    pub(super) fn unused(&self, left_out: bool) -> Vec<Case> {
        let unused = self.known.iter().enumerate().filter(|(number, _)| !self.met.contains(number));
        let case = |(_, known): (usize, &Known)| {
            let why = format!("{FILE} names it for {}, and it is not there", known.on.join(", "));
            let outcome = if left_out {
                Outcome::Skipped(format!("{why}; it may be among what could not run here"))
            } else {
                Outcome::Failed(why)
            };
            Case { name: known.case.clone(), outcome, time: None }
        };
        unused.map(case).collect()
    }
}

/// How the reason begins of a case that is skipped because it is on the list.
const KNOWN: &str = "known: ";

/// Whether a case that was skipped for this reason is on the list, and ran.
pub(super) fn is_known(reason: &str) -> bool {
    reason.starts_with(KNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge() -> Judge {
        let known = Known { case: "a".into(), on: vec!["fs*".into()], reason: "why".into(), source: "where".into() };
        Judge::new(vec![known])
    }

    fn failed() -> Outcome {
        Outcome::Failed("EIO".into())
    }

    #[test]
    fn what_is_known_not_to_pass_fails_when_it_passes() {
        let named = Named { ground: "fs-1", case: "a" };
        let mut judge = judge();
        assert!(matches!(&*judge.unused(false), [Case { outcome: Outcome::Failed(_), .. }]));
        assert!(matches!(&*judge.unused(true), [Case { outcome: Outcome::Skipped(_), .. }]));
        assert!(matches!(judge.judge(named, Outcome::Passed), Outcome::Failed(_)));
        assert!(matches!(judge.judge(named, failed()), Outcome::Skipped(why) if is_known(&why)));
        assert_eq!(judge.judge(Named { ground: "other", case: "a" }, failed()), failed());
        assert!(judge.unused(false).is_empty());
    }

    #[test]
    fn only_what_passes_natively_can_fail() {
        let named = Named { ground: "fs", case: "b" };
        let mut judge = judge();
        assert_eq!(judge.judge_by_native(named, failed()), None);
        assert_eq!(judge.judge_by_native(named, Outcome::Passed), Some(Outcome::Passed));
        judge.learn("b", &failed());
        assert_eq!(judge.judge_by_native(named, failed()), None);
        judge.learn("b", &Outcome::Passed);
        assert_eq!(judge.judge_by_native(named, failed()), Some(failed()));
        assert!(matches!(judge.judge_by_native(named, Outcome::Skipped("no".into())), Some(Outcome::Failed(_))));
    }
}
