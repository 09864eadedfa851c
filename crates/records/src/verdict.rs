//! What a comparison says, in one sentence, and what it would take to say more.

use crate::comparison::Comparison;
use crate::statistics::{Paired, Verdict};

/// Names in a sentence; of more methods the number is given.
const MOST_NAMES: usize = 3;

impl Comparison {
    /// The verdict in one sentence.
    ///
    /// `ca-mkd is better than aver by 1.52 ± 0.40 points on 3 seeds, so is dist (+1.18); crd (-5.47) is
    /// worse; of 2 others the seeds do not tell`
    #[must_use]
    pub fn verdict(&self) -> String {
        self.verdicts().sentence()
    }

    /// What the largest gap without a verdict would take: `a gap of 0.80 points, as of dist, needs about 7
    /// seeds here`.
    #[must_use]
    pub fn seeds_needed(&self) -> Option<String> {
        self.verdicts().seeds_needed()
    }

    fn verdicts(&self) -> Verdicts<'_> {
        Verdicts {
            reference: &self.reference,
            seeds: self.seeds.len(),
            compared: self.compared().collect(),
            unit: "points",
            digits: 2,
        }
    }
}

/// What the seeds say of everything that was compared with one reference.
pub(crate) struct Verdicts<'a> {
    pub(crate) reference: &'a str,
    /// How many.
    pub(crate) seeds: usize,
    /// All but the reference.
    pub(crate) compared: Vec<(&'a str, &'a Paired)>,
    /// What differences are in.
    pub(crate) unit: &'static str,
    /// Decimals of them.
    pub(crate) digits: usize,
}

impl Verdicts<'_> {
    /// The verdict in one sentence.
    pub(crate) fn sentence(&self) -> String {
        let Self { reference, seeds, unit, digits, .. } = *self;
        if seeds < 2 {
            return format!(
                "one seed cannot tell whether a method is better than {reference}: use `--seeds 3` or more"
            );
        }
        let named = |verdict: Verdict| {
            let own = self.compared.iter().copied();
            let mut own: Vec<(&str, &Paired)> =
                own.filter(|(_, own)| own.verdict == verdict).collect();
            own.sort_by(|a, b| b.1.mean.abs().total_cmp(&a.1.mean.abs()));
            own
        };
        let (helps, hurts, open) =
            (named(Verdict::Helps), named(Verdict::Hurts), named(Verdict::NoEvidence).len());
        let mut parts = vec![match &helps[..] {
            [] => format!("no method is shown to be better than {reference} on {seeds} seeds"),
            [(name, own), rest @ ..] => {
                let margin = own.margin.unwrap_or(0.0);
                let first = format!(
                    "{name} is better than {reference} by {:.digits$} ± {margin:.digits$} {unit} on {seeds} \
                     seeds",
                    own.mean
                );
                match rest {
                    [] => first,
                    [_] => format!("{first}, so is {}", list(rest, digits)),
                    _ => format!("{first}, so are {}", list(rest, digits)),
                }
            }
        }];
        match &hurts[..] {
            [] => {}
            [_] => parts.push(format!("{} is worse", list(&hurts, digits))),
            _ => parts.push(format!("{} are worse", list(&hurts, digits))),
        }
        let decided = !helps.is_empty() || !hurts.is_empty();
        match open {
            _ if !decided => {}
            0 => {}
            1 => parts.push("of one other the seeds do not tell".to_owned()),
            _ => parts.push(format!("of {open} others the seeds do not tell")),
        }
        parts.join("; ")
    }

    /// What the largest gap without a verdict would take.
    pub(crate) fn seeds_needed(&self) -> Option<String> {
        let Self { unit, digits, .. } = *self;
        let open = self.compared.iter().filter(|(_, own)| own.verdict == Verdict::NoEvidence);
        let gaps = open.filter_map(|(name, own)| Some((name, own.needed?)));
        // The one that is nearest to a verdict.
        let (name, needed) = gaps.min_by(|a, b| {
            let seeds = |own: Option<usize>| own.unwrap_or(usize::MAX);
            seeds(a.1.seeds).cmp(&seeds(b.1.seeds)).then(b.1.gap.total_cmp(&a.1.gap))
        })?;
        let gap = needed.gap;
        Some(match needed.seeds {
            // Four times in five, so that bad luck with as many is possible.
            Some(seeds) if seeds <= self.seeds => format!(
                "a gap of {gap:.digits$} {unit}, as of {name}, is found with {seeds} seeds four times in \
                 five: these were the fifth"
            ),
            Some(seeds) => format!(
                "a gap of {gap:.digits$} {unit}, as of {name}, needs about {seeds} seeds here"
            ),
            None => format!(
                "a gap of {gap:.digits$} {unit}, as of {name}, needs over a thousand seeds here"
            ),
        })
    }
}

