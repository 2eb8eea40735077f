//! The tables, in Markdown.

use std::fmt::Write;

use crate::compare::gate::{Verdict, targets};
use crate::compare::results::{CellResult, Figure, Results, Sample};
use crate::compare::server::{FLOOR, FUSER, PEERS, THIS};

/// The whole report.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut out = String::new();
    head(&mut out, results);
    this_against_fuser(&mut out, results);
    each(&mut out, results, "Operations a second", |sample| Some(sample.rate), thousands);
    ratios(&mut out, results, "Rate against the floor", |sample| Some(sample.rate));
    each(&mut out, results, "CPU time of the server, in microseconds an operation", |sample| sample.cpu, micro);
    ratios(&mut out, results, "CPU time of the server against the floor", |sample| sample.cpu);
    each(
        &mut out,
        results,
        "Context switches of the server, an operation",
        |sample| sample.switches,
        |number| format!("{number:.2}"),
    );
    verdicts(&mut out, results);
    missing(&mut out, results);
    out
}

/// `a | b | c` between bars.
fn row(out: &mut String, cells: impl IntoIterator<Item = String>) {
    out.push('|');
    for cell in cells {
        push(out, format_args!(" {cell} |"));
    }
    out.push('\n');
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
}

fn heading<'t>(out: &mut String, title: &str, columns: impl IntoIterator<Item = &'t str>) {
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
    let columns =
        ["operation", "threads", "where", THIS, FUSER, "fuser-2", "this / fuser", "this / fuser-2", "this / floor"];
    heading(out, "ops/s, this vs. fuser", columns);
    for cell in &results.cells {
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

fn each(
    out: &mut String,
    results: &Results,
    title: &str,
    of: impl Fn(&Sample) -> Option<f64>,
    format: impl Fn(f64) -> String,
) {
    table(out, results, title, |cell, server| show(cell.figure(server, &of), |figure| format(figure.median)));
}

fn ratios(out: &mut String, results: &Results, title: &str, of: impl Fn(&Sample) -> Option<f64>) {
    table(out, results, title, |cell, server| show(cell.ratio(server, FLOOR, &of), with_spread));
}

fn table(out: &mut String, results: &Results, title: &str, content: impl Fn(&CellResult, &str) -> String) {
    let servers = results.measured(PEERS.iter().map(|peer| peer.name));
    heading(out, title, ["operation", "threads", "where"].into_iter().chain(servers.iter().copied()));
    for cell in &results.cells {
        let front =
            [cell.cell.workload.title().to_owned(), cell.cell.threads.to_string(), cell.cell.place().to_owned()];
        row(out, front.into_iter().chain(servers.iter().map(|server| content(cell, server))));
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

fn missing(out: &mut String, results: &Results) {
    if results.missing.is_empty() {
        return;
    }
    heading(out, "Not measured", ["server", "where", "why"]);
    for missing in &results.missing {
        let place = missing.cell.map_or_else(|| String::from("at all"), |cell| cell.to_string());
        row(out, [missing.server.clone(), place, missing.reason.replace('|', "/")]);
    }
}

fn show(figure: Option<Figure>, format: impl Fn(Figure) -> String) -> String {
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
