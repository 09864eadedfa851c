//! How far some work is, on stderr: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use faculty_escape as escape;
use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal;

/// Without a terminal, a line at most this often.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// A bar behind its label, or lines that begin with it.
pub(crate) struct Bar {
    label: String,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Bar {
    /// With `json` there is no bar: whoever prints events asks [`Bar::is_line_due`] alone.
    pub(crate) fn new(label: &str, json: bool) -> Self {
        let shows = !json && !terminal::is_silent() && std::io::stderr().is_terminal();
        let bar = shows.then(|| {
            let style = ProgressStyle::with_template("{prefix} [{bar:24}] {msg}")
                .expect("the template is a constant of ours")
                .progress_chars("=> ");
            ProgressBar::new(0).with_style(style).with_prefix(escape::name(label).into_owned())
        });
        Self { label: label.to_owned(), bar, last_line: Instant::now() }
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Moves the bar, where there is one; says whether there is.
    pub(crate) fn advance(&self, done: u64, all: u64, message: &str) -> bool {
        let Some(bar) = &self.bar else { return false };
        bar.set_length(all);
        bar.set_position(done);
        bar.set_message(message.to_owned());
        true
    }

    /// Moves the bar, or prints a line if one is due or `now` asks for it.
    pub(crate) fn show(&mut self, done: u64, all: u64, message: &str, now: bool) {
        if !self.advance(done, all, message) && (now || self.is_line_due()) {
            self.line(&format!("{}: {message}", self.label));
        }
    }

    /// Whether the last line is long ago.
    pub(crate) fn is_line_due(&self) -> bool {
        self.last_line.elapsed() >= LINE_EVERY
    }

    /// Counts a line that went elsewhere.
    pub(crate) fn line_is_out(&mut self) {
        self.last_line = Instant::now();
    }

    /// A line above the bar.
    pub(crate) fn line(&mut self, text: &str) {
        self.line_is_out();
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
