use half::f16;

use super::*;

fn softmax(logits: &[f64]) -> Vec<f64> {
    let whole: f64 = logits.iter().map(|z| z.exp()).sum();
    logits.iter().map(|z| z.exp() / whole).collect()
}

/// Made-up logits, `[rows, classes]`, that reach from -8 to 8.
fn logits(rows: usize, classes: usize) -> Vec<f64> {
    (0..rows * classes).map(|i| 8.0 * (i as f64 * 1.7 + (i / classes) as f64).sin()).collect()
}

fn probabilities(rows: usize, classes: usize) -> Vec<f64> {
    logits(rows, classes).chunks(classes).flat_map(softmax).collect()
}

fn rounded(values: &[f64], to: impl Fn(f64) -> f32) -> Vec<f32> {
    values.iter().map(|&value| to(value)).collect()
}

fn seen(values: &[f32], classes: usize) -> OutputMeter {
    let mut meter = OutputMeter::default();
    meter.add(values, classes);
    meter
}

#[test]
fn probabilities_become_the_logits_but_for_a_constant() {
    let (rows, classes) = (40, 10);
    let given = rounded(&probabilities(rows, classes), |p| p as f32);
    let raw = seen(&given, classes).recognise().unwrap();
    assert_eq!(raw.output_type(), OutputType::Probabilities);
    let mut got = given.clone();
    raw.to_logits(&mut got, classes).unwrap();
    for (got, want) in got.chunks(classes).zip(logits(rows, classes).chunks(classes)) {
        for (a, z) in got.iter().zip(want) {
            let (a, z) = (f64::from(a - got[0]), z - want[0]);
            assert!((a - z).abs() < 1e-5, "{a} {z}");
        }
    }
    // 0.95 stays 0.95 behind a softmax, where it was 0.22 before.
    let mut row = vec![0.95_f32];
    row.extend([0.05 / 9.0; 9]);
    raw.to_logits(&mut row, classes).unwrap();
    let again = softmax(&row.iter().copied().map(f64::from).collect::<Vec<_>>());
    assert!((again[0] - 0.95).abs() < 1e-6, "{again:?}");
}

#[test]
fn what_the_network_says_is_shown_as_it_is() {
    let soft = rounded(&probabilities(8, 3), |p| p as f32);
    let percent: Vec<f32> = soft.iter().map(|p| 100.0 * p).collect();
    let shown = seen(&percent, 3).recognise().unwrap().probabilities(&[95.0, 4.0, 1.0]);
    assert!((shown[0] - 0.95).abs() < 1e-9, "{shown:?}");
    let sigmoid = seen(&[0.9, 0.9, 0.8, 0.1], 2).recognise().unwrap();
    assert!((sigmoid.probabilities(&[0.75, 0.5])[0] - 0.75).abs() < 1e-9);
    let softmax = RawOutputs::LOGITS.probabilities(&[3.0_f32.ln(), 0.0]);
    assert!((softmax[0] - 0.75).abs() < 1e-6, "{softmax:?}");
}

#[test]
fn rounded_probabilities_of_every_kind_are_recognised() {
    for classes in [2, 3, 10, 100, 1000] {
        let exact = probabilities(64, classes);
        let kinds: [(&str, f64, Vec<f32>); 5] = [
            ("f32", 1.0, rounded(&exact, |p| p as f32)),
            ("f16", 1.0, rounded(&exact, |p| f16::from_f64(p).to_f32())),
            ("percent", 100.0, rounded(&exact, |p| 100.0 * p as f32)),
            ("four decimals", 1.0, rounded(&exact, |p| (1e4 * p).round() as f32 / 1e4)),
            ("negative by rounding", 1.0, rounded(&exact, |p| p as f32 - 1e-8)),
        ];
        for (name, scale, values) in kinds {
            let raw = seen(&values, classes).recognise().unwrap();
            let got = (raw.output_type, raw.scale);
            assert_eq!(got, (OutputType::Probabilities, scale), "{name}, {classes} classes");
        }
    }
    // Whole percents and bytes, as a table of small integers has them.
    for scale in [100.0, 255.0] {
        let whole = rounded(&probabilities(64, 10), |p| (scale * p).round() as f32);
        let raw = seen(&whole, 10).recognise().unwrap();
        assert_eq!((raw.output_type, raw.scale), (OutputType::Probabilities, scale));
        let mut got = whole;
        raw.to_logits(&mut got, 10).unwrap();
        assert!(got.iter().all(|z| (-27.7..=0.0).contains(z)), "zeros are bounded");
    }
}

