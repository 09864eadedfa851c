//! The rule against an independent computation, against made-up students, and at its edges.

use super::*;
use crate::statistics::simulation::{
    Noise, Scatter, World, any_verdict, any_verdict_at_any_look, power, power_of_plain_t,
};

const SCATTERS: [Scatter; 6] = [
    Scatter::Equal,
    Scatter::HalfTenfold,
    Scatter::HalfTenfoldWithReference,
    Scatter::OneTenfold,
    Scatter::ReferenceTenfold,
    Scatter::Camps,
];

/// Percent of 1000 comparisons: 5 % and three of its standard errors (0.7 %).
const CASES: usize = 1000;
const MOST_WRONG: f64 = 7.1;

#[test]
fn equal_students_get_a_verdict_in_five_of_hundred_comparisons_at_most() {
    let mut sum = 0.0;
    let mut cells = 0.0;
    for scatter in SCATTERS {
        for noise in [Noise::Normal, Noise::Heavy] {
            for methods in [1, 2, 3, 6, 33] {
                for seeds in [2, 3, 5, 10] {
                    let world = World { scatter, noise, ..World::new(methods) };
                    let wrong = any_verdict(world, seeds, CASES);
                    assert!(wrong <= MOST_WRONG, "{world:?}, {seeds} seeds: {wrong} %");
                    sum += wrong;
                    cells += 1.0;
                }
            }
        }
    }
    assert!(sum / cells < 5.0, "{} % on average", sum / cells);
}

#[test]
fn one_method_is_judged_by_the_plain_paired_t() {
    // 5 %, and three standard errors to either side.
    for seeds in [2, 3, 5, 10] {
        let wrong = any_verdict(World::new(1), seeds, 10_000);
        assert!((4.3..=5.7).contains(&wrong), "{seeds} seeds: {wrong} %");
    }
    let own = &compare_paired(&[0.0; 3], &[vec![1.0, 2.0, 4.0]], 0.01, SIGNIFICANCE)[0];
    // By hand: mean 7/3, s² 7/3, t = sqrt 7 with two degrees of freedom: p = 1 - t / sqrt(2 + t²).
    let p = 1.0 - (7.0_f64 / 9.0).sqrt();
    assert!((own.p.unwrap() - p).abs() < 1e-12 && own.degrees == Some(2.0), "{own:?}");
}

#[test]
fn three_seeds_find_a_gap_of_two_deviations_twice_as_often_as_the_plain_t() {
    for methods in [3, 6, 10, 33] {
        let world = World { gap: 2.0, ..World::new(methods) };
        let (own, plain) = (power(world, 3, 4000), power_of_plain_t(world, 3, 4000));
        assert!(own > 2.0 * plain, "{methods} methods: {own} % and {plain} %");
    }
    // With two there is little to share.
    let world = World { gap: 2.0, ..World::new(2) };
    let (own, plain) = (power(world, 3, 4000), power_of_plain_t(world, 3, 4000));
    assert!(own > 1.4 * plain, "{own} % and {plain} %");
}

#[test]
fn looking_again_and_again_is_wrong_no_more_often() {
    for scatter in [Scatter::Equal, Scatter::ReferenceTenfold] {
        for methods in [1, 3, 10] {
            let world = World { scatter, ..World::new(methods) };
            let wrong = any_verdict_at_any_look(world, 20, CASES);
            assert!(wrong <= MOST_WRONG, "{world:?}: {wrong} %");
        }
    }
}

#[test]
fn tests_are_those_of_an_independent_computation() {
    #[derive(serde::Deserialize)]
    struct Case {
        reference: Vec<f64>,
        others: Vec<Vec<f64>>,
        resolution: f64,
        standard_error: Vec<f64>,
        degrees: Vec<f64>,
        p: Vec<f64>,
    }
    #[derive(serde::Deserialize)]
    struct Tail {
        degrees: f64,
        t: f64,
        tail: f64,
    }
    // By numpy and scipy 1.17.
    #[derive(serde::Deserialize)]
    struct Golden {
        student: Vec<Tail>,
        verdict: Vec<Case>,
    }
    let text = include_str!("../../../tests/golden/verdict.json");
    let golden: Golden = serde_json::from_str(text).unwrap();
    let near = |got: f64, want: f64| (got - want).abs() <= 1e-9 * want.abs();
    assert_eq!((golden.student.len(), golden.verdict.len()), (6, 5));
    for case in golden.student {
        assert!(near(student_tail(case.degrees, case.t), case.tail), "{}", case.degrees);
    }
    for case in golden.verdict {
        let own = compare_paired(&case.reference, &case.others, case.resolution, SIGNIFICANCE);
        assert_eq!(own.len(), case.p.len());
        for (at, own) in own.iter().enumerate() {
            let (error, degrees, p) = own.tested().unwrap();
            assert!(near(error, case.standard_error[at]), "{error}");
            assert!(near(degrees, case.degrees[at]) && near(p, case.p[at]), "{degrees} {p}");
        }
    }
}

