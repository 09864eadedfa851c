//! Errors as the user sees them: what, where, how to mend it.

use std::fmt::Write as _;

use faculty_data::DataError;
use faculty_distill::Error;
use faculty_distill::recipe::{Problem, RecipeError};

use crate::exit::Exit;
use crate::terminal;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// From the library.
    Run(Box<Error>),
    /// A usage that no library knows of.
    Usage {
        /// What is wrong.
        what: String,
        /// How to mend it.
        hint: String,
    },
    /// The command ran, and the answer is no.
    Answer {
        /// What the answer is about.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Part of the work failed; each message is out already.
    Partly,
    /// Nobody reads stdout any more.
    Closed,
    /// stdout cannot be written.
    Stdout(std::io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Run(Box::new(error))
    }
}

impl From<RecipeError> for Failure {
    fn from(error: RecipeError) -> Self {
        Error::from(error).into()
    }
}

impl From<faculty_nets::Error> for Failure {
    fn from(error: faculty_nets::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Error::from(error).into()
    }
}

impl From<faculty_report::Error> for Failure {
    fn from(error: faculty_report::Error) -> Self {
        Self::Usage { what: error.to_string(), hint: error.hint() }
    }
}

impl From<std::io::Error> for Failure {
    /// Only writing to stdout gives bare I/O errors here.
    fn from(error: std::io::Error) -> Self {
        if terminal::is_closed(&error) { Self::Closed } else { Self::Stdout(error) }
    }
}

impl Failure {
    /// Prints the message and gives the exit code.
    pub(crate) fn report(&self) -> Exit {
        match self {
            Self::Run(error) => {
                eprint!("{}", message(error));
                exit_code(error)
            }
            Self::Usage { what, hint } => {
                eprintln!("error: {what}\n  hint: {hint}");
                Exit::Usage
            }
            Self::Answer { what, hint } => {
                eprintln!("error: {what}\n  hint: {hint}");
                Exit::No
            }
            Self::Partly => Exit::Usage,
            Self::Closed => Exit::Done,
            Self::Stdout(error) => {
                eprintln!(
                    "error: cannot write to stdout: {error}\n  hint: what was printed is not all; \
                     check the free space of where it goes"
                );
                Exit::Usage
            }
        }
    }
}

/// Prints what clap says of the arguments, or the help that was asked for; gives the exit code.
pub(crate) fn of_arguments(error: &clap::Error) -> i32 {
    match error.print().and_then(|()| terminal::finish()) {
        Ok(()) => error.exit_code(),
        Err(lost) => Failure::from(lost).report() as i32,
    }
}

fn exit_code(error: &Error) -> Exit {
    match error {
        Error::Interrupted { .. }
        | Error::CacheStopped { .. }
        | Error::HeadsStopped { .. }
        | Error::ComparisonStopped { .. } => Exit::Interrupted,
        Error::NotFinite { .. }
        | Error::TeacherBroke { .. }
        | Error::NoAnswer { .. }
        | Error::HeadNotFinite { .. }
        | Error::ExportDiffers { .. } => Exit::No,
        Error::RunOfComparison { source, .. } | Error::StudentOfPlan { source, .. } => {
            exit_code(source)
        }
        _ => Exit::Usage,
    }
}

/// The whole message, every problem of a recipe included.
pub(crate) fn message(error: &Error) -> String {
    if let Error::Recipe(recipe) = error {
        return recipe.problems.iter().map(|problem| labelled("error", problem)).collect();
    }
    let mut text = format!("error: {error}\n");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent wrappers repeat the message of what they wrap.
        if !text.contains(&cause_text) {
            let _ = writeln!(text, "  cause: {cause_text}");
        }
        source = cause.source();
    }
    if let Some(hint) = error.hint() {
        let _ = writeln!(text, "  hint: {hint}");
    }
    text
}

/// A recipe's problem or warning.
pub(crate) fn labelled(label: &str, problem: &Problem) -> String {
    let mut text = format!("{label}: {}\n", problem.what);
    let place = problem.place();
    if !place.is_empty() {
        let _ = writeln!(text, "  where: {place}");
    }
    let _ = writeln!(text, "  hint: {}", problem.hint);
    text
}
