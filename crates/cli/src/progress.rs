//! Progress while a run trains: a bar on a terminal, a line now and then elsewhere, JSON lines on
//! request.

use std::time::{Duration, Instant};

use faculty_distill::Event;
use faculty_distill::record::EpochRecord;
use serde_json::json;

use crate::bar::Bar;
pub(crate) use crate::terminal::print_json;

/// Shows the events of one run.
pub(crate) struct Progress {
    epochs: usize,
    json: bool,
    bar: Bar,
    started: Instant,
    first_epoch: usize,
    epoch_lines: bool,
}

/// Shows the events of several runs, one after another.
pub(crate) struct RunsProgress {
    number: usize,
    runs: usize,
    json: bool,
    current: Option<Progress>,
}

impl RunsProgress {
    /// `finished` of `runs` runs are there already.
    pub(crate) fn new(finished: usize, runs: usize, json: bool) -> Self {
        Self { number: finished, runs, json, current: None }
    }

    /// Takes an event of the run `name`, which has `epochs` epochs.
    pub(crate) fn show(&mut self, name: &str, epochs: usize, event: &Event<'_>) {
        if matches!(event, Event::Started { .. }) {
            self.number += 1;
            // Events name the run alone; the count is for people.
            let label = match self.json {
                true => name.to_owned(),
                false => format!("{name} ({} of {})", self.number, self.runs),
            };
            let next = Progress::new(&label, epochs, self.json, false);
            if let Some(old) = self.current.replace(next) {
                old.finish();
            }
            if !self.json {
                eprintln!("{label}");
            }
        }
        if let Some(progress) = &mut self.current {
            progress.show(event);
        }
    }

    /// Clears the bar.
    pub(crate) fn finish(self) {
        if let Some(progress) = self.current {
            progress.finish();
        }
    }
}

/// Shows how far runs in programs of their own are, all together.
pub(crate) struct JobsProgress {
    runs: usize,
    all: usize,
    unit: &'static str,
    bar: Bar,
    started: Instant,
    looked: Instant,
}

/// How often the files of the other programs are read.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl JobsProgress {
    /// For `runs` runs of so many `unit`s each, epochs or steps.
    pub(crate) fn new(runs: usize, all: impl Iterator<Item = usize>, unit: &'static str) -> Self {
        let all = all.sum();
        let now = Instant::now();
        Self { runs, all, unit, bar: Bar::new("runs", false), started: now, looked: now }
    }

    /// `finished` runs are done; `done` counts the units of all runs, `before` of them from an earlier start.
    pub(crate) fn show(&mut self, finished: usize, done: impl Fn() -> usize, before: usize) {
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        let (done, all, unit) = (done(), self.all, self.unit);
        let eta = match done.saturating_sub(before) {
            0 => String::new(),
            new => {
                let each = self.started.elapsed().as_secs_f64() / new as f64;
                format!("  ETA {}", duration(each * all.saturating_sub(done) as f64))
            }
        };
        let message = format!("{finished} of {} finished  {unit} {done}/{all}{eta}", self.runs);
        self.bar.show(done as u64, all as u64, &message, false);
    }

    /// A line above the bar.
    pub(crate) fn line(&mut self, text: &str) {
        self.bar.line(text);
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish();
    }
}

impl Progress {
    /// For a run of `epochs` epochs. `label` stands in front of lines and events; `epoch_lines`
    /// keeps one line an epoch.
    pub(crate) fn new(label: &str, epochs: usize, json: bool, epoch_lines: bool) -> Self {
        let bar = Bar::new(label, json);
        Self { epochs, json, bar, started: Instant::now(), first_epoch: 1, epoch_lines }
    }

    /// Takes an event.
    pub(crate) fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { epoch, batch } => {
                self.first_epoch = *epoch;
                if (*epoch > 1 || *batch > 0) && !self.json {
                    let after = match batch {
                        0 => String::new(),
                        batch => format!(" after batch {batch}"),
                    };
                    let label = self.bar.label();
                    let text = format!("{label}: resumes with epoch {epoch}{after}");
                    self.bar.line(&text);
                }
            }
            Event::Warning(text) if self.json => {
                print_json(&json!({"event": "warning", "run": self.bar.label(), "text": text}));
            }
            Event::Warning(text) => self.bar.line(&format!("warning: {text}")),
            Event::StoppedEarly(stop) if self.json => {
                print_json(
                    &json!({"event": "stopped_early", "run": self.bar.label(), "stop": stop}),
                );
            }
            Event::StoppedEarly(stop) => {
                let text = format!("{}: {}", self.bar.label(), stop.sentence());
                self.bar.line(&text);
            }
            Event::Batch { .. } if self.json => {}
            Event::Batch { epoch, batch, batches, loss, images_per_second, .. } => {
                let done = (epoch - self.first_epoch) as f64 + *batch as f64 / *batches as f64;
                let message = format!(
                    "epoch {epoch}/{}  loss {loss:.3}  {images_per_second:.0} samples/s  ETA {}",
                    self.epochs,
                    self.eta(done)
                );
                let (done, all) = ((epoch - 1) * batches + batch, batches * self.epochs);
                self.bar.show(done as u64, all as u64, &message, false);
            }
            Event::Epoch(record) => {
                let label = self.bar.label().to_owned();
                self.epoch(&label, record);
            }
        }
    }

    /// An epoch of the run, or of a network that is trained along under another name.
    pub(crate) fn epoch(&mut self, label: &str, record: &EpochRecord) {
        if self.json {
            print_json(&json!({"event": "epoch", "run": label, "record": record}));
        } else if self.epoch_lines || self.bar.is_line_due() {
            let done = (record.epoch + 1 - self.first_epoch) as f64;
            let validation = record
                .validation
                .map_or_else(String::new, |q| format!("  validation {:.2} %", q.top1));
            self.bar.line(&format!(
                "{label}: epoch {}/{}  loss {:.3}  train {:.2} %{validation}  {:.0} samples/s  ETA {}",
                record.epoch,
                self.epochs,
                record.loss,
                record.train_top1,
                record.images_per_second,
                self.eta(done),
            ));
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish();
    }

    fn eta(&self, epochs_done: f64) -> String {
        let total = (self.epochs + 1 - self.first_epoch) as f64;
        let left = self.started.elapsed().as_secs_f64() * (total / epochs_done.max(1e-9) - 1.0);
        duration(left)
    }
}

/// `1 h 12 min`, `3 min 5 s`, `40 s`
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let texts = [40.2, 185.0, 4320.0].map(duration);
        assert_eq!(texts, ["40 s", "3 min 5 s", "1 h 12 min"]);
    }
}
