//! The chart: for each operation a bar a server, by its rate against one of them. A drawing for the book, not a tool.

use std::fmt::Write;

use crate::compare::cell::{Cell, Placement, Session};
use crate::compare::peers::{FLOOR, Ground, LIBFUSE_MIRROR, NATIVE};
use crate::compare::results::{CellResult, Machine, Results};

const BAR: usize = 9;
const GAP: usize = 12;
const LEFT: usize = 290;
const WIDTH: usize = 900;
/// Above the bars of a panel: its title, who is who, and some room.
const HEAD: usize = 75;
/// Below them: the scale.
const FOOT: usize = 40;
/// Names in a line of the legend, and the room for each.
const NAMES: usize = 8;
const NAME: usize = 110;
const COLOURS: &[&str] = &[
    "#c0392b", "#e59866", "#f1948a", "#2471a3", "#7fb3d5", "#7d3c98", "#229954", "#9a7d0a", "#5d6d7e", "#45b39d",
    "#af7ac5",
];

/// A part of the chart.
struct Panel<'r> {
    title: &'static str,
    cells: Vec<&'r CellResult>,
    servers: Vec<&'static str>,
    against: &'static str,
    /// The rate at the right edge, as a multiple of the other's.
    edge: f64,
}

impl Panel<'_> {
    fn group(&self) -> usize {
        self.servers.len() * BAR + GAP
    }

    fn height(&self) -> usize {
        HEAD + self.cells.len() * self.group() + FOOT
    }
}

/// The chart as SVG.
#[must_use]
pub fn svg(results: &Results) -> String {
    let panel = |title, ground, against, edge| {
        let plain = |cell: &Cell| {
            cell.ground == ground && (cell.threads, cell.placement, cell.session) == (1, Placement::Free, Session::Same)
        };
        let (cells, mut servers) = results.select(plain);
        servers.retain(|name| ![NATIVE, against].contains(name));
        Panel { title, cells, servers, against, edge }
    };
    let panels = [
        panel("Operations a second against the floor, one client", Ground::Table, FLOOR, 2.0),
        panel("A directory mirrored: speed against libfuse's passthrough_ll", Ground::Mirror, LIBFUSE_MIRROR, 4.0),
    ];
    let panels: Vec<_> = panels.into_iter().filter(|panel| !panel.servers.is_empty()).collect();
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = draw(&mut out, &results.machine, &panels);
    out
}

fn draw(out: &mut String, machine: &Machine, panels: &[Panel<'_>]) -> std::fmt::Result {
    let height: usize = panels.iter().map(Panel::height).sum();
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"10\">"
    )?;
    writeln!(out, "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>")?;
    let mut top = 0;
    for panel in panels {
        writeln!(
            out,
            "<text x=\"10\" y=\"{}\" font-size=\"13\">{} (Linux {}, {} CPUs, {})</text>",
            top + 18,
            escape(panel.title),
            escape(&machine.kernel),
            machine.cpus,
            escape(&machine.date),
        )?;
        legend(out, panel, top + 30)?;
        bars(out, panel, top + HEAD)?;
        top += panel.height();
    }
    writeln!(out, "</svg>")
}

fn legend(out: &mut String, panel: &Panel<'_>, top: usize) -> std::fmt::Result {
    for (number, server) in panel.servers.iter().enumerate() {
        let (x, y) = (10 + number % NAMES * NAME, top + number / NAMES * 16);
        writeln!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"10\" height=\"10\" fill=\"{}\"/>", colour(number))?;
        writeln!(out, "<text x=\"{}\" y=\"{}\">{}</text>", x + 14, y + 9, escape(server))?;
    }
    Ok(())
}

fn bars(out: &mut String, panel: &Panel<'_>, top: usize) -> std::fmt::Result {
    let group = panel.group();
    let bottom = top + panel.cells.len() * group;
    for (step, part) in [0.0, 0.25, 0.5, 0.75, 1.0].into_iter().enumerate() {
        let x = LEFT + (WIDTH - LEFT - 20) * step / 4;
        let label = panel.edge * part;
        writeln!(out, "<line x1=\"{x}\" y1=\"{top}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#ccc\"/>")?;
        writeln!(out, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", bottom + 11)?;
    }
    for (number, cell) in panel.cells.iter().enumerate() {
        let y = top + number * group;
        let middle = y + panel.servers.len() * BAR / 2 + 4;
        let name = escape(cell.cell.workload.title());
        writeln!(out, "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>", LEFT - 6)?;
        for (place, server) in panel.servers.iter().enumerate() {
            let Some(ratio) = cell.ratio(server, panel.against, |sample| Some(sample.rate)) else { continue };
            let span = f64::from(u32::try_from(WIDTH - LEFT - 20).unwrap_or(0));
            let width = ratio.median.min(panel.edge) / panel.edge * span;
            writeln!(
                out,
                "<rect x=\"{LEFT}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"><title>{}: {:.2} ± {:.2}</title></rect>",
                y + place * BAR,
                BAR - 1,
                colour(place),
                escape(server),
                ratio.median,
                ratio.spread,
            )?;
        }
    }
    Ok(())
}

fn colour(number: usize) -> &'static str {
    COLOURS.get(number % COLOURS.len()).unwrap_or(&"black")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
