//! A student beside a teacher.

use faculty_inputs::Tokens;
use faculty_language::{
    Agreement, Generated, GenerationConfig, JudgementConfig, LanguageError, LanguageModel, Prompt,
    agreement, generate, judge,
};
use faculty_nets::{Decoder, DecoderConfig, Network};

use crate::small;

const TEXT: &str =
    "the man in the café has 12 things to say, and then the end of the tale comes and so on";

fn model() -> LanguageModel {
    let folder = tempfile::tempdir().unwrap();
    LanguageModel::open(&small::gguf(folder.path())).unwrap()
}

fn teacher() -> LanguageModel {
    let config = DecoderConfig { layers: 1, longest: 60, ..small::config() };
    let network = Network::from_graph("teacher", config.graph().unwrap(), 11);
    LanguageModel { decoder: Decoder::new(&network), ..model() }
}

fn config() -> JudgementConfig {
    JudgementConfig { prompts: 3, prompt_tokens: 8, max_tokens: 9, seed: 4, ..Default::default() }
}

fn run(student: &mut LanguageModel, teacher: &mut LanguageModel) -> faculty_language::Judgement {
    judge(student, teacher, TEXT, &config(), |_| {}).unwrap()
}

/// Logits of every token of a text.
fn rows(model: &mut LanguageModel, text: &[u32]) -> Vec<Vec<f32>> {
    let mut tokens = Tokens::default();
    tokens.push(text, &vec![0; text.len()]);
    let (hidden, mut logits) = (model.decoder.hidden(&tokens).to_vec(), Vec::new());
    model.decoder.logits(&hidden, &mut logits);
    logits.chunks_exact(model.decoder.config().vocabulary).map(<[f32]>::to_vec).collect()
}

fn with_end(text: &Generated) -> Vec<u32> {
    let end = match text.end {
        faculty_language::End::Token(id) => Some(id),
        _ => None,
    };
    text.ids.iter().copied().chain(end).collect()
}

fn near(got: f64, want: f64) {
    assert!((got - want).abs() < 1e-5 * want.abs().max(1.0), "{got}, {want} expected");
}

#[test]
fn means_are_over_the_tokens_behind_the_prompts() {
    let (mut student, mut teacher) = (model(), teacher());
    let ids = student.tokenizer.encode(TEXT).unwrap();
    let own = run(&mut student, &mut teacher);
    // Pieces of 17 tokens: four fit, three are taken.
    assert_eq!((ids.len() / 17, own.prompts), (4, 3));
    let starts = [0, 17, 34];
    let alone = GenerationConfig { max_tokens: 9, seed: 4, ..Default::default() };
    let prompts: Vec<Prompt> = (0..)
        .zip(starts)
        .map(|(sample, at)| Prompt { ids: ids[at..at + 8].to_vec(), sample })
        .collect();
    let ends = student.ends.clone();
    let texts = generate(&mut student.decoder, &prompts, &ends, &alone, |_, _| {}).unwrap();
    let (reported, written): (Vec<Prompt>, Vec<Generated>) = own.texts.iter().cloned().unzip();
    assert_eq!((reported, &written), (prompts.clone(), &texts));
    let real: Vec<Vec<u32>> = starts.iter().map(|&at| ids[at + 8..at + 17].to_vec()).collect();
    let texts: Vec<Vec<u32>> = texts.iter().map(with_end).collect();
    for (got, continuations) in [(own.real, real), (own.own, texts.clone())] {
        let (mut sum, mut nats) = (Agreement::default(), 0.0);
        for (prompt, behind) in prompts.iter().zip(&continuations) {
            let all = [prompt.ids.as_slice(), behind].concat();
            let [of_student, of_teacher] =
                [&mut student, &mut teacher].map(|model| rows(model, &all));
            for at in 7..all.len() - 1 {
                let own = agreement(&of_student[at], &of_teacher[at]);
                sum.tokens += 1;
                sum.kl += own.kl;
                sum.reverse_kl += own.reverse_kl;
                sum.acceptance += own.acceptance;
                sum.top1 += own.top1;
                let all_exp: f64 = of_teacher[at].iter().map(|&z| f64::from(z).exp()).sum();
                nats += all_exp.ln() - f64::from(of_teacher[at][all[at + 1] as usize]);
            }
        }
        assert_eq!(got.tokens, sum.tokens);
        let count = sum.tokens as f64;
        near(got.kl, sum.kl / count);
        near(got.reverse_kl, sum.reverse_kl / count);
        near(got.acceptance, sum.acceptance / count);
        near(got.top1, sum.top1 / count);
        if continuations == texts {
            near(own.teacher_nats, nats / count);
        }
    }
    assert!(own.real.kl > 0.01 && own.real.acceptance < 0.99, "{own:?}");
    let counts = own.speculation;
    assert!(counts.calls > 0 && counts.written <= 27, "{counts:?}");
    assert_eq!(run(&mut student, &mut teacher), own);
}

