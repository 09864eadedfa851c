//! What the files of runs, comparisons and measurements say, and the statistics behind them.
//!
//! Plain data with serde on both sides: [`run`] holds `metrics.jsonl` and `card.json`,
//! [`report_data`] `report.json`, [`comparison`] `comparison.json`, [`plan`] `plan.json`, [`mod@bench`]
//! `bench.json`, [`language_run`] and [`language_comparison`] the files of language models. Nothing here knows networks, tensors or methods.

pub mod bench;
pub mod class_accuracy;
pub mod comparison;
pub mod diversity;
pub mod language_comparison;
pub mod language_run;
pub mod number;
pub mod plan;
pub mod quality;
pub mod report_data;
pub mod right_answers;
pub mod run;
pub mod statistics;
mod verdict;
