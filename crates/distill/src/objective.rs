//! The objective line of a run, with its numbers as one would write them.

use faculty_contract::Method;
use faculty_contract::losses::TaskLoss;

use crate::task_loss;

/// The line of a run with so many teachers; `classes` are the classes' names.
pub(crate) fn of_run(
    method: &dyn Method,
    teachers: usize,
    task: &TaskLoss,
    classes: &[String],
) -> String {
    let line = tidy(&method.objective(teachers));
    match task_loss::described(task, classes) {
        Some(task) => format!("{line}; {task}"),
        None => line,
    }
}

/// Digits of a number that say something; the others are rounding, as in `1 - 0.9`.
const DIGITS: usize = 6;

/// `0.1 CE` for `0.09999999999999998 CE`.
pub(crate) fn tidy(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(from.len());
        let (number, after) = from.split_at(end);
        out += before;
        let long = number.split_once('.').is_some_and(|(_, decimals)| decimals.len() > DIGITS);
        match number.parse::<f64>() {
            Ok(value) if long => out += &rounded(value).to_string(),
            _ => out += number,
        }
        rest = after;
    }
    out + rest
}

fn rounded(value: f64) -> f64 {
    format!("{value:.*e}", DIGITS - 1).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::all as all_methods;

    #[test]
    fn numbers_are_as_one_would_write_them() {
        let cases = [
            ("0.09999999999999998 CE + 0.9 τ² KL, τ = 4", "0.1 CE + 0.9 τ² KL, τ = 4"),
            ("CE + 33.333333333333336 MSE at f2", "CE + 33.3333 MSE at f2"),
            ("a ≤ 0.333, K = 3", "a ≤ 0.333, K = 3"),
            ("0.000000123456789 x", "0.000000123457 x"),
            ("K = 3.", "K = 3."),
            ("", ""),
        ];
        for (line, want) in cases {
            assert_eq!(tidy(line), want);
        }
    }

    #[test]
    fn every_method_has_an_objective_without_rounding_in_it() {
        for info in all_methods() {
            let method = crate::recipe::Method::with_defaults(&info.spec);
            let line = tidy(&(info.build)(&method).objective(3));
            let long = |word: &str| word.split_once('.').is_some_and(|(_, own)| own.len() > 8);
            assert!(!line.split(' ').any(long), "{}: {line}", info.spec.name);
        }
    }
}
