//! What fio does for us: many requests in flight from one caller, and files that are mapped into memory.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::load::Done;
use crate::tree;
use crate::workload::{Extent, Job};

/// Runs a job.
///
/// # Errors
/// fio is missing or fails.
pub(super) fn run(job: &Job, directory: &Path, time: Duration) -> Result<Done> {
    let file = directory.join("data").join(job.file);
    let mut command = Command::new("fio");
    command.args(["--name=job", "--bs=4k", "--thread", "--norandommap", "--fallocate=none", "--output-format=json"]);
    command.arg(format!("--filename={}", file.display())).arg(format!("--size={}", tree::FILE_SIZE));
    command.arg(format!("--ioengine={}", job.engine)).arg(format!("--rw={}", job.action));
    command.arg(format!("--iodepth={}", job.depth));
    match job.extent {
        Extent::Timed => command.args(["--direct=1", "--time_based"]).arg(format!("--runtime={}ms", time.as_millis())),
        Extent::Whole => command.arg("--invalidate=1"),
    };
    let output = command.output().context("running fio (Debian: apt install fio)")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "running fio: {}", words.trim());
    let report = String::from_utf8_lossy(&output.stdout);
    read(&report, if job.action.ends_with("write") { "write" } else { "read" })
}

/// What a report says of one direction.
fn read(report: &str, direction: &str) -> Result<Done> {
    // Notes may stand before the report.
    let report = report.find('{').and_then(|start| report.get(start..)).context("reading fio's report: it is empty")?;
    let report: Value = serde_json::from_str(report).context("reading fio's report")?;
    let found = report.pointer(&format!("/jobs/0/{direction}")).context("reading fio's report: no job")?;
    let operations = found.get("total_ios").and_then(Value::as_u64).context("reading fio's report: no total_ios")?;
    let rate = found.get("iops").and_then(Value::as_f64).context("reading fio's report: no iops")?;
    Ok(Done { operations, rate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_read_by_direction() {
        let report = r#"note: text
            {"jobs":[{"read":{"iops":10.5,"total_ios":21},"write":{"iops":0.0,"total_ios":0}}]}"#;
        let done = read(report, "read").unwrap();
        assert_eq!((done.operations, done.rate), (21, 10.5));
        assert_eq!(read(report, "write").unwrap().operations, 0);
        assert!(read("", "read").is_err());
        assert!(read(r#"{"jobs":[]}"#, "read").is_err());
    }
}
