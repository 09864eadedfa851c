//! Long lists in messages.

/// Keeps an error readable when a whole other network was given.
pub(crate) fn shortened(problems: Vec<String>) -> Vec<String> {
    shortened_to(problems, 4)
}

/// The same with as many of them as wanted.
pub(crate) fn shortened_to(mut problems: Vec<String>, shown: usize) -> Vec<String> {
    if problems.len() > shown {
        let more = problems.len() - shown;
        problems.truncate(shown);
        problems.push(format!("and {more} more"));
    }
    problems
}
