//! The tables, in Markdown.

use std::fmt::Write;

use crate::compare::cell::Cell;
use crate::compare::gate::{Verdict, targets};
use crate::compare::peers::{FLOOR, FUSER, Ground, NATIVE, PEERS, THIS};
use crate::compare::results::{CellResult, Figure, Missing, Results, Sample};
use crate::workload::Work;

/// The whole report.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut out = String::new();
    head(&mut out, results);
    this_against_fuser(&mut out, results);
    let table = |cell: &Cell| cell.ground == Ground::Table;
    let real_life = |cell: &Cell| matches!(cell.workload.work(), Work::Step(_));
    let mirror = |cell: &Cell| cell.ground == Ground::Mirror && !real_life(cell);
    each(&mut out, results, "Operations a second", table, rate, thousands);
    ratios(&mut out, results, "Rate against the floor", table, (FLOOR, rate));
    each(&mut out, results, "CPU time of the server, in microseconds an operation", table, |sample| sample.cpu, micro);
    ratios(&mut out, results, "CPU time of the server against the floor", table, (FLOOR, |sample| sample.cpu));
    switches(&mut out, results);
    calls(&mut out, results);
    each(
        &mut out,
        results,
        "Real life, in seconds",
        real_life,
        |sample| Some(sample.seconds()),
        |number| format!("{number:.3}"),
    );
    each(&mut out, results, "A directory mirrored: operations a second", mirror, rate, thousands);
    ratios(&mut out, results, "A directory mirrored: rate against the directory itself", mirror, (NATIVE, rate));
    idle(&mut out, results);
    verdicts(&mut out, results);
    missing(&mut out, &results.missing);
    out
}

/// `a | b | c` between bars.
pub(super) fn row(out: &mut String, cells: impl IntoIterator<Item = String>) {
    out.push('|');
    for cell in cells {
        push(out, format_args!(" {cell} |"));
    }
    out.push('\n');
}

pub(super) fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
}

pub(super) fn heading<'t>(out: &mut String, title: &str, columns: impl IntoIterator<Item = &'t str>) {
    push(out, format_args!("\n## {title}\n\n"));
    let columns: Vec<_> = columns.into_iter().map(str::to_owned).collect();
    let rules = columns.iter().enumerate().map(|(number, _)| if number == 0 { "---" } else { "---:" }.to_owned());
    let rules: Vec<_> = rules.collect();
    row(out, columns);
    row(out, rules);
}

fn head(out: &mut String, results: &Results) {
    let machine = &results.machine;
    push(out, format_args!("# What Fusewire costs, and its peers in the same run ({})\n\n", results.mode));
    push(
        out,
        format_args!(
            "{}, Linux {}, {} CPUs ({}), load {} before the run, autogroup {}.\n",
            machine.date,
            machine.kernel,
            machine.cpus,
            machine.cpu,
            machine.load,
            if machine.autogroup { "on" } else { "off" },
        ),
    );
    push(
        out,
        format_args!(
            "Medians of {} interleaved rounds of {} ms; ± is half the distance of the quartiles. Ratios are taken within a \
             round: they hold where absolute figures drift with the load of the machine.\n\n",
            results.rounds, results.milliseconds,
        ),
    );
    for peer in PEERS {
        push(out, format_args!("- `{}`: {}\n", peer.name, peer.about));
    }
}

/// The table that is promised: this library beside fuser.
fn this_against_fuser(out: &mut String, results: &Results) {
    let (cells, servers) = results.select(|cell| cell.ground == Ground::Table);
    if servers.is_empty() {
        return;
    }
    let columns =
        ["operation", "threads", "where", THIS, FUSER, "fuser-2", "this / fuser", "this / fuser-2", "this / floor"];
    heading(out, "ops/s, this vs. fuser", columns);
    for cell in cells {
        let rate = |server| show(cell.figure(server, |sample| Some(sample.rate)), |figure| thousands(figure.median));
        let ratio = |other| show(cell.ratio(THIS, other, |sample| Some(sample.rate)), with_spread);
        row(
            out,
            [
                cell.cell.workload.title().to_owned(),
                cell.cell.threads.to_string(),
                cell.cell.place().to_owned(),
                rate(THIS),
                rate(FUSER),
                rate("fuser-2"),
                ratio(FUSER),
                ratio("fuser-2"),
                ratio(FLOOR),
            ],
        );
    }
}

#[expect(clippy::unnecessary_wraps, reason = "not every sample has each figure")]
fn rate(sample: &Sample) -> Option<f64> {
    Some(sample.rate)
}

fn each(
    out: &mut String,
    results: &Results,
    title: &str,
    wanted: impl Fn(&Cell) -> bool,
    of: impl Fn(&Sample) -> Option<f64>,
    format: impl Fn(f64) -> String,
) {
    let content = |cell: &CellResult, server: &str| show(cell.figure(server, &of), |figure| format(figure.median));
    table(out, results, title, wanted, content);
}

fn ratios(
    out: &mut String,
    results: &Results,
    title: &str,
    wanted: impl Fn(&Cell) -> bool,
    (against, of): (&str, impl Fn(&Sample) -> Option<f64>),
) {
    table(out, results, title, wanted, |cell, server| show(cell.ratio(server, against, &of), with_spread));
}

