//! What a reader came upon beside the samples, so that nothing is left out in silence.

use std::path::PathBuf;

use serde::Serialize;

use crate::{DataError, OnBadImage, ReadOptions};

/// An image that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Which one and why.
    pub reason: String,
}

/// What is said about a data set beside its samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// What was decided or left out: splits without labels, text files among the images.
    pub notes: Vec<String>,
    /// The images that could not be read, under [`OnBadImage::Skip`].
    pub skipped: Vec<Skipped>,
    /// Text files in class folders.
    #[serde(skip)]
    pub(crate) texts: Vec<PathBuf>,
}

impl Findings {
    /// Whether an image that cannot be read may be left out; if not, the error.
    pub(crate) fn skip(
        &mut self,
        error: DataError,
        options: &ReadOptions,
    ) -> Result<(), DataError> {
        if options.on_bad_image == OnBadImage::Stop || !error.is_of_one_image() {
            return Err(error);
        }
        let cause = std::error::Error::source(&error);
        let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
        self.skipped.push(Skipped { reason: format!("{error}{cause}") });
        Ok(())
    }

    /// Makes a note of the text files.
    pub(crate) fn finish(&mut self) {
        let texts = std::mem::take(&mut self.texts);
        if let Some(first) = texts.first() {
            let more = match texts.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            self.notes.push(format!(
                "text files among the images are left out: `{}`{more}",
                first.display()
            ));
        }
    }
}
