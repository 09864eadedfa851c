//! What the verdict is worth: comparisons of made-up students whose truth is known.
//!
//! Students have the accuracies `gap + standard deviation · noise` (points); what a seed does to all alike cancels
//! and is left out. The noise has variance 1: normal, Student's t with three degrees of freedom, or
//! exponential.

use faculty_random::Stream;

use super::paired::{SIGNIFICANCE, Verdict, judged};
use super::sequential::Look;

/// How students differ in their variance over the seeds; the reference is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scatter {
    /// All the same.
    Equal,
    /// Every other method ten times the variance of the reference and of the rest.
    HalfTenfold,
    /// The reference and every other method ten times the variance of the rest.
    HalfTenfoldWithReference,
    /// One method ten times the variance of all others.
    OneTenfold,
    /// The reference ten times the variance of all methods.
    ReferenceTenfold,
    /// Two camps: half of the students share another part of their noise, of the same variance.
    Camps,
}

/// What the noise is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// Normal.
    Normal,
    /// Student's t with three degrees of freedom: heavy tails.
    Heavy,
    /// Exponential less its mean: skewed.
    Skewed,
}

/// A world in which comparisons are made.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Methods beside the reference.
    pub methods: usize,
    /// Their variances.
    pub scatter: Scatter,
    /// Their noise.
    pub noise: Noise,
    /// How much better the first method is, in standard deviations of its difference to the reference.
    pub gap: f64,
}

impl World {
    /// A world of equal, normal students without any gap.
    #[must_use]
    pub fn new(methods: usize) -> Self {
        Self { methods, scatter: Scatter::Equal, noise: Noise::Normal, gap: 0.0 }
    }

    fn deviation(self, student: usize) -> f64 {
        let tenfold = match self.scatter {
            Scatter::Equal | Scatter::Camps => false,
            Scatter::HalfTenfold => !student.is_multiple_of(2),
            Scatter::HalfTenfoldWithReference => student.is_multiple_of(2),
            Scatter::OneTenfold => student == 1,
            Scatter::ReferenceTenfold => student == 0,
        };
        if tenfold { 10.0_f64.sqrt() } else { 1.0 }
    }

    /// Accuracies `[1 + methods][seeds]` of one comparison, the reference first.
    fn draw(self, random: &mut Stream, seeds: usize) -> Vec<Vec<f64>> {
        let camps: Vec<f64> = match self.scatter {
            Scatter::Camps => (0..2 * seeds).map(|_| self.noise.draw(random)).collect(),
            _ => vec![0.0; 2 * seeds],
        };
        let gap = self.gap * (self.deviation(0).powi(2) + self.deviation(1).powi(2)).sqrt();
        let student = |at: usize| {
            let better = if at == 1 { gap } else { 0.0 };
            let deviation = self.deviation(at);
            (0..seeds)
                .map(|seed| {
                    let camp = camps[at % 2 * seeds + seed];
                    better + camp + deviation * self.noise.draw(random)
                })
                .collect()
        };
        (0..=self.methods).map(student).collect()
    }
}

impl Noise {
    fn draw(self, random: &mut Stream) -> f64 {
        match self {
            Self::Normal => random.normal(),
            Self::Heavy => {
                let squares: f64 = (0..3).map(|_| random.normal().powi(2)).sum();
                // Variance 3 is that of three degrees of freedom.
                random.normal() / (squares / 3.0).sqrt() / 3.0_f64.sqrt()
            }
            Self::Skewed => -random.unit().ln() - 1.0,
        }
    }
}

/// Verdicts of one comparison, method by method.
fn verdicts(students: &[Vec<f64>], level: f64) -> Vec<Verdict> {
    let all = judged(&students[0], &students[1..], 0.0, level);
    all.into_iter().map(|(own, _)| own.verdict).collect()
}

fn share(cases: usize, mut holds: impl FnMut(usize) -> bool) -> f64 {
    100.0 * (0..cases).filter(|&case| holds(case)).count() as f64 / cases.max(1) as f64
}

fn random_of(case: usize) -> Stream {
    Stream::new(case as u64, "comparison")
}

/// Comparisons over `seeds` seeds with any verdict at all, percent of `cases`; where no method differs,
/// all of them are false.
#[must_use]
pub fn any_verdict(world: World, seeds: usize, cases: usize) -> f64 {
    share(cases, |case| {
        let students = world.draw(&mut random_of(case), seeds);
        verdicts(&students, SIGNIFICANCE).iter().any(|own| *own != Verdict::NoEvidence)
    })
}

/// Comparisons that find the first method better, percent of `cases`.
#[must_use]
pub fn power(world: World, seeds: usize, cases: usize) -> f64 {
    share(cases, |case| {
        let students = world.draw(&mut random_of(case), seeds);
        verdicts(&students, SIGNIFICANCE)[0] == Verdict::Helps
    })
}

/// What a plain paired t with Holm's rule finds of the first method, percent of `cases`: each method
/// knows its variance from its own seeds alone.
#[must_use]
pub fn power_of_plain_t(world: World, seeds: usize, cases: usize) -> f64 {
    share(cases, |case| {
        let students = world.draw(&mut random_of(case), seeds);
        // One method alone is judged by the plain t.
        let p = |own: &Vec<f64>| {
            let alone = judged(&students[0], std::slice::from_ref(own), 0.0, SIGNIFICANCE);
            alone[0].0.p.unwrap_or(1.0)
        };
        let all: Vec<f64> = students[1..].iter().map(p).collect();
        let mut sorted = all.clone();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let passed = sorted.iter().enumerate();
        let passed = passed.take_while(|(step, p)| **p <= SIGNIFICANCE / (count - step) as f64);
        all[0] <= passed.last().map_or(-1.0, |(_, p)| *p)
    })
}

/// Comparisons with any verdict at any of the looks up to `most` seeds, percent of `cases`: whoever
/// stops where he likes best is wrong no more often than this.
#[must_use]
pub fn any_verdict_at_any_look(world: World, most: usize, cases: usize) -> f64 {
    share(cases, |case| {
        let students = world.draw(&mut random_of(case), most);
        Look::all(SIGNIFICANCE).take_while(|look| look.seeds <= most).any(|look| {
            let seen: Vec<Vec<f64>> =
                students.iter().map(|own| own[..look.seeds].to_vec()).collect();
            verdicts(&seen, look.level).iter().any(|own| *own != Verdict::NoEvidence)
        })
    })
}
