//! The end of a run: final numbers, the student, the card.

use std::path::Path;

use faculty_nets::{Network, weights};

use super::Training;
use crate::error::Result;
use crate::evaluate::network_quality;
use crate::record::{RunCard, StudentResult};

impl Training<'_> {
    /// Final test numbers of the last and of the best epoch; the best student is the result.
    pub(super) fn finish(self) -> Result<RunCard> {
        let Self { learner, data, mut card, folder, progress, best, .. } = self;
        let last = &learner.student.network;
        let quality = |network: &Network, part: &Option<faculty_data::Part>| match part {
            Some(part) => network_quality(network, part, &data.normalisation),
            None => Ok(None),
        };
        card.seconds = progress.seconds;
        card.last = StudentResult {
            epoch: progress.epoch,
            validation: quality(last, &data.validation)?,
            test: quality(last, &data.test)?,
        };
        let earlier = progress.best.filter(|best| best.epoch != progress.epoch);
        let student = match (earlier, &best) {
            (Some(epoch), Some(student)) => {
                card.best = StudentResult {
                    epoch: epoch.epoch,
                    validation: Some(epoch.quality),
                    test: quality(student, &data.test)?,
                };
                student
            }
            _ => {
                card.best = card.last;
                last
            }
        };
        write_student(&folder.student(), student, &card, card.best.epoch)?;
        folder.write_card(&card)?;
        Ok(card)
    }
}

/// The student alone, with what its user has to know.
pub(super) fn write_student(
    path: &Path,
    student: &Network,
    card: &RunCard,
    epoch: usize,
) -> Result<()> {
    let mut metadata = vec![
        ("network".to_owned(), student.name().to_owned()),
        ("classes".to_owned(), student.classes().to_string()),
        ("method".to_owned(), card.method.clone()),
        ("epoch".to_owned(), epoch.to_string()),
        ("faculty".to_owned(), card.faculty.clone()),
        ("mean".to_owned(), json(&card.mean)),
        ("std".to_owned(), json(&card.std)),
        ("class_names".to_owned(), json(&card.classes)),
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
