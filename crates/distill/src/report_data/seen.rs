//! What student and teachers said of the samples of a split.

use faculty_records::report_data::Answer;

/// What one pass over the part gave, samples in the order of the part.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) labels: Vec<u32>,
    pub(super) student: Vec<Option<Answer>>,
    /// `[teachers][samples]`
    pub(super) teachers: Vec<Vec<Option<Answer>>>,
    /// Level and weights `[teachers][samples]`, NaN where a batch had none.
    pub(super) weights: Vec<(&'static str, Vec<Vec<f64>>)>,
}

impl Seen {
    /// Takes the weights `[teachers, batch]` of the next `samples` samples.
    pub(super) fn add_weights(&mut self, levels: Vec<(&'static str, Vec<f64>)>, samples: usize) {
        let before = self.labels.len();
        let teachers = self.teachers.len();
        for (level, weights) in levels {
            let at = self.weights.iter().position(|(known, _)| *known == level);
            let at = at.unwrap_or_else(|| {
                self.weights.push((level, vec![Vec::new(); teachers]));
                self.weights.len() - 1
            });
            for (own, new) in self.weights[at].1.iter_mut().zip(weights.chunks(samples.max(1))) {
                own.resize(before, f64::NAN);
                own.extend_from_slice(new);
            }
        }
        for own in self.weights.iter_mut().flat_map(|(_, own)| own) {
            own.resize(before + samples, f64::NAN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_batches_stay_with_their_samples() {
        let mut seen = Seen { teachers: vec![Vec::new(); 2], ..Seen::default() };
        seen.add_weights(vec![("kd", vec![0.25, 0.5, 0.75, 0.5])], 2);
        seen.labels.extend([0, 0]);
        // A last batch that the method cannot work on.
        seen.add_weights(Vec::new(), 1);
        seen.labels.push(0);
        let (level, weights) = &seen.weights[0];
        assert_eq!(
            (*level, &weights[0][..2], &weights[1][..2]),
            ("kd", &[0.25, 0.5][..], &[0.75, 0.5][..])
        );
        assert!(weights.iter().all(|own| own.len() == 3 && own[2].is_nan()));
    }
}
