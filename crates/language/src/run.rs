//! A run of a recipe of language models: set-up, training, checkpoints, the delivered student.
//!
//! ```text
//! LanguageRecipe → CheckedLanguageRun::new: texts, student, teachers, their tokens compared, each measured
//! → train: batches (BatchSource) → teachers' hidden values → StreamTrainer → metrics.jsonl, checkpoints
//! → student/ as a folder of Hugging Face's kind, language-card.json
//! ```
//! Every step is a function of the recipe, its number, and the state in a checkpoint: a run that goes on
//! from one is the same run, bit for bit.

mod checkpoint;
mod earlier;
mod folder;
mod measurements;
mod prepare;
mod split;
mod teacher;
mod train;
mod written_source;

pub(crate) use self::earlier::{FoundRun, clear_run, find_run, is_written};
pub use self::folder::{LanguageStart, STUDENT_FOLDER};
pub use self::measurements::Measurements;
pub use self::prepare::CheckedLanguageRun;
pub use self::train::{LanguageEvent, train_language};
pub use crate::run_error::RunError;
