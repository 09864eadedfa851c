//! What models were measured to be on texts, so that a run that goes on, or the next one of a comparison,
//! need not read the texts with the same model again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faculty_files::{failed, write_atomically};
use faculty_nets::Decoder;
use faculty_records::language_run::LanguageQuality;
use serde::{Deserialize, Serialize};

use super::split::MeasuredSplit;
use crate::error::Result;
use crate::run_error::RunError;
use crate::tokenizer::read;

/// Its file in a run's or a comparison's folder.
pub(super) const MEASUREMENTS: &str = "measurements.json";
/// Version of the layout, and of what a measurement is.
const FORMAT: u32 = 1;

/// Measurements by the hashes of the model and of the texts: what was changed is another model.
///
/// Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Measurements {
    known: Arc<Mutex<Known>>,
}

type Known = BTreeMap<String, LanguageQuality>;

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    /// Another program or other kernels may differ in the last bits.
    made_by: String,
    known: Known,
}

fn made_by() -> String {
    format!("faculty {}, {}", env!("CARGO_PKG_VERSION"), faculty_kernels::isa::name())
}

impl Measurements {
    /// Those that lie in a folder. What cannot be read, or was made by another version, is measured again.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let bytes = read(&folder.join(MEASUREMENTS)).unwrap_or_default();
        let written = serde_json::from_slice::<Written>(&bytes).ok();
        let written = written.filter(|own| own.format == FORMAT && own.made_by == made_by());
        Self { known: Arc::new(Mutex::new(written.map(|own| own.known).unwrap_or_default())) }
    }

    /// Writes them into a folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path) -> std::result::Result<(), RunError> {
        let Some(text) = self.text() else { return Ok(()) };
        let path = folder.join(MEASUREMENTS);
        Ok(write_atomically(&path, text.as_bytes()).map_err(failed("write", path))?)
    }

    /// As they are written down, if there are any.
    fn text(&self) -> Option<String> {
        let known = self.known().clone();
        let written = Written { format: FORMAT, made_by: made_by(), known };
        let text = || serde_json::to_string_pretty(&written).expect("plain data always serialises");
        (!written.known.is_empty()).then(text)
    }

    /// How well the model with this hash predicts a split; nothing without texts.
    pub(super) fn of(
        &self,
        hash: &str,
        decoder: &mut Decoder,
        split: &MeasuredSplit,
    ) -> Result<Option<LanguageQuality>> {
        let key = format!("model {hash} on texts {:016x}", split.id());
        if let Some(quality) = self.known().get(&key) {
            return Ok(Some(*quality));
        }
        let quality = split.measure(decoder)?;
        // Of values that are no numbers the run ends: nothing to keep.
        if let Some(quality) = quality.filter(|own| own.nll.is_finite()) {
            self.known().insert(key, quality);
        }
        Ok(quality)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Whoever broke down while holding it had only looked or put one value in.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
