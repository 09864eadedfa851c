//! Heads inside teachers, trained before whatever needs them.

use std::io::IsTerminal as _;
use std::sync::atomic::AtomicBool;

use faculty_data::Dataset;
use faculty_distill::heads::{HeadsEvent, HeadsPlan};
use faculty_distill::recipe::Recipe;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::shown;
use crate::failure::Failure;
use crate::progress::{duration, print_json};
use crate::table::percent;

/// The recipe with its heads as teachers of their own; trains those that are missing.
pub(super) fn mount(
    recipe: &Recipe,
    dataset: &Dataset,
    stop: &AtomicBool,
    json: bool,
) -> Result<Recipe, Failure> {
    let plan = HeadsPlan::new(recipe, dataset)?;
    if !json && plan.heads().next().is_some() {
        let missing = plan.heads().filter(|(_, trained)| !trained).count();
        let (all, folder) = (plan.heads().count(), plan.folder());
        eprintln!("heads: {all} in `{}`, {missing} to be trained", shown(&folder));
    }
    let mut progress = Progress::new(json);
    let trained = plan.train(stop, &mut |event| progress.show(&event));
    progress.finish();
    trained?;
    Ok(plan.recipe())
}

/// A bar on a terminal, a line an epoch, JSON lines on request.
pub(super) struct Progress {
    json: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(json: bool) -> Self {
        let bar = (!json && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("heads [{bar:24}] {msg}")
                .expect("the template is a constant of ours")
                .progress_chars("=> ");
            ProgressBar::new(0).with_style(style)
        });
        Self { json, bar }
    }

    pub(super) fn show(&mut self, event: &HeadsEvent<'_>) {
        match event {
            HeadsEvent::Batch { teacher, epoch, epochs, batch, batches } => {
                if let Some(bar) = &self.bar {
                    bar.set_length((batches * epochs) as u64);
                    bar.set_position(((epoch - 1) * batches + batch) as u64);
                    bar.set_message(format!("teacher {teacher}: epoch {epoch}/{epochs}"));
                }
            }
            HeadsEvent::Epoch { teacher, epoch, epochs, heads, seconds } => {
                if self.json {
                    print_json(&json!({
                        "event": "heads", "teacher": teacher, "epoch": epoch, "epochs": epochs,
                        "heads": heads, "seconds": seconds,
                    }));
                    return;
                }
                let each = |own: &faculty_distill::heads::HeadProgress| {
                    format!("{} {}", own.name, percent(own.train_top1))
                };
                let all: Vec<String> = heads.iter().map(each).collect();
                let took = duration(*seconds);
                let line = format!("heads: epoch {epoch}/{epochs}  {}  {took}", all.join("  "));
                match &self.bar {
                    Some(bar) => bar.suspend(|| eprintln!("{line}")),
                    None => eprintln!("{line}"),
                }
            }
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
