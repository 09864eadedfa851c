//! Long lists in messages.

/// Keeps an error readable when a whole other network was given.
pub(crate) fn shortened(mut problems: Vec<String>) -> Vec<String> {
    const SHOWN: usize = 4;
    if problems.len() > SHOWN {
        let more = problems.len() - SHOWN;
        problems.truncate(SHOWN);
        problems.push(format!("and {more} more"));
    }
    problems
}