#[test]
fn holm_corrects_by_rank_and_intervals_say_what_verdicts_say() {
    let others = vec![
        vec![1.0, 1.1, 0.9, 1.0, 1.05],
        vec![0.5, 0.9, 0.1, 0.6, 0.3],
        vec![0.1, -0.2, 0.3, -0.1, 0.0],
        vec![-2.0, -2.2, -2.1, -1.9, -2.0],
    ];
    let all = compare_paired(&[0.0, 0.1, -0.1, 0.05, 0.0], &others, 0.01, SIGNIFICANCE);
    let verdicts: Vec<Verdict> = all.iter().map(|own| own.verdict).collect();
    use Verdict::{Helps, Hurts, NoEvidence};
    assert_eq!(verdicts, [Helps, Helps, NoEvidence, Hurts]);
    for own in &all {
        let Interval { low, high } = own.interval.unwrap();
        assert_eq!(own.verdict == NoEvidence, low <= 0.0 && 0.0 <= high, "{own:?}");
        assert!(own.corrected_p.unwrap() >= own.p.unwrap());
        assert_eq!(own.needed.unwrap().gap, own.mean.abs());
    }
    assert_eq!(all[2].corrected_p, all[2].p, "the last step is not corrected");
    let by_hand = all[1].p.unwrap() * 2.0;
    assert!((all[1].corrected_p.unwrap() - by_hand).abs() < 1e-15);
    assert!(all[0].words("aver").starts_with("helps: +1.00 ± 0."), "{}", all[0].words("aver"));
    assert!(all[2].words("aver").starts_with("no evidence (+0.01 ± "), "{}", all[2].words("aver"));
}

#[test]
fn the_bootstrap_is_too_sure_of_few_seeds() {
    // Why the verdict is not by the bootstrap.
    let mut random = faculty_random::Stream::new(1, "bootstrap");
    let mut misses = || {
        let own: Vec<f64> = (0..3).map(|_| random.normal()).collect();
        let Interval { low, high } = over_seeds(&own);
        low > 0.0 || high < 0.0
    };
    let count = (0..1000).filter(|_| misses()).count();
    assert!(count > 120, "{count}");
}

#[test]
fn equal_runs_and_single_seeds_prove_nothing() {
    let of = |others: &[Vec<f64>], resolution| {
        let reference = vec![0.0; others[0].len()];
        compare_paired(&reference, others, resolution, SIGNIFICANCE)
    };
    for methods in [1, 4] {
        let own = &of(&vec![vec![0.0; 5]; methods], 0.1)[0];
        assert_eq!((own.verdict, own.p), (Verdict::NoEvidence, Some(1.0)));
        let own = &of(&vec![vec![3.0]; methods], 0.1)[0];
        assert_eq!((own.verdict, own.p, own.interval), (Verdict::NoEvidence, None, None));
        assert_eq!(own.words("ce"), "no evidence (+3.00 on one seed)");
        // Without resolution nothing may vary: then any difference is certain.
        let own = &of(&vec![vec![1.0; 3]; methods], 0.0)[0];
        assert_eq!(own.verdict, Verdict::Helps, "{own:?}");
    }
    // Two seeds that differ by the same one sample.
    assert_eq!(of(&[vec![0.1, 0.1]], 0.1)[0].verdict, Verdict::NoEvidence);
    assert!(compare_paired(&[], &[], 0.1, SIGNIFICANCE).is_empty());
    assert_eq!(compare_paired(&[], &[Vec::new()], 0.1, SIGNIFICANCE)[0].p, None);
}
