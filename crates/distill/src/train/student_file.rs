//! The student alone in a file, with what its user has to know.

use std::path::Path;

use faculty_files as files;
use faculty_files::failed;
use faculty_nets::{Network, weights};

use crate::checkpoint::BestEpoch;
use crate::error::Result;
use crate::record::RunCard;
use crate::run_folder::StudentFiles;
use crate::student::{ENCODER, INPUT_SHAPE, MAX_TOKENS};

/// Writes it.
pub(super) fn write_student(
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
    if let Some(encoder) = student.graph().encoder() {
        metadata.push((ENCODER.to_owned(), encoder.to_json(&card.classes)));
    }
    if let Some(max_tokens) = card.max_tokens {
        metadata.push((MAX_TOKENS.to_owned(), max_tokens.to_string()));
    }
    if !card.changes.is_empty() {
        metadata.push(("changes".to_owned(), json(&card.changes)));
    }
    weights::write(path, &student.state_dict(), &metadata.into_iter().collect())?;
    Ok(())
}

/// Puts the best student of a checkpoint in the place of what is there, which may be of a later
/// epoch that is now trained again.
pub(super) fn write_or_remove_best(
    files: &StudentFiles,
    best: Option<(&Network, BestEpoch)>,
    card: &RunCard,
) -> Result<()> {
    match best {
        _ if files.looks_on => Ok(()),
        Some((student, best)) => write_student(&files.best, student, card, best.epoch),
        None => Ok(files::remove(&files.best).map_err(failed("remove", &files.best))?),
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data always serialises")
}
