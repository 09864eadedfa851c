//! Learning rate by progress through the run: a pure function, so that a resumed run continues it.

/// How the learning rate changes over a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Always the base rate.
    Constant,
    /// Multiplied by `decay` after each of the `milestones` (epochs).
    Step {
        /// Number of finished epochs after which the rate drops.
        milestones: Vec<usize>,
        /// Factor of each drop.
        decay: f64,
    },
    /// `(1 + cos(π t)) / 2` over the run (after the warm-up).
    Cosine,
    /// Straight down to 0 over the run (after the warm-up): BERT's fine-tuning.
    Linear,
    /// Up to the base rate over the first 30 % of the run, then down to almost zero, both along a
    /// cosine (Smith, Topin 2018; PyTorch's defaults: start at 1/25, end at 1/250,000).
    OneCycle,
}

/// A learning-rate schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Highest rate.
    pub base: f64,
    /// Its course.
    pub shape: Shape,
    /// Linear rise from 0 over these first epochs (may be a fraction).
    pub warmup_epochs: f64,
    /// Length of the run.
    pub epochs: usize,
    /// Epochs of a first training, after which a second one begins anew, see
    /// [`crate::methods::Setup::restart_after`]. Each of both goes through the whole course, in the
    /// epochs that it has.
    pub restart_after: Option<usize>,
}

impl Schedule {
    /// The rate of batch `step` (from 0) of `epoch` (from 1), with `steps` batches an epoch.
    #[must_use]
    pub fn rate(&self, epoch: usize, step: usize, steps: usize) -> f64 {
        let (begin, length) = match self.restart_after {
            None => (0, self.epochs),
            Some(first) if epoch <= first => (0, first),
            Some(first) => (first, self.epochs - first),
        };
        let scale = self.epochs as f64 / length as f64;
        let steps = steps.max(1) as f64;
        let position = ((epoch - 1 - begin) as f64 + step as f64 / steps) * scale;
        if position < self.warmup_epochs {
            // One batch ahead, so that the first batch already learns.
            return self.base * (position + scale / steps).min(self.warmup_epochs)
                / self.warmup_epochs;
        }
        let length = (self.epochs as f64 - self.warmup_epochs).max(f64::MIN_POSITIVE);
        let progress = ((position - self.warmup_epochs) / length).clamp(0.0, 1.0);
        self.base * self.factor(position, progress)
    }

    fn factor(&self, position: f64, progress: f64) -> f64 {
        match &self.shape {
            Shape::Constant => 1.0,
            Shape::Step { milestones, decay } => {
                let drops = milestones.iter().filter(|&&m| position >= m as f64).count();
                decay.powi(i32::try_from(drops).unwrap_or(i32::MAX))
            }
            Shape::Cosine => cosine(1.0, 0.0, progress),
            Shape::Linear => 1.0 - progress,
            Shape::OneCycle => {
                const RISE: f64 = 0.3;
                const START: f64 = 1.0 / 25.0;
                const END: f64 = START / 1e4;
                if progress < RISE {
                    cosine(START, 1.0, progress / RISE)
                } else {
                    cosine(1.0, END, (progress - RISE) / (1.0 - RISE))
                }
            }
        }
    }
}

/// From `from` at 0 to `to` at 1 along half a cosine.
fn cosine(from: f64, to: f64, progress: f64) -> f64 {
    to + (from - to) * (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(shape: Shape, warmup_epochs: f64) -> Schedule {
        Schedule { base: 0.1, shape, warmup_epochs, epochs: 10, restart_after: None }
    }

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-12, "{got} instead of {want}");
    }

    #[test]
    fn steps_drop_after_their_epochs() {
        let s = schedule(Shape::Step { milestones: vec![5, 8], decay: 0.1 }, 0.0);
        close(s.rate(5, 99, 100), 0.1);
        close(s.rate(6, 0, 100), 0.01);
        close(s.rate(9, 0, 100), 0.001);
    }

    #[test]
    fn cosine_starts_high_and_ends_low() {
        let s = schedule(Shape::Cosine, 0.0);
        close(s.rate(1, 0, 100), 0.1);
        close(s.rate(6, 0, 100), 0.05);
        assert!(s.rate(10, 99, 100) < 1e-5);
    }

    #[test]
    fn linear_falls_evenly_behind_its_warm_up() {
        let s = schedule(Shape::Linear, 2.0);
        close(s.rate(1, 0, 100), 0.1 * 0.01 / 2.0);
        close(s.rate(3, 0, 100), 0.1);
        close(s.rate(7, 0, 100), 0.05);
        close(s.rate(10, 99, 100), 0.1 * 0.01 / 8.0);
    }

    #[test]
    fn one_cycle_peaks_at_three_tenths() {
        let s = schedule(Shape::OneCycle, 0.0);
        close(s.rate(1, 0, 100), 0.1 / 25.0);
        close(s.rate(4, 0, 100), 0.1);
        assert!(s.rate(10, 99, 100) < 1e-4);
    }

    #[test]
    fn warm_up_rises_to_the_base_rate() {
        let s = schedule(Shape::Constant, 2.0);
        close(s.rate(1, 0, 100), 0.1 / 200.0);
        close(s.rate(2, 0, 100), 0.1 * 101.0 / 200.0);
        close(s.rate(3, 0, 100), 0.1);
    }

    #[test]
    fn each_of_two_trainings_goes_through_the_whole_course() {
        for shape in
            [Shape::OneCycle, Shape::Cosine, Shape::Step { milestones: vec![5, 8], decay: 0.1 }]
        {
            for warmup in [0.0, 2.0] {
                let whole = schedule(shape.clone(), warmup);
                let two = Schedule { epochs: 20, ..whole.clone() };
                // What stands in epochs counts in the whole run's.
                let two = match two.shape {
                    Shape::Step { decay, .. } => {
                        Schedule { shape: Shape::Step { milestones: vec![10, 16], decay }, ..two }
                    }
                    _ => two,
                };
                let two = Schedule { warmup_epochs: 2.0 * warmup, restart_after: Some(10), ..two };
                for epoch in 1..=10 {
                    for step in [0, 30, 99] {
                        let want = whole.rate(epoch, step, 100);
                        close(two.rate(epoch, step, 100), want);
                        close(two.rate(10 + epoch, step, 100), want);
                    }
                }
            }
        }
        // A short first training, a long second one.
        let two = Schedule { restart_after: Some(2), ..schedule(Shape::Cosine, 0.0) };
        close(two.rate(2, 0, 100), 0.05);
        close(two.rate(3, 0, 100), 0.1);
        close(two.rate(7, 0, 100), 0.05);
    }
}
