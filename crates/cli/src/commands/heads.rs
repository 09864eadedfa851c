//! Heads inside teachers, trained before whatever needs them.

use std::sync::atomic::AtomicBool;

use faculty_data::Dataset;
use faculty_distill::heads::{HeadsEvent, HeadsPlan};
use faculty_distill::recipe::Recipe;
use serde_json::json;

use super::shown;
use crate::bar::Bar;
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
    bar: Bar,
}

impl Progress {
    pub(super) fn new(json: bool) -> Self {
        Self { json, bar: Bar::new("heads", json) }
    }

    pub(super) fn show(&mut self, event: &HeadsEvent<'_>) {
        match event {
            HeadsEvent::Batch { teacher, epoch, epochs, batch, batches } => {
                let (done, all) = ((epoch - 1) * batches + batch, batches * epochs);
                let message = format!("teacher {teacher}: epoch {epoch}/{epochs}");
                self.bar.advance(done as u64, all as u64, &message);
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
                let all = all.join("  ");
                self.bar.line(&format!("heads: epoch {epoch}/{epochs}  {all}  {took}"));
            }
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish();
    }
}
