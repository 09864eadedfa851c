//! One page, in one file: nothing is fetched, and its tables and pictures are there without scripts.
//!
//! The page is well-formed XML too, so that a strict parser can check it. A content policy in its
//! head forbids every request, should a bug ever let one in.

use std::fmt::Write as _;

pub(crate) use self::figures::figures;
use crate::charts;
use crate::load::{Report, Run};
use crate::recipes;
use crate::svg::{escape, run_mark};
use crate::table::Table;
use crate::tables;

mod explorer;
mod figures;
mod headline;

pub use headline::headline;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// The whole page.
#[must_use]
pub fn page(report: &Report) -> String {
    let title = escape(&report.title);
    let mut sections: Vec<(&str, &str, String)> = vec![("answer", "Answer", answer(report))];
    let mut section = |id, title, body: String| {
        if !body.is_empty() {
            sections.push((id, title, body));
        }
    };
    let curves = figures(&charts::learning(report));
    section(
        "learning",
        "Learning",
        if curves.is_empty() { curves } else { switches(report) + &curves },
    );
    if let Some(run) = report.focus() {
        section("teachers", "Teachers", explorer::section(report, run));
        section("classes", "Classes", classes(run));
        section("calibration", "Calibration", figures(charts::calibrated(run).as_slice()));
        section("speed", "Speed", figures(charts::trade_off(run).as_slice()));
    }
    section("details", "Details", details(report));
    frame(&title, &sections)
}

/// A page of sections with their ids and titles; the first has no heading.
pub(crate) fn frame(title: &str, sections: &[(&str, &str, String)]) -> String {
    let links: String = sections
        .iter()
        .skip(1)
        .map(|(id, title, _)| format!("<a href=\"#{id}\">{title}</a>"))
        .collect();
    let mut body = String::new();
    for (id, title, content) in sections {
        let heading = match *id {
            "answer" => String::new(),
            _ => format!("<h2>{title}</h2>"),
        };
        let _ = write!(body, "<section id=\"{id}\">{heading}\n{content}</section>\n");
    }
    format!(
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\"><head>\
         <meta charset=\"utf-8\"/>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <meta name=\"color-scheme\" content=\"light dark\"/>\
         <link rel=\"icon\" href=\"data:,\"/>\
         <title>{title} · faculty</title>\n<style>\n{STYLE}</style></head>\n<body>\n\
         <header><h1>{title}</h1><nav>{links}</nav></header>\n<main>\n{body}</main>\n\
         <footer>Made by faculty {version}. This file needs no network and sends nothing.</footer>\n\
         <script>\n{SCRIPT}</script></body></html>\n",
        version = escape(env!("CARGO_PKG_VERSION")),
    )
}

/// What came out, first in words.
fn answer(report: &Report) -> String {
    let mut text = String::new();
    for (at, line) in headline(report).iter().enumerate() {
        let class = if at == 0 { "lead" } else { "more" };
        let _ = write!(text, "<p class=\"{class}\">{}</p>", prose(line));
    }
    if !report.notes.is_empty() {
        text +=
            "<div class=\"notes\" role=\"note\"><strong>This report is not complete.</strong><ul>";
        for note in &report.notes {
            let _ = write!(text, "<li>{}</li>", prose(note));
        }
        text += "</ul></div>";
    }
    let results = tables::results(report);
    if !results.rows.is_empty() {
        let (charts, table) = (charts::answer(report), results.html());
        // A verdict needs the whole width.
        let class = if charts.len() == 1 { "beside" } else { "below" };
        let _ = write!(text, "<div class=\"{class}\">{}{table}</div>", figures(&charts));
    }
    for (own, caption, title) in report.comparison.iter().flat_map(|own| {
        [
            (&own.left_out, "Left out of the comparison.", "Methods that were left out"),
            (&own.live, "Their teachers ran beside them.", "Methods without the cache"),
            (
                &own.warming_up,
                "The runs are no longer than the warm-up as published.",
                "Long warm-ups",
            ),
        ]
    }) {
        if !own.is_empty() {
            let mut table = Table::new(caption, &["method", "reason"]);
            table.rows =
                own.iter().map(|own| vec![own.method.clone(), own.reason.clone()]).collect();
            text += &folded(title, &table);
        }
    }
    text
}

fn classes(run: &Run) -> String {
    let mut text = figures(&charts::classes(run));
    let confusions = tables::confusions(run).filter(|table| !table.rows.is_empty());
    text += &confusions.map_or_else(String::new, |table| table.html());
    if let Some(table) = tables::per_class(run).filter(|table| !table.rows.is_empty()) {
        text += &match table.rows.len() {
            0..=20 => table.html(),
            _ => folded("Accuracy on each class, as a table", &table),
        };
    }
    text
}

fn details(report: &Report) -> String {
    let mut text = recipes::differences(report).map_or_else(String::new, |table| table.html());
    if let Some(run) = report.focus() {
        text += &tables::facts(run).map_or_else(String::new, |table| table.html());
        if let Some(last) = run.epochs.last() {
            text += &tables::terms(run, last).html();
        }
    }
    for run in report.runs.iter().filter(|run| !run.epochs.is_empty()) {
        text += &folded(&format!("Epochs of {}", run.name), &tables::epochs(run));
    }
    text
}

/// Switches runs off and on in all curves; shown by the script alone.
fn switches(report: &Report) -> String {
    let groups = report.groups();
    if groups.len() < 2 {
        return String::new();
    }
    let switch = |(at, (name, _)): (usize, &(&str, _))| {
        format!(
            "<label class=\"s{}\"><input type=\"checkbox\" checked=\"\" value=\"{}\"/>{}</label>",
            at % 8,
            run_mark(at),
            escape(name)
        )
    };
    let switches: String = groups.iter().enumerate().map(switch).collect();
    format!("<form id=\"runs\" class=\"runs\" hidden=\"\">{switches}</form>\n")
}

/// A table that is closed at first.
fn folded(title: &str, table: &Table) -> String {
    format!("<details><summary>{}</summary>{}</details>\n", escape(title), table.html())
}

/// A sentence of ours, with what stands between backticks as code.
fn prose(text: &str) -> String {
    let parts: Vec<String> = text.split('`').map(escape).collect();
    let code = |(at, part): (usize, &String)| match at % 2 {
        1 if at + 1 < parts.len() => format!("<code>{part}</code>"),
        1 => format!("`{part}"),
        _ => part.clone(),
    };
    parts.iter().enumerate().map(code).collect()
}
