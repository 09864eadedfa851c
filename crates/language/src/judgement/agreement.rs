//! Two models behind the same prefixes.

use faculty_inputs::Tokens;
use faculty_nets::Decoder;
use rayon::prelude::*;

/// Rows of logits made at once.
const ROWS: usize = 32;

/// Means over tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// How many.
    pub tokens: usize,
    /// KL(teacher || student), in nats.
    pub kl: f64,
    /// KL(student || teacher), in nats.
    pub reverse_kl: f64,
    /// Sum of the smaller of both probabilities, in 0 to 1.
    pub acceptance: f64,
    /// Share of the tokens at which both have the same likeliest one.
    pub top1: f64,
}

/// How two distributions given as logits agree, with `tokens` of 1.
///
/// # Panics
/// If they are not as many, or none.
#[must_use]
pub fn agreement(student: &[f32], teacher: &[f32]) -> Agreement {
    assert!(student.len() == teacher.len() && !student.is_empty(), "logits of one vocabulary");
    let [of_student, of_teacher] = [student, teacher].map(log_sum);
    let mut own = Agreement { tokens: 1, ..Agreement::default() };
    for (&z, &t) in student.iter().zip(teacher) {
        let (log_q, log_p) = (f64::from(z) - of_student, f64::from(t) - of_teacher);
        let (q, p) = (log_q.exp(), log_p.exp());
        // What has no probability adds nothing, also where its logarithm is infinite.
        if p > 0.0 {
            own.kl += p * (log_p - log_q);
        }
        if q > 0.0 {
            own.reverse_kl += q * (log_q - log_p);
        }
        own.acceptance += p.min(q);
    }
    own.top1 = f64::from(u8::from(likeliest(student) == likeliest(teacher)));
    own
}

/// `ln sum exp`
fn log_sum(logits: &[f32]) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&z| (f64::from(z) - max).exp()).sum();
    max + sum.ln()
}

/// The first of the largest.
fn likeliest(logits: &[f32]) -> usize {
    let larger = |best: usize, id: usize| if logits[id] > logits[best] { id } else { best };
    (0..logits.len()).fold(0, larger)
}

/// Sums over tokens.
#[derive(Default)]
pub(super) struct Sums {
    own: Agreement,
    teacher_nats: f64,
}

impl Sums {
    /// Adds the tokens of a text whose values from `first` on predict `predicted`.
    pub(super) fn add(
        &mut self,
        student: &mut Decoder,
        teacher: &mut Decoder,
        text: &Tokens,
        first: usize,
        predicted: &[u32],
    ) {
        let [own, other] = [student, teacher].map(|model| {
            let width = model.config().width;
            let hidden = model.hidden(text)[first * width..].to_vec();
            (&*model, width, hidden)
        });
        let vocabulary = own.0.config().vocabulary;
        let [mut of_student, mut of_teacher] = [Vec::new(), Vec::new()];
        let mut start = 0;
        for predicted in predicted.chunks(ROWS) {
            let end = start + predicted.len();
            own.0.logits(&own.2[start * own.1..end * own.1], &mut of_student);
            other.0.logits(&other.2[start * other.1..end * other.1], &mut of_teacher);
            start = end;
            let rows = of_student
                .par_chunks_exact(vocabulary)
                .zip(of_teacher.par_chunks_exact(vocabulary))
                .zip(predicted);
            let rows = rows.map(|((student, teacher), &id)| {
                let nats = log_sum(teacher) - f64::from(teacher[id as usize]);
                (agreement(student, teacher), nats)
            });
            // Added in order, whatever thread made them.
            for (row, nats) in rows.collect::<Vec<_>>() {
                self.own.tokens += 1;
                self.own.kl += row.kl;
                self.own.reverse_kl += row.reverse_kl;
                self.own.acceptance += row.acceptance;
                self.own.top1 += row.top1;
                self.teacher_nats += nats;
            }
        }
    }

    /// The means.
    pub(super) fn agreement(&self) -> Agreement {
        let Agreement { tokens, kl, reverse_kl, acceptance, top1 } = self.own;
        let each = 1.0 / tokens.max(1) as f64;
        Agreement {
            tokens,
            kl: kl * each,
            reverse_kl: reverse_kl * each,
            acceptance: acceptance * each,
            top1: top1 * each,
        }
    }

    /// The mean surprise of the teacher.
    pub(super) fn teacher_nats(&self) -> f64 {
        self.teacher_nats / self.own.tokens.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_small_distributions_agree_as_computed_by_hand() {
        // p = (3/4, 1/4), q = (1/2, 1/2), with any constant added.
        let own = agreement(&[2.0, 2.0], &[3.0_f32.ln() - 7.0, -7.0]);
        let kl = 0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln();
        let reverse = 0.5 * (2.0_f64 / 3.0).ln() + 0.5 * 2.0_f64.ln();
        for (got, want) in
            [(own.kl, kl), (own.reverse_kl, reverse), (own.acceptance, 0.75), (own.top1, 1.0)]
        {
            assert!((got - want).abs() < 1e-6, "{got}, {want} expected");
        }
        let same = agreement(&[0.3, -1.0, 5.0], &[0.3, -1.0, 5.0]);
        assert!(same.kl.abs() < 1e-12 && (same.acceptance - 1.0).abs() < 1e-12);
        // Nothing in common.
        let apart = agreement(&[0.0, -2e3, f32::NEG_INFINITY], &[-2e3, 0.0, f32::NEG_INFINITY]);
        assert!((apart.kl - 2e3).abs() < 1e-6 && apart.acceptance == 0.0 && apart.top1 == 0.0);
    }
}