#[test]
fn logits_and_log_probabilities_stay_as_they_are() {
    let exact = logits(40, 10);
    let relu = rounded(&exact, |z| z.max(0.0) as f32);
    let cosines = rounded(&exact, |z| (0.25 + z / 100.0) as f32);
    let log = rounded(&probabilities(40, 10), |p| p.ln() as f32);
    for values in [rounded(&exact, |z| z as f32), relu, cosines, log] {
        let raw = seen(&values, 10).recognise().unwrap();
        assert_eq!(raw.output_type(), OutputType::Logits);
        assert!(raw.notes().is_empty(), "{:?}", raw.notes());
        let mut got = values.clone();
        raw.to_logits(&mut got, 10).unwrap();
        assert_eq!(got, values);
    }
    assert_eq!(OutputMeter::default().recognise().unwrap(), RawOutputs::LOGITS);
}

#[test]
fn a_sigmoid_of_each_class_becomes_its_input() {
    let exact = logits(40, 10);
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    for scale in [1.0, 100.0] {
        let given = rounded(&exact, |z| (scale * sigmoid(z)) as f32);
        let raw = seen(&given, 10).recognise().unwrap();
        assert_eq!((raw.output_type, raw.scale), (OutputType::Sigmoid, scale));
        let mut got = given;
        raw.to_logits(&mut got, 10).unwrap();
        for (got, want) in got.iter().zip(&exact) {
            // f32 near 1 holds no more than this of an input of 8.
            assert!((f64::from(*got) - want).abs() < 2e-4, "{got} {want}");
        }
    }
    // Where it is saturated nothing becomes infinite.
    let raw = seen(&[0.0, 1.0, 0.3, 1.0, 0.9, 0.2], 3).recognise().unwrap();
    let mut got = [0.0, 1.0, 0.5];
    raw.to_logits(&mut got, 3).unwrap();
    assert!((got[0] + 27.63).abs() < 0.01 && (got[1] - 17.33).abs() < 0.01, "{got:?}");
    assert_eq!(got[2], 0.0);
}

#[test]
fn labels_carry_no_dark_knowledge_and_that_is_told() {
    let one_hot = [0.0, 1.0, 0.0, 1.0, 0.0, 0.0];
    let smoothed = one_hot.map(|x| 0.05 + 0.85 * x);
    let percent = one_hot.map(|x| 100.0 * x);
    let as_logits = one_hot.map(|x| 12.0 * x - 2.0);
    let several = [0.0, 1.0, 1.0, 1.0, 0.0, 0.0];
    for values in [one_hot, smoothed, percent, as_logits, several] {
        let notes = seen(&values, 3).recognise().unwrap().notes();
        assert!(
            notes.iter().any(|note| note.contains("no dark knowledge")),
            "{values:?} {notes:?}"
        );
    }
    let mut got = one_hot;
    seen(&one_hot, 3).recognise().unwrap().to_logits(&mut got, 3).unwrap();
    assert!(got.iter().all(|z| z.is_finite()), "{got:?}");
    let soft = rounded(&probabilities(8, 3), |p| p as f32);
    assert_eq!(seen(&soft, 3).recognise().unwrap().notes().len(), 1, "soft answers do");
    let constant = [3.0, 0.0, 3.0, 0.0];
    assert!(
        seen(&constant, 2).recognise().unwrap().notes().is_empty(),
        "no labels, but one answer"
    );
}

