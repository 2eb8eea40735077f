//! The chart: for each operation a bar a server, by its rate against the floor. A drawing for the book, not a tool.

use std::fmt::Write;

use crate::compare::results::Results;
use crate::compare::server::{FLOOR, PEERS};

const BAR: usize = 11;
const GAP: usize = 12;
const LEFT: usize = 290;
const WIDTH: usize = 900;
/// The rate at the right edge, as a multiple of the floor's.
const EDGE: f64 = 2.0;
const COLOURS: &[&str] = &["#c0392b", "#e59866", "#2471a3", "#7fb3d5", "#7d3c98", "#229954", "#9a7d0a", "#5d6d7e"];

/// The chart as SVG.
#[must_use]
pub fn svg(results: &Results) -> String {
    let servers = results.measured(PEERS.iter().map(|peer| peer.name).filter(|name| !["native", FLOOR].contains(name)));
    let group = servers.len() * BAR + GAP;
    let top = 60;
    let height = top + results.cells.len() * group + 20;
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = draw(&mut out, results, &servers, (top, height, group));
    out
}

fn draw(
    out: &mut String,
    results: &Results,
    servers: &[&str],
    (top, height, group): (usize, usize, usize),
) -> std::fmt::Result {
    let machine = &results.machine;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"10\">"
    )?;
    writeln!(out, "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>")?;
    writeln!(
        out,
        "<text x=\"10\" y=\"18\" font-size=\"13\">Operations a second against the floor (Linux {}, {} CPUs, {})</text>",
        escape(&machine.kernel),
        machine.cpus,
        escape(&machine.date),
    )?;
    for (number, server) in servers.iter().enumerate() {
        let x = 10 + number * 105;
        writeln!(out, "<rect x=\"{x}\" y=\"30\" width=\"10\" height=\"10\" fill=\"{}\"/>", colour(number))?;
        writeln!(out, "<text x=\"{}\" y=\"39\">{}</text>", x + 14, escape(server))?;
    }
    for (step, label) in ["0", "0.5", "1 (floor)", "1.5", "2"].iter().enumerate() {
        let x = LEFT + (WIDTH - LEFT - 20) * step / 4;
        writeln!(out, "<line x1=\"{x}\" y1=\"{top}\" x2=\"{x}\" y2=\"{}\" stroke=\"#ccc\"/>", height - 15)?;
        writeln!(out, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", height - 4)?;
    }
    for (number, cell) in results.cells.iter().enumerate() {
        let y = top + number * group;
        let middle = y + servers.len() * BAR / 2 + 4;
        writeln!(
            out,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>",
            LEFT - 6,
            escape(&cell.cell.to_string())
        )?;
        for (place, server) in servers.iter().enumerate() {
            let Some(ratio) = cell.ratio(server, FLOOR, |sample| Some(sample.rate)) else { continue };
            let span = f64::from(u32::try_from(WIDTH - LEFT - 20).unwrap_or(0));
            let width = ratio.median.min(EDGE) / EDGE * span;
            writeln!(
                out,
                "<rect x=\"{LEFT}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"><title>{:.2} ± {:.2}</title></rect>",
                y + place * BAR,
                BAR - 1,
                colour(place),
                ratio.median,
                ratio.spread,
            )?;
        }
    }
    writeln!(out, "</svg>")
}

fn colour(number: usize) -> &'static str {
    COLOURS.get(number % COLOURS.len()).unwrap_or(&"black")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
