//! What runs have left behind, as people like to read it.
//!
//! ```text
//! run folder, several, or a comparison -> Report::load -> Report
//! Report -> html::page | charts (SVG) | tables (Markdown, LaTeX, CSV) | text::view
//! folder of a language model's run -> LanguageReport -> page; several, or a comparison -> LanguageRuns -> page
//! EpochRecord -> tensorboard::EventFile
//! folder of runs at work -> watch::Watch -> JSON and SVG for a local page
//! ```
//! Records in, text out: no network runs here, and nothing is written but what a caller asks for.
//! Whatever comes from data (class names, file names) is taken as text by every format.

pub mod charts;
mod error;
pub mod html;
mod language;
mod load;
mod recipes;
mod results;
mod svg;
mod table;
pub mod tables;
pub mod tensorboard;
pub mod text;
pub mod watch;

pub use error::{Error, Result};
pub use language::{LanguageReport, LanguageRun, LanguageRuns};
pub use load::{Report, Run};
pub use results::{Entry, Kind};
pub use table::Table;
