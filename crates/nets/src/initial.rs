//! Start values, drawn from a counter: the same seed and name give the same values on any
//! machine, whatever else is built before or after.

use faculty_random::Stream;

use crate::parameter::{Init, ParameterSpec};

/// Fills a parameter by its rule, keyed by `seed` and the parameter's name.
pub(crate) fn fill(spec: &ParameterSpec, seed: u64) -> Vec<f32> {
    let len = spec.shape.iter().product();
    let mut stream = Stream::new(seed, &spec.name);
    let mut uniform = |bound: f64| -> Vec<f32> {
        (0..len).map(|_| ((2.0 * stream.unit() - 1.0) * bound) as f32).collect()
    };
    match spec.initial {
        Init::Ones => vec![1.0; len],
        Init::Zeros => vec![0.0; len],
        Init::Constant(value) => vec![value; len],
        Init::UniformFanIn { fan_in } => uniform(1.0 / (fan_in as f64).sqrt()),
        Init::Uniform { bound } => uniform(bound),
        Init::KaimingNormalFanOut { fan_out } => {
            let deviation = (2.0 / fan_out as f64).sqrt();
            (0..len).map(|_| (stream.normal() * deviation) as f32).collect()
        }
        Init::Normal { deviation } => {
            (0..len).map(|_| (stream.normal() * f64::from(deviation)) as f32).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(initial: Init) -> ParameterSpec {
        ParameterSpec { name: "conv1.weight".to_owned(), shape: vec![64, 16, 3, 3], initial }
    }

    #[test]
    fn kaiming_has_the_right_spread() {
        let values = fill(&spec(Init::KaimingNormalFanOut { fan_out: 576 }), 1);
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        let expected = 2.0 / 576.0;
        assert!(mean.abs() < 4.0 * (expected / n).sqrt(), "mean {mean}");
        // The relative standard deviation of a variance estimate is sqrt(2/n) = 1.5 %; four of them.
        assert!((variance / expected - 1.0).abs() < 0.06, "variance {variance}");
    }

    #[test]
    fn uniform_stays_within_its_bound_and_fills_it() {
        let values = fill(&spec(Init::UniformFanIn { fan_in: 144 }), 1);
        let largest = values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        assert!(largest <= 1.0 / 12.0 && largest > 0.99 / 12.0, "{largest}");
        assert_eq!(values, fill(&spec(Init::Uniform { bound: 1.0 / 12.0 }), 1));
    }

    #[test]
    fn seed_and_name_choose_the_values() {
        let initial = Init::UniformFanIn { fan_in: 144 };
        let same = fill(&spec(initial), 1);
        assert_eq!(same, fill(&spec(initial), 1));
        assert_ne!(same, fill(&spec(initial), 2));
        assert_ne!(same, fill(&ParameterSpec { name: "fc.weight".to_owned(), ..spec(initial) }, 1));
    }
}
