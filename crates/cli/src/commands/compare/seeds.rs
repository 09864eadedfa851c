//! How many seeds a comparison takes, of whatever is compared.

use faculty_distill::comparison::{SIGNIFICANCE, Sequential};
use faculty_distill::statistics::Look;

use crate::arguments::{CompareOptions, Seeds};
use crate::failure::Failure;

/// Why these seeds and this width do not go together.
pub(super) fn refused_seeds(options: &CompareOptions, width: &str) -> Failure {
    let (what, hint) = match (options.seeds, options.width) {
        (Seeds::Auto, _) if !options.shard.is_whole() => (
            "`--seeds auto` looks at all runs before it goes on, and a share has some of them",
            "give a number of seeds with `--shard`".to_owned(),
        ),
        (Seeds::Count(_), _) => (
            "`--width` says when `--seeds auto` is to stop",
            "add `--seeds auto`, or leave `--width` out".to_owned(),
        ),
        (Seeds::Auto, _) => (
            "`--seeds auto` needs a width to reach",
            format!("add for example {width} from end to end of every interval"),
        ),
    };
    Failure::Usage { what: what.to_owned(), hint }
}

/// Goes on, look by look, until every interval is narrower than `width` or the next look takes more than
/// `most` seeds. `unit` is what widths are in, `once` compares, `widest` names the widest interval.
pub(super) fn until_narrow<C>(
    width: f64,
    most: usize,
    unit: &str,
    once: impl Fn(&Look) -> Result<C, Failure>,
    widest: impl Fn(&C) -> Option<(String, f64)>,
) -> Result<(C, Option<Sequential>), Failure> {
    let mut looks = Look::all(SIGNIFICANCE).take_while(|look| look.seeds <= most).peekable();
    loop {
        let look = looks.next().expect("the first look takes the least number of seeds allowed");
        let comparison = once(&look)?;
        let Some((name, widest)) = widest(&comparison) else { return Ok((comparison, None)) };
        if widest >= width
            && let Some(next) = looks.peek()
        {
            let digits = if widest < 1.0 { 4 } else { 2 };
            eprintln!(
                "{} seeds: the interval of {name} is {widest:.digits$} {unit} wide, at most {width} are asked for: \
                 going on to {} seeds",
                look.seeds, next.seeds
            );
            continue;
        }
        return Ok((comparison, Some(Sequential { looks: look.number, width, widest })));
    }
}
