//! Training a checked run: epochs over views, one step a batch, records, checkpoints, and the final
//! numbers.
//!
//! ```text
//! train      one student            Cohort of one member
//! mutual     several in step        Cohort of several (plan/mutual.rs)
//! ```

use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::error::Result;
use crate::metrics::Quality;
use crate::record::{RunCard, StudentResult};
use crate::report_data::{self, ReportInputs};
use crate::run::CheckedRun;
use crate::run_folder::Start;

mod checks;
mod cohort;
mod deliver;
mod event;
mod keep;
mod member;
mod student_file;
mod teacher_fault;

pub(crate) use cohort::Cohort;
pub use event::Event;
pub(crate) use member::Member;

/// Trains a checked run to its end in `folder`.
///
/// `stop` ends the run after the current batch, with a checkpoint.
///
/// # Errors
/// When the folder cannot be used, a loss breaks down, the run is stopped, or a file cannot be
/// read or written. A checkpoint from which the run can go on stays in every case, once there is
/// one.
pub fn train(
    run: CheckedRun,
    folder: &Path,
    start: Start,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<RunCard> {
    let CheckedRun { learner, teachers, data, settings, card, identity, allowed, .. } = run;
    let sources = teachers.iter().map(|teacher| teacher.name.clone()).collect();
    let student = Member::new("student", learner, sources, card);
    let mut cohort =
        Cohort::open(vec![student], teachers, data, settings, identity, folder, stop, start)?;
    let observe = &mut |_: &str, event: Event<'_>| observe(event);
    cohort.begin(start, allowed.as_deref(), observe)?;
    cohort.train(observe)?;
    finish(cohort)
}

/// Final test numbers of the last and of the best epoch; the best student is the result.
fn finish(mut cohort: Cohort<'_>) -> Result<RunCard> {
    let student = cohort.deliver(0)?;
    let Cohort { members, teachers, data, settings, folder, progress, .. } = &mut cohort;
    let (epochs, batch_size) = (progress.epoch, settings.batch_size);
    let learner = &members[0].learner;
    let subject = ReportInputs { learner, teachers, data, student: &student, epochs, batch_size };
    if !folder.looks_on() {
        folder.write_report(&report_data::collect(subject)?)?;
    }
    // Last: with it the run is finished.
    folder.write_card(&members[0].card)?;
    cohort.check_delivered(0)?;
    Ok(cohort.members.swap_remove(0).card)
}

/// Accuracy of a result for tables: the test split if there is one, else validation.
#[must_use]
pub fn headline(result: &StudentResult) -> Option<Quality> {
    result.test.or(result.validation)
}

#[cfg(test)]
mod tests;
