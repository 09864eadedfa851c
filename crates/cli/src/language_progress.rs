//! Progress while language models train: a bar or lines on stderr, JSON lines on request.

use faculty_language::LanguageEvent;
use faculty_records::language_run::LanguageRecord;
use serde_json::{Value, json};

use crate::bar::Bar;
use crate::terminal::print_json;

/// Shows the events of one run.
pub(crate) struct LanguageProgress {
    bar: Bar,
    steps: u64,
    json: bool,
    /// Names the run in events, where there are several.
    run: Option<String>,
    /// Keeps a line a measurement.
    lines: bool,
    /// The last measurement.
    last: String,
}

impl LanguageProgress {
    /// For a run of so many steps; `label` stands in front of its lines.
    pub(crate) fn new(label: &str, steps: usize, json: bool) -> Self {
        let bar = Bar::new(label, json);
        Self { bar, steps: steps as u64, json, run: None, lines: true, last: String::new() }
    }

    /// One of several runs, by its name in events: a line now and then is enough.
    pub(crate) fn of_run(self, name: &str) -> Self {
        Self { run: Some(name.to_owned()), lines: false, ..self }
    }

    /// Takes an event.
    pub(crate) fn show(&mut self, event: &LanguageEvent<'_>) {
        let steps = self.steps;
        match event {
            LanguageEvent::Resumed { step, warning } => {
                if let Some(warning) = warning {
                    self.bar.line(&format!("warning: {warning}"));
                }
                match self.json {
                    true => self.event(json!({"event": "resumed", "step": step})),
                    false => self.bar.line(&format!("goes on behind step {step}")),
                }
            }
            LanguageEvent::Step { step, result } if !self.json => {
                let (loss, last) = (&result.loss, &self.last);
                let words =
                    format!("step {step}/{steps}  CE {:.3}  KD {:.3}{last}", loss.ce, loss.kd);
                self.bar.show(*step, steps, &words, false);
            }
            LanguageEvent::Record(record) => {
                self.last = validation(record);
                match self.json {
                    true => self.event(json!({"event": "record", "record": record})),
                    false => {
                        self.bar.show(record.step, steps, &line(record, steps), self.lines);
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish();
    }

    fn event(&self, mut event: Value) {
        if let Some(run) = &self.run {
            event["run"] = json!(run);
        }
        print_json(&event);
    }
}

fn validation(record: &LanguageRecord) -> String {
    record.validation.map_or(String::new(), |own| {
        format!("  validation {:.3} nats, {:.3} bits/char", own.nll, own.bits_per_character)
    })
}

fn line(record: &LanguageRecord, steps: u64) -> String {
    let weights = match record.teacher_weights.len() {
        0 | 1 => String::new(),
        _ => {
            let own: Vec<String> =
                record.teacher_weights.iter().map(|own| format!("{own:.2}")).collect();
            format!("  weights {}", own.join(" "))
        }
    };
    let accepted = record
        .accepted
        .map_or_else(String::new, |kept| format!("  drafts kept {:.1} %", 100.0 * kept));
    format!(
        "step {}/{steps}  CE {:.3}  KD {:.3}{weights}{accepted}{}",
        record.step,
        record.ce,
        record.kd,
        validation(record)
    )
}
