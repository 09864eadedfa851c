//! The real program in a temporary project.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod bad_input;
mod browser;
mod cache;
mod cifar100;
mod commands;
mod compare;
mod data;
mod demo;
mod edges;
mod export;
mod init;
mod language;
mod language_compare;
mod language_init;
mod language_runs;
mod old_files;
mod photos;
mod plans;
mod project;
mod reliability;
mod report;
mod teachers;
mod usage;
mod watch;
