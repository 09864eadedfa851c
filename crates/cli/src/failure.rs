//! Errors as the user sees them: what, where, how to fix it.

use std::fmt::Write as _;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use faculty_data::DataError;
use faculty_distill::Error;
use faculty_distill::methods::all as all_methods;
use faculty_distill::recipe::{Problem, Recipe, RecipeError, nearest};
use faculty_files::FileError;
use faculty_language::LanguageError;
use faculty_teachers::TeacherError;

use crate::arguments::Arguments;
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
        /// How to fix it.
        hint: String,
    },
    /// The command ran, and the answer is no.
    Answer {
        /// What the answer is about.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Stopped from outside.
    Interrupted {
        /// Where.
        what: String,
        /// How to go on.
        hint: String,
    },
    /// Split of the work failed; each message is out already.
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

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Error::from(error).into()
    }
}

impl From<TeacherError> for Failure {
    fn from(error: TeacherError) -> Self {
        Error::from(error).into()
    }
}

impl From<faculty_distill::methods::MethodError> for Failure {
    fn from(error: faculty_distill::methods::MethodError) -> Self {
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

impl From<LanguageError> for Failure {
    fn from(error: LanguageError) -> Self {
        let mut what = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let text = cause.to_string();
            // Transparent wrappers repeat the message of what they wrap.
            if !what.contains(&text) {
                let _ = write!(what, "\n  cause: {text}");
            }
            source = cause.source();
        }
        Self::Usage { what, hint: error.hint() }
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
            Self::Interrupted { what, hint } => {
                eprintln!("error: {what}\n  hint: {hint}");
                Exit::Interrupted
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
pub(crate) fn of_arguments(mut error: clap::Error) -> i32 {
    if let Some(tip) = set_instead(&error) {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    match error.print().and_then(|()| terminal::finish()) {
        Ok(()) => error.exit_code(),
        Err(lost) => Failure::from(lost).report() as i32,
    }
}

/// What to write for an unknown flag that is a key of the recipe.
fn set_instead(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|own| own.to_string_lossy().into_owned()).collect();
    let program = Arguments::command();
    let command = program.find_subcommand(arguments.first()?)?;
    command.get_arguments().find(|own| own.get_long() == Some("set"))?;
    let flag = flag.split('=').next()?;
    let key = key_of_flag(flag)?;
    let place = arguments.iter().position(|own| own.split('=').next() == Some(flag));
    let value = place.and_then(|at| match arguments[at].split_once('=') {
        Some((_, value)) => Some(value),
        None => arguments.get(at + 1).map(String::as_str).filter(|own| !own.starts_with('-')),
    });
    let value = value.map_or("VALUE", |own| if own.contains(['`', '\n']) { "VALUE" } else { own });
    Some(format!("`--set {key}={value}` sets that value of the recipe"))
}

/// `train.epochs` for `--epochs`, `--train.epochs` and `--Epochs`.
fn key_of_flag(flag: &str) -> Option<String> {
    let word = flag.trim_start_matches('-').replace('-', "_").to_lowercase();
    let options = all_methods().into_iter().flat_map(|info| info.spec.options);
    let options = options.map(|option| format!("method.{}", option.key));
    // Those of a teacher need its name.
    let keys = Recipe::keys().into_iter().filter(|key| !key.starts_with("teachers."));
    // What trains the student is meant before what trains a head.
    let (first, others): (Vec<String>, Vec<String>) =
        keys.chain(options).partition(|key| key.starts_with("train."));
    let all: Vec<String> = first.into_iter().chain(others).collect();
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let exact = all.iter().find(|key| **key == word || last(key) == word);
    exact.cloned().or_else(|| {
        let lasts: Vec<String> = all.iter().map(|key| last(key)).collect();
        let near = nearest(&word, lasts.iter().map(String::as_str))?;
        all.iter().find(|key| last(key) == near).cloned()
    })
}

fn exit_code(error: &Error) -> Exit {
    match error {
        Error::Interrupted { .. }
        | Error::Teacher(TeacherError::CacheStopped { .. })
        | Error::HeadsStopped { .. }
        | Error::ComparisonStopped { .. } => Exit::Interrupted,
        Error::NotFinite { .. }
        | Error::TeacherBroke { .. }
        | Error::NoAnswer { .. }
        | Error::HeadNotFinite { .. }
        | Error::ExportDiffers { .. }
        | Error::Int8LosesTooMuch { .. } => Exit::No,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_are_keys_are_found_whatever_their_spelling() {
        let cases = [
            ("--epochs", Some("train.epochs")),
            ("--Epochs", Some("train.epochs")),
            ("--batch-size", Some("train.batch_size")),
            ("--lr", Some("train.learning_rate")),
            ("--learning-rat", Some("train.learning_rate")),
            ("--temperature", Some("method.temperature")),
            ("--data.views", Some("data.views")),
            ("--seed", Some("seed")),
            ("--xyzzy", None),
        ];
        for (flag, key) in cases {
            assert_eq!(key_of_flag(flag).as_deref(), key, "{flag}");
        }
    }
}
