//! Samples worth looking at: the teachers contradict each other.

use faculty_data::{Split, Text, thumbnail};
use faculty_records::report_data::{Answer, Example, MOST_EXAMPLES, MOST_OF_CLASS};

use super::seen::Seen;
use crate::error::Result;
use crate::preflight::answers;

/// Longest side of an example's picture, pixels.
const LARGEST_SIDE: u32 = 64;
/// Characters of an example's text.
const LONGEST_TEXT: usize = 300;

/// The answer of each row of logits `[batch, classes]`.
pub(super) fn judge(logits: &[f32], labels: &[u32], classes: usize) -> Vec<Option<Answer>> {
    let rows = logits.chunks_exact(classes.max(1)).zip(labels).zip(answers(logits, classes));
    rows.map(|((row, &label), answer)| {
        let class = answer?;
        let largest = f64::from(row[class as usize]);
        let whole: f64 = row.iter().map(|&z| (f64::from(z) - largest).exp()).sum();
        let of_label = (f64::from(row[label as usize]) - largest).exp() / whole;
        whole.is_finite().then_some(Answer { class, confidence: 1.0 / whole, of_label })
    })
    .collect()
}

/// How far the teachers contradict each other: how many different answers they give, and how
/// surely, as the sum over pairs with different answers of the product of their confidences. One
/// teacher alone contradicts the label.
fn contradiction(seen: &Seen, sample: usize) -> (usize, f64) {
    let said: Vec<Answer> = seen.teachers.iter().filter_map(|own| own[sample]).collect();
    if let [own] = said[..] {
        let wrong = own.class != seen.labels[sample];
        return if wrong { (1, own.confidence) } else { (1, 0.0) };
    }
    let mut different: Vec<u32> = said.iter().map(|own| own.class).collect();
    different.sort_unstable();
    different.dedup();
    let pairs = said.iter().enumerate().flat_map(|(i, a)| said[..i].iter().map(move |b| (a, b)));
    let contrary = pairs.filter(|(a, b)| a.class != b.class);
    (different.len(), contrary.map(|(a, b)| a.confidence * b.confidence).sum())
}

/// The most contradictory samples of each class, class by class.
///
/// # Errors
/// When they are no images.
pub(super) fn choose(seen: &Seen, part: &Split, classes: usize) -> Result<Vec<Example>> {
    let of_class = (MOST_EXAMPLES / classes.max(1)).clamp(1, MOST_OF_CLASS);
    let mut ranked: Vec<((usize, f64), usize)> = (0..seen.labels.len())
        .map(|sample| (contradiction(seen, sample), sample))
        .filter(|((_, surely), _)| *surely > 0.0)
        .collect();
    // Equal ones by id, so that the order of the files does not matter.
    ranked.sort_by(|(a, first), (b, second)| {
        let order = b.0.cmp(&a.0).then(b.1.total_cmp(&a.1));
        order.then_with(|| part.id(*first).cmp(&part.id(*second)))
    });
    let mut taken = vec![0; classes];
    ranked.retain(|&(_, sample)| {
        let own = &mut taken[seen.labels[sample] as usize];
        *own += 1;
        *own <= of_class
    });
    ranked.truncate(MOST_EXAMPLES);
    // Stable: within a class the most contradictory stay first.
    ranked.sort_by_key(|&(_, sample)| seen.labels[sample]);
    ranked.into_iter().map(|(_, sample)| example(seen, part, sample)).collect()
}

fn example(seen: &Seen, part: &Split, sample: usize) -> Result<Example> {
    let weights = seen.weights.iter().filter_map(|(level, weights)| {
        let own: Vec<f64> = weights.iter().map(|own| own[sample]).collect();
        own.iter().all(|weight| weight.is_finite()).then(|| ((*level).to_owned(), own))
    });
    let (image, text) = match part.texts() {
        Some(texts) => (String::new(), Some(excerpt(&texts.texts()[part.indices()[sample]]))),
        None => (thumbnail(part.image(sample)?, part.shape()?, LARGEST_SIDE), None),
    };
    Ok(Example {
        id: part.id(sample).to_string(),
        label: seen.labels[sample],
        image,
        text,
        origin: part.origin(sample),
        student: seen.student[sample],
        teachers: seen.teachers.iter().map(|own| own[sample]).collect(),
        weights: weights.collect(),
    })
}

/// The beginning of a text, or of both of a pair.
fn excerpt(text: &Text) -> String {
    let start = |text: &str| match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    };
    match &text.second {
        None => start(&text.first),
        Some(second) => format!("{}\n{}", start(&text.first), start(second)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use faculty_data::ImageSet;

    use super::*;

    #[test]
    fn answers_come_with_their_probabilities() {
        let ln3 = 3.0_f32.ln();
        let said = judge(&[ln3, 0.0, f32::NAN, 0.0], &[1, 0], 2);
        let own = said[0].unwrap();
        assert_eq!(own.class, 0);
        assert!((own.confidence - 0.75).abs() < 1e-6 && (own.of_label - 0.25).abs() < 1e-6);
        assert_eq!(said[1], None);
    }

    #[test]
    fn the_surest_contradictions_of_every_class_come_first() {
        let says = |class, confidence| Some(Answer { class, confidence, of_label: 0.0 });
        let samples = 40;
        // Class 0 and 1 by turns; the teachers differ on all but the first two, ever more surely.
        let sure = |sample: usize| 0.5 + sample as f64 / 100.0;
        let first = (0..samples).map(|sample| says(0, sure(sample)));
        let second = (0..samples).map(|sample| says(u32::from(sample > 1), sure(sample)));
        let seen = Seen {
            labels: (0..samples as u32).map(|sample| sample % 2).collect(),
            student: vec![None; samples],
            teachers: vec![first.collect(), second.collect()],
            weights: vec![("kd", vec![vec![0.5; samples], vec![f64::NAN; samples]])],
        };
        let pixels = (0..samples as u8 * 4).collect();
        let set = ImageSet::new(1, 2, 2, pixels, seen.labels.clone()).unwrap();
        let part = Split::whole(Arc::new(set));
        let chosen = choose(&seen, &part, 2).unwrap();
        assert_eq!(chosen.len(), 2 * MOST_OF_CLASS);
        assert_eq!((chosen[0].id.clone(), chosen[0].label), (part.id(38).to_string(), 0));
        assert_eq!(chosen[MOST_OF_CLASS].id, part.id(39).to_string());
        // Weights that are no numbers are not shown.
        assert!(chosen.iter().all(|own| own.weights.is_empty()));
        assert!(chosen[0].image.starts_with("data:image/png;base64,iVBOR"));

        let alone = Seen { teachers: vec![vec![says(1, 0.9); samples]], weights: vec![], ..seen };
        assert!(choose(&alone, &part, 2).unwrap().iter().all(|own| own.label == 0));
    }
}