#[test]
fn what_the_recipe_says_wins_and_what_cannot_be_is_refused() {
    let soft = rounded(&probabilities(8, 3), |p| p as f32);
    let raw = seen(&soft, 3).declared(OutputType::Logits).unwrap();
    let mut got = soft.clone();
    raw.to_logits(&mut got, 3).unwrap();
    assert_eq!(got, soft);
    assert!(raw.notes()[0].contains("look like `output_type = \"probabilities\"`"));
    // Any sum will do if it is said: per mille.
    let mille: Vec<f32> = soft.iter().map(|p| 1000.0 * p).collect();
    let raw = seen(&mille, 3).declared(OutputType::Probabilities).unwrap();
    let (mut got, mut want) = (mille, soft.clone());
    raw.to_logits(&mut got, 3).unwrap();
    seen(&soft, 3).recognise().unwrap().to_logits(&mut want, 3).unwrap();
    for (got, want) in got.iter().zip(&want) {
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
    let logits = rounded(&logits(8, 3), |z| z as f32);
    for output_type in [OutputType::Probabilities, OutputType::Sigmoid] {
        let error = seen(&logits, 3).declared(output_type).unwrap_err();
        assert!(error.contains("go from -"), "{error}");
    }
}

#[test]
fn a_later_row_that_does_not_fit_is_an_error_and_nan_stays_nan() {
    let soft = rounded(&probabilities(8, 3), |p| p as f32);
    let raw = seen(&soft, 3).recognise().unwrap();
    let error = raw.to_logits(&mut [0.9, 0.9, 0.1], 3).unwrap_err();
    assert!(error.contains("sums to 1.9"), "{error}");
    assert!(raw.to_logits(&mut [2.0, -1.0, 0.0], 3).is_err());
    let sigmoid = seen(&[0.9, 0.9, 0.8, 0.1], 2).recognise().unwrap();
    for raw in [raw, sigmoid] {
        for value in [f32::NAN, f32::INFINITY] {
            let mut broken = [value, 0.5, 0.5];
            raw.to_logits(&mut broken, 3).unwrap();
            assert!(broken[0].is_nan());
        }
    }
    assert!(sigmoid.to_logits(&mut [1.5, 0.0], 2).is_err());
    // A row that is not finite says nothing about what the others are.
    let mut meter = seen(&soft, 3);
    meter.add(&[f32::NAN, f32::INFINITY, 0.0], 3);
    assert_eq!(meter.recognise().unwrap().output_type(), OutputType::Probabilities);
}

#[test]
fn rows_that_sum_to_any_one_number_are_probabilities_if_there_are_many() {
    let votes: Vec<f32> = probabilities(200, 10).iter().map(|p| 1000.0 * *p as f32).collect();
    let raw = seen(&votes, 10).recognise().unwrap();
    assert_eq!(raw.output_type(), OutputType::Probabilities);
    assert!((raw.scale - 1000.0).abs() < 0.01, "{}", raw.scale);
    // A trial of a few images says too little.
    let few = seen(&votes[..320], 10).recognise().unwrap();
    assert_eq!(few.output_type(), OutputType::Logits);
    // The same positive logits for all samples are no probabilities.
    let same = seen(&[1.0, 2.0, 3.0].repeat(200), 3).recognise().unwrap();
    assert_eq!(same.output_type(), OutputType::Logits);
}

#[test]
fn a_table_of_two_kinds_of_rows_is_refused() {
    let soft = rounded(&probabilities(200, 10), |p| p as f32);
    let plain = rounded(&logits(200, 10), |z| z as f32);
    let mut mixed = soft.clone();
    mixed[1000..].copy_from_slice(&plain[1000..]);
    let mut zero = soft.clone();
    zero[70..80].fill(0.0);
    let mut more = soft.clone();
    more[75] += 0.5;
    for (values, part) in
        [(&mixed, "100 of its 200 rows"), (&zero, "199 of its"), (&more, "199 of")]
    {
        let meter = seen(values, 10);
        let problem = meter.recognise().unwrap_err();
        assert!(problem.contains(part), "{problem}");
        // Whoever says what they are is believed, as far as it can be.
        assert_eq!(meter.declared(OutputType::Logits).unwrap().output_type(), OutputType::Logits);
        assert!(meter.declared(OutputType::Probabilities).is_err());
    }
    // Classes by themselves sum to 1 now and then.
    let sigmoid = rounded(&logits(200, 2), |z| 1.0 / (1.0 + (-z as f32).exp()));
    let raw = seen(&sigmoid, 2).recognise().unwrap();
    assert_eq!(raw.output_type(), OutputType::Sigmoid);
}
