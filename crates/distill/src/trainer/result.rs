//! The end of a run: final numbers, the student, the card.

use std::path::Path;

use faculty_nets::{Network, weights};

use super::{OUTPUTS, Training, broken_quality};
use crate::checkpoint::BestEpoch;
use crate::error::{Error, Result};
use crate::evaluate::network_quality;
use crate::record::{RunCard, StudentResult};
use crate::report_data::{self, Subject};
use crate::run::RunData;
use crate::run_folder::RunFolder;
use crate::student::INPUT_SHAPE;

impl Training<'_> {
    /// Final test numbers of the last and of the best epoch; the best student is the result.
    pub(super) fn finish(self) -> Result<RunCard> {
        let Self {
            learner, mut teachers, data, settings, mut card, folder, progress, best, ..
        } = self;
        card.seconds = progress.seconds;
        let best = progress.best.zip(best.as_ref());
        let last = &learner.student.network;
        let student = deliver(&folder.student(), last, best, &data, progress.epoch, &mut card)?;
        let (epochs, batch_size) = (settings.schedule.epochs, settings.batch_size);
        let subject = Subject {
            learner: &learner,
            teachers: &mut teachers,
            data: &data,
            student,
            epochs,
            batch_size,
        };
        folder.write_report(&report_data::collect(subject)?)?;
        // Last: with it the run is finished.
        folder.write_card(&card)?;
        match broken_quality(card.best.test) {
            Some(value) => Err(broken_at_the_end(&card, value, &folder)),
            None => Ok(card),
        }
    }
}

/// A student that answers the training and validation images, but not those of the test part.
pub(crate) fn broken_at_the_end(card: &RunCard, value: f64, folder: &RunFolder) -> Error {
    let kept = folder.newest_checkpoint().map(Path::to_owned);
    let what = format!("{OUTPUTS} on the test part");
    Error::NotFinite { what, value, epoch: card.best.epoch, batch: 0, kept }
}

/// Measures a network after its last epoch and as it was at the best one; puts the numbers on the
/// card and the best one's weights into `path`; gives that network.
pub(crate) fn deliver<'a>(
    path: &Path,
    last: &'a Network,
    best: Option<(BestEpoch, &'a Network)>,
    data: &RunData,
    epoch: usize,
    card: &mut RunCard,
) -> Result<&'a Network> {
    let quality = |network: &Network, part: &Option<faculty_data::Part>| match part {
        Some(part) => network_quality(network, part, &data.normalisation),
        None => Ok(None),
    };
    card.last = StudentResult {
        epoch,
        validation: quality(last, &data.validation)?,
        test: quality(last, &data.test)?,
    };
    let student = match best.filter(|(best, _)| best.epoch != epoch) {
        None => {
            card.best = card.last;
            last
        }
        Some((best, student)) => {
            card.best = StudentResult {
                epoch: best.epoch,
                validation: Some(best.quality),
                test: quality(student, &data.test)?,
            };
            student
        }
    };
    write_student(path, student, card, card.best.epoch)?;
    Ok(student)
}

/// The student alone, with what its user has to know.
pub(crate) fn write_student(
    path: &Path,
    student: &Network,
    card: &RunCard,
    epoch: usize,
) -> Result<()> {
    let input = student.graph().input_shape();
    let mut metadata = vec![
        ("network".to_owned(), student.name().to_owned()),
        ("classes".to_owned(), student.classes().to_string()),
        ("method".to_owned(), card.method.clone()),
        ("epoch".to_owned(), epoch.to_string()),
        ("faculty".to_owned(), card.faculty.clone()),
        ("mean".to_owned(), json(&card.mean)),
        ("std".to_owned(), json(&card.std)),
        ("class_names".to_owned(), json(&card.classes)),
        (INPUT_SHAPE.to_owned(), json(&[input.channels, input.height, input.width])),
    ];
    if !card.changes.is_empty() {
        metadata.push(("changes".to_owned(), json(&card.changes)));
    }
    weights::write(path, &student.state_dict(), &metadata.into_iter().collect())?;
    Ok(())
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data always serialises")
}
