//! The `faculty` program: knowledge distillation from several teachers.
//!
//! stdout carries data, stderr carries messages. Exit codes: see [`exit::Exit`].
#![expect(clippy::exit, reason = "the program's own exit code")]

// First: its macros stand for those of the standard library in all others.
#[macro_use]
mod terminal;

mod arguments;
mod bar;
mod commands;
mod exit;
mod failure;
mod interrupt;
mod language_progress;
mod progress;
mod ranks;
mod table;

use clap::Parser as _;

use crate::arguments::{Arguments, Command};

#[global_allocator]
static ALLOCATOR: faculty_kernels::allocator::Telling = faculty_kernels::allocator::Telling;

fn main() {
    interrupt::keep_ignored();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => std::process::exit(failure::of_arguments(error)),
    };
    let ranks = match ranks::start(&arguments.command) {
        Ok(ranks) => ranks,
        Err(failure) => std::process::exit(failure.report() as i32),
    };
    let result = match &arguments.command {
        Command::Demo(options) => commands::demo::run(options),
        Command::Init(options) => commands::init::run(options),
        Command::Train(options) => commands::one_run::run(options, commands::Kind::Train),
        Command::Distill(options) => commands::one_run::run(options, commands::Kind::Distill),
        Command::Tfidf(options) => commands::tfidf::run(options),
        Command::Teachers(options) => commands::teachers::run(options),
        Command::Compare(options) => commands::compare::run(options),
        Command::Report(options) => commands::report::run(options),
        Command::Watch(options) => commands::watch::run(options),
        Command::Cache(options) => commands::cache::run(options),
        Command::Evaluate(options) => commands::evaluate::run(options),
        Command::Export(options) => commands::export::run(options),
        Command::Predict(options) => commands::predict::run(options),
        Command::Generate(options) => commands::generate::run(options),
        Command::BenchModel(options) => commands::bench_model::run(options),
        Command::Explain(options) => commands::explain::run(options),
        Command::Methods(options) => commands::lists::methods(options),
        Command::Networks(options) => commands::lists::networks(options),
        Command::Datasets(options) => commands::lists::datasets(options),
        Command::Completions(options) => commands::shell::completions(options),
        Command::Man => commands::shell::man(),
    };
    let code = ranks.end(result.and_then(|()| Ok(terminal::finish()?)));
    std::process::exit(code as i32);
}
