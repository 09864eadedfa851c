//! A checkpoint's file: written whole, read whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use faculty_nets::Network;
use faculty_nets::weights::{self, StateDict};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::progress::{FORMAT, Progress};
use super::state::{Saved, collect_state, damaged, restore_state};
use crate::error::Result;
use crate::learner::Learner;
use crate::optimizer::OptimizerConfig;

/// Writes a checkpoint: the whole state of each student.
pub(super) fn save(
    path: &Path,
    students: &[Saved<'_>],
    optimizer: &OptimizerConfig,
    progress: &Progress,
) -> Result<()> {
    let mut tensors = StateDict::new();
    let mut steps = BTreeMap::new();
    for student in students {
        collect_state(student, optimizer, &mut tensors, &mut steps);
    }
    let metadata = [("progress", json(progress)), ("optimizer_steps", json(&steps))];
    let mut metadata = metadata.map(|(key, text)| (key.to_owned(), text)).into();
    seal(&tensors, &mut metadata);
    weights::write(path, &tensors, &metadata)?;
    Ok(())
}

/// Gives the metadata of a checkpoint the checksum of its content.
pub fn seal(tensors: &StateDict, metadata: &mut BTreeMap<String, String>) {
    let text = |key: &str| metadata.get(key).map_or("", String::as_str);
    let checksum = checksum(tensors, [text("progress"), text("optimizer_steps")]);
    metadata.insert("checksum".to_owned(), checksum);
}

/// A checkpoint that was read and is whole.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    /// How far it is.
    pub progress: Progress,
    tensors: StateDict,
    steps: BTreeMap<String, u64>,
}

impl Checkpoint {
    /// Reads one.
    ///
    /// # Errors
    /// When the file is damaged or of another version.
    pub fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let (tensors, metadata) = weights::read_safetensors(path)?;
        let not_ours = || damaged(path, "it is not a checkpoint of faculty".to_owned());
        let text = |key: &str| metadata.get(key).ok_or_else(not_ours);
        let (progress, steps) = (text("progress")?, text("optimizer_steps")?);
        // The version first: another one may have other fields.
        let Version { format } = parse(path, progress)?;
        if format != FORMAT {
            return Err(damaged(path, format!("format {format}, expected {FORMAT}")));
        }
        if *text("checksum")? != checksum(&tensors, [progress, steps]) {
            return Err(damaged(path, "it does not have its checksum".to_owned()));
        }
        let (progress, steps) = (parse(path, progress)?, parse(path, steps)?);
        Ok(Self { path: path.to_owned(), progress, tensors, steps })
    }

    /// Puts the state into a learner of the same recipe, whose tensors' names have this prefix;
    /// gives the student of the best epoch.
    ///
    /// # Errors
    /// When it is of other networks; the learner may then be partly changed and must not be used.
    pub fn restore(
        &self,
        prefix: &str,
        learner: &mut Learner,
        optimizer: &OptimizerConfig,
    ) -> Result<Option<Network>> {
        restore_state(&self.path, (&self.tensors, &self.steps), prefix, learner, optimizer)
    }
}

/// Over everything in a checkpoint: a file that lost a bit is not gone on from.
fn checksum(tensors: &StateDict, texts: [&str; 2]) -> String {
    let mut hash = Xxh3::new();
    texts.into_iter().for_each(|text| hash.update(text.as_bytes()));
    let mut bytes = Vec::new();
    for (name, array) in tensors {
        hash.update(format!("{name}{:?}", array.shape).as_bytes());
        bytes.clear();
        bytes.extend(array.values.iter().flat_map(|value| value.to_le_bytes()));
        hash.update(&bytes);
    }
    format!("{:016x}", hash.digest())
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data with string keys always serialises")
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| damaged(path, error.to_string()))
}
