//! TensorBoard events of language models' runs. They are for looking at: where they cannot be written, the
//! run goes on.

use std::path::Path;

use faculty_language::LanguageEvent;
use faculty_report::tensorboard::LanguageEventFile;

/// Events of runs, one after another.
pub(crate) struct LanguageEvents {
    enabled: bool,
    file: Option<LanguageEventFile>,
}

impl LanguageEvents {
    /// Writes nothing unless `enabled`.
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled, file: None }
    }

    /// Takes an event of the run in `folder`.
    pub(crate) fn take(&mut self, folder: &Path, event: &LanguageEvent<'_>) {
        if !self.enabled {
            return;
        }
        let result = match event {
            LanguageEvent::Started { step, teachers, .. } => {
                let begun = LanguageEventFile::of_run(folder, *step, teachers);
                begun.map(|file| self.file = Some(file))
            }
            LanguageEvent::Record(record) => {
                self.file.as_mut().map_or(Ok(()), |file| file.append(record))
            }
            _ => Ok(()),
        };
        if let Err(error) = result {
            eprintln!("warning: no more TensorBoard events: {error}");
            (self.enabled, self.file) = (false, None);
        }
    }
}