fn switches(out: &mut String, results: &Results) {
    let title = "Context switches of the server an operation: voluntary + involuntary";
    table(
        out,
        results,
        title,
        |cell| cell.ground == Ground::Table,
        |cell, server| {
            let voluntary = cell.figure(server, |sample| Some(sample.switches?.voluntary));
            let involuntary = cell.figure(server, |sample| Some(sample.switches?.involuntary));
            show(voluntary.zip(involuntary), |(one, other)| format!("{:.2} + {:.2}", one.median, other.median))
        },
    );
}

/// A row a cell, a column a server; nothing if no cell is wanted or was measured.
fn table(
    out: &mut String,
    results: &Results,
    title: &str,
    wanted: impl Fn(&Cell) -> bool,
    content: impl Fn(&CellResult, &str) -> String,
) {
    let (cells, servers) = results.select(wanted);
    if servers.is_empty() {
        return;
    }
    // Only calls are done by several clients, and in several places.
    let places = cells.iter().any(|cell| cell.cell.ground == Ground::Table);
    let front: &[&str] = if places { &["operation", "threads", "where"] } else { &["operation"] };
    heading(out, title, front.iter().chain(&servers).copied());
    for cell in cells {
        let mut columns = vec![cell.cell.workload.title().to_owned()];
        if places {
            columns.extend([cell.cell.threads.to_string(), cell.cell.place().to_owned()]);
        }
        row(out, columns.into_iter().chain(servers.iter().map(|server| content(cell, server))));
    }
}

/// System calls: a row a server, a column a cell.
fn calls(out: &mut String, results: &Results) {
    let mut cells: Vec<&Cell> = Vec::new();
    for calls in &results.calls {
        if !cells.contains(&&calls.cell) {
            cells.push(&calls.cell);
        }
    }
    if cells.is_empty() {
        return;
    }
    let titles = cells.iter().map(|cell| cell.workload.title());
    heading(out, "System calls of the server an operation", ["server"].into_iter().chain(titles));
    for peer in PEERS {
        let of = |cell: &&Cell| {
            let found = results.calls.iter().find(|calls| calls.server == peer.name && calls.cell == **cell);
            found.map(|calls| breakdown(&calls.each))
        };
        let columns: Vec<_> = cells.iter().map(of).collect();
        if columns.iter().any(Option::is_some) {
            let columns = columns.into_iter().map(|column| column.unwrap_or_else(|| String::from("-")));
            row(out, [peer.name.to_owned()].into_iter().chain(columns));
        }
    }
}

/// The sum, and what it consists of but for rare calls.
fn breakdown(each: &std::collections::BTreeMap<String, f64>) -> String {
    let mut parts: Vec<_> = each.iter().filter(|(_, count)| **count >= 0.05).collect();
    parts.sort_by(|one, other| other.1.total_cmp(one.1));
    let parts: Vec<_> = parts.iter().map(|(name, count)| format!("{name} {count:.2}")).collect();
    format!("{:.2} ({})", each.values().sum::<f64>(), parts.join(", "))
}

/// How servers start, and what they take then.
fn idle(out: &mut String, results: &Results) {
    let (cells, servers) = results.select(|cell| cell.ground == Ground::Idle);
    let Some(cell) = cells.first().filter(|_| !servers.is_empty()) else { return };
    heading(out, "Start-up and resident memory of idle servers", ["server", "ms until mounted", "MiB"]);
    for server in servers {
        let start = show(cell.figure(server, |sample| Some(sample.seconds() * 1000.0)), with_spread);
        let memory = show(cell.figure(server, |sample| sample.resident), with_spread);
        row(out, [server.to_owned(), start, memory]);
    }
}

fn verdicts(out: &mut String, results: &Results) {
    heading(out, "Targets", ["target", "measured as", "must be", "is", "verdict"]);
    for target in targets() {
        let (figure, verdict) = match target.judge(results) {
            Verdict::Met(figure) => (Some(figure), "met"),
            Verdict::Even(figure) => (Some(figure), "within the spread"),
            Verdict::Missed(figure) => (Some(figure), "**missed**"),
            Verdict::NotMeasured => (None, "not measured"),
        };
        let is = show(figure, with_spread);
        row(out, [target.about.to_owned(), target.place(), target.bound(), is, verdict.to_owned()]);
    }
}

pub(super) fn missing(out: &mut String, all: &[Missing]) {
    if all.is_empty() {
        return;
    }
    heading(out, "Not measured", ["server", "where", "why"]);
    for missing in all {
        let place = missing.cell.map_or_else(|| String::from("at all"), |cell| cell.to_string());
        row(out, [missing.server.clone(), place, missing.reason.replace('|', "/")]);
    }
}

fn show<T>(figure: Option<T>, format: impl Fn(T) -> String) -> String {
    figure.map_or_else(|| String::from("-"), format)
}

fn with_spread(figure: Figure) -> String {
    format!("{:.2} ± {:.2}", figure.median, figure.spread)
}

fn micro(number: f64) -> String {
    if number < 100.0 { format!("{number:.2}") } else { format!("{number:.0}") }
}

/// Three digits are as exact as this gets.
fn thousands(number: f64) -> String {
    if number >= 99_950.0 {
        format!("{:.0} k", number / 1000.0)
    } else if number >= 9_995.0 {
        format!("{:.1} k", number / 1000.0)
    } else if number >= 1000.0 {
        format!("{:.2} k", number / 1000.0)
    } else {
        format!("{number:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_keeps_three_digits() {
        let shown = [123.4, 1234.0, 12_345.0, 123_456.0].map(thousands);
        assert_eq!(shown, ["123", "1.23 k", "12.3 k", "123 k"]);
    }
}