#[test]
fn a_model_agrees_with_itself() {
    let own = run(&mut model(), &mut model());
    for agreement in [own.real, own.own] {
        assert!(agreement.kl.abs() < 1e-9 && (agreement.acceptance - 1.0).abs() < 1e-9);
        assert!((agreement.top1 - 1.0).abs() < 1e-12);
    }
    assert_eq!(own.speculation.rejected, 0);
    // Rounds of 5 drafts and one token more: 6 and 3 of the 9.
    assert!(own.speculation.tokens_per_call() > 3.0);
}

#[test]
fn short_texts_are_one_piece_and_long_prompts_are_cut_to_the_models() {
    let (mut student, mut teacher) = (model(), teacher());
    let short = "the man in the café";
    let tokens = student.tokenizer.encode(short).unwrap().len();
    let own = judge(&mut student, &mut teacher, short, &config(), |_| {}).unwrap();
    assert_eq!((own.prompts, own.real.tokens), (1, (tokens - 8).min(9)));
    let long = JudgementConfig { prompt_tokens: 100, max_tokens: 100, ..config() };
    let own = judge(&mut student, &mut teacher, &TEXT.repeat(3), &long, |_| {}).unwrap();
    assert_eq!(own.texts[0].0.ids.len(), 30);
    assert_eq!(own.real.tokens, own.prompts * 30);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let (mut student, mut same) = (model(), teacher());
    let refused = |student: &mut LanguageModel, teacher: &mut LanguageModel, text, config| {
        judge(student, teacher, text, &config, |_| {}).unwrap_err()
    };
    let error = refused(&mut student, &mut same, "in", config());
    assert!(matches!(error, LanguageError::ShortText { .. }), "{error}");
    let none = JudgementConfig { drafts: 0, ..config() };
    let error = refused(&mut student, &mut same, TEXT, none);
    assert!(error.to_string().contains("`drafts` is 0"), "{error}");
    let config_of = DecoderConfig { vocabulary: 300, ..small::config() };
    let network = Network::from_graph("other", config_of.graph().unwrap(), 1);
    let mut large = LanguageModel { decoder: Decoder::new(&network), ..model() };
    let error = refused(&mut student, &mut large, TEXT, config());
    assert!(matches!(error, LanguageError::Vocabularies { teacher: 300, .. }), "{error}");
    // As many tokens, but not the same.
    let folder = tempfile::tempdir().unwrap();
    let mut tokens = small::vocabulary();
    let last = tokens.len() - 1;
    tokens[last] = "21".to_owned();
    let merges: Vec<String> =
        small::MERGES[..4].iter().map(|own| (*own).to_owned()).chain(["2 1".to_owned()]).collect();
    let strings = |own: Vec<String>| faculty_gguf::Value::Array(faculty_gguf::Array::Strings(own));
    let writer = small::writer("smollm")
        .with("tokenizer.ggml.tokens", strings(tokens))
        .with("tokenizer.ggml.merges", strings(merges));
    let path = folder.path().join("other.gguf");
    std::fs::write(&path, writer.to_bytes()).unwrap();
    let error = refused(&mut student, &mut LanguageModel::open(&path).unwrap(), TEXT, config());
    let want = format!("1 of {} ids stand for other tokens", small::vocabulary().len());
    assert!(error.to_string().contains(&want), "{error}");
    assert!(error.to_string().contains("`12` in the student, `21` in the teacher"), "{error}");
}
