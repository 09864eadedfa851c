//! Files of texts.
//!
//! ```text
//! files -> rows (texts, label, place) -> classes, splits, what is said of them -> TextSet
//! ```
//!
//! One format is one file: [`csv`], [`json_lines`], [`parquet`], [`folder`]. Each gives rows; what is
//! common to all (labels, empty texts, duplicates) is in `gather`.

mod columns;
pub mod csv;
pub mod folder;
mod gather;
pub mod json_lines;
pub mod parquet;
mod table;
