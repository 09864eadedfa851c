//! Perplexity and bits per character.

use faculty_inputs::Tokens;
use faculty_language::{LanguageError, LanguageModel, WindowConfig, measure};

use crate::small;

const TEXT: &str = "the man in the café has 12 things to say, and then the end";

/// `-ln p` of each token but the first of each window, by the definition.
fn surprises(model: &mut LanguageModel, ids: &[u32]) -> Vec<f64> {
    let mut tokens = Tokens::default();
    tokens.push(ids, &vec![0; ids.len()]);
    let (hidden, mut logits) = (model.decoder.hidden(&tokens).to_vec(), Vec::new());
    model.decoder.logits(&hidden, &mut logits);
    let rows = logits.chunks_exact(model.decoder.config().vocabulary);
    let one = |(row, &label): (&[f32], &u32)| {
        let sum: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
        sum.ln() - f64::from(row[label as usize])
    };
    rows.zip(&ids[1..]).map(one).collect()
}

#[test]
fn the_nats_are_those_of_the_definition_in_windows_of_any_size() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = LanguageModel::open(&small::gguf(folder.path())).unwrap();
    let ids = model.tokenizer.encode(TEXT).unwrap();
    let first = model.tokenizer.decode(&ids[..1]).unwrap().chars().count();
    let whole = surprises(&mut model, &ids).iter().sum::<f64>();
    for (window, overlap) in [(512, 256), (512, 1), (20, 19), (20, 5), (7, 1), (2, 1), (64, 30)] {
        let mut reported = Vec::new();
        let config = WindowConfig { window, overlap };
        let own =
            measure(&mut model, TEXT, config, |done, all| reported.push((done, all))).unwrap();
        let (mut want, mut scored, mut start) = (0.0, 1, 0);
        while scored < ids.len() {
            let end = ids.len().min(start + window);
            let all = surprises(&mut model, &ids[start..end]);
            want += all[scored - 1 - start..].iter().sum::<f64>();
            (scored, start) = (end, end.saturating_sub(overlap));
        }
        assert!((own.nats - want).abs() < 1e-4 * want, "{window} {overlap}: {} {want}", own.nats);
        assert_eq!((own.tokens, own.characters), (ids.len() - 1, TEXT.chars().count() - first));
        assert_eq!(reported.last(), Some(&(own.tokens, own.tokens)));
        if window >= ids.len() {
            assert!((own.nats - whole).abs() < 1e-4 * whole);
            assert!((own.perplexity() - (whole / own.tokens as f64).exp()).abs() < 1e-2);
            let bits = whole / 2.0_f64.ln() / own.characters as f64;
            assert!((own.bits_per_character() - bits).abs() < 1e-4);
        }
    }
}

#[test]
fn a_text_longer_than_the_model_reads_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = LanguageModel::open(&small::gguf(folder.path())).unwrap();
    let text = TEXT.repeat(4);
    let own = measure(&mut model, &text, WindowConfig::default(), |_, _| {}).unwrap();
    let config = WindowConfig { window: 64, overlap: 32 };
    assert_eq!(own, measure(&mut model, &text, config, |_, _| {}).unwrap());
    let refused = |text: &str, window, overlap, model: &mut LanguageModel| {
        measure(model, text, WindowConfig { window, overlap }, |_, _| {}).unwrap_err()
    };
    for (window, overlap) in [(1, 1), (8, 8), (8, 0)] {
        let error = refused(TEXT, window, overlap, &mut model);
        assert!(matches!(error, LanguageError::OutOfRange { .. }), "{error}");
    }
    for text in ["", "x"] {
        let error = refused(text, 8, 4, &mut model);
        assert!(error.to_string().contains("nothing to predict"), "{error}");
    }
}