/// `dist (+1.18), ebkd (+0.90) and 4 others`
fn list(own: &[(&str, &Paired)], digits: usize) -> String {
    // Not "and 1 other", which is longer than its name.
    let shown = if own.len() == MOST_NAMES + 1 { own.len() } else { own.len().min(MOST_NAMES) };
    let own_words = |(name, own): &(&str, &Paired)| format!("{name} ({:+.digits$})", own.mean);
    let mut parts: Vec<String> = own[..shown].iter().map(own_words).collect();
    if shown < own.len() {
        parts.push(format!("{} others", own.len() - shown));
    }
    match parts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => parts.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{SIGNIFICANCE, compare_paired};

    fn comparison(methods: &[(&str, [f64; 4])], seeds: usize) -> Comparison {
        let reference = vec![80.0, 80.4, 79.8, 80.1];
        let of = |gaps: &[f64; 4]| gaps.iter().zip(&reference).map(|(d, y)| d + y).collect();
        let others: Vec<Vec<f64>> = methods.iter().map(|(_, gaps)| of(gaps)).collect();
        let others: Vec<Vec<f64>> = others.iter().map(|own| own[..seeds].to_vec()).collect();
        let paired = compare_paired(&reference[..seeds], &others, 0.01, SIGNIFICANCE);
        let spread = serde_json::json!({"mean": 80.0, "deviation": null});
        let row = |(name, own): (&str, Option<Paired>)| {
            serde_json::json!({
                "method": name, "objective": "", "runs": [], "top1": spread, "nll": spread,
                "ece": spread, "validation_top1": null, "seconds_per_epoch": 1.0,
                "against_reference": own
            })
        };
        let names = methods.iter().map(|own| own.0).zip(paired.into_iter().map(Some));
        let rows: Vec<_> = std::iter::once(("aver", None)).chain(names).map(row).collect();
        serde_json::from_value(serde_json::json!({
            "format": 1, "faculty": "", "data": "", "student": "", "epochs": 1,
            "seeds": (0..seeds).collect::<Vec<usize>>(), "part": "test", "samples": 10000,
            "teachers_part": null, "teachers": [], "reference": "aver", "significance": 0.05,
            "rows": rows, "left_out": []
        }))
        .unwrap()
    }

    #[test]
    fn the_verdict_is_one_sentence() {
        let near = ("near", [0.1, -0.1, 0.05, 0.0]);
        let good = ("good", [2.0, 2.1, 1.9, 2.05]);
        let bad = ("bad", [-3.0, -3.1, -2.9, -3.05]);
        let of = |own: &[(&str, [f64; 4])], seeds| comparison(own, seeds).verdict();
        let both = of(&[near, good, bad], 4);
        assert!(both.starts_with("good is better than aver by 2.01 ± 0."), "{both}");
        let end = " points on 4 seeds; bad (-3.01) is worse; of one other the seeds do not tell";
        assert!(both.ends_with(end), "{both}");
        assert_eq!(of(&[near], 4), "no method is shown to be better than aver on 4 seeds");
        assert!(of(&[good], 1).starts_with("one seed cannot tell"));
    }

    #[test]
    fn many_names_become_a_number() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let all: Vec<_> = names.iter().map(|&name| (name, [2.0, 2.1, 1.9, 2.05])).collect();
        let words = comparison(&all, 4).verdict();
        assert!(
            words.ends_with(", so are b (+2.01), c (+2.01), d (+2.01) and 2 others"),
            "{words}"
        );
        let words = comparison(&all[..5], 4).verdict();
        assert!(words.ends_with("c (+2.01), d (+2.01) and e (+2.01)"), "{words}");
    }

    #[test]
    fn the_gap_that_is_nearest_to_a_verdict_says_what_it_takes() {
        let near = ("near", [0.1, -0.1, 0.05, 0.0]);
        let open = ("open", [0.9, -0.2, 0.6, 0.7]);
        let words = comparison(&[near, open], 4).seeds_needed().unwrap();
        assert!(words.starts_with("a gap of 0.50 points, as of open, needs about "), "{words}");
        assert_eq!(comparison(&[near], 1).seeds_needed(), None);
    }
}
