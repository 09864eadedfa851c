//! Texts of two models: the reference of acceptance, and what they must be equal to.

use std::path::Path;

use faculty_inputs::Tokens;
use faculty_language::{
    Acceptance, End, Generated, GenerationConfig, LanguageError, Prompt, Sampling, Speculated,
    SpeculativeConfig, SpeculativeCounts, first_rejection, generate, is_among_top, speculate,
    teacher_seed,
};
use faculty_nets::{Decoder, DecoderConfig, Network};
use faculty_random::{Purpose, draw, splitmix64, unit};
use faculty_testkit::{Case, files, reference_folder};

use crate::small;

#[test]
fn golden_cases_of_acceptance() {
    let folder =
        reference_folder("FACULTY_GOLDEN", Path::new("crates/language/tests/golden")).unwrap();
    let mut passed = 0;
    for path in files(&folder, "safetensors") {
        let case = Case::read(&path);
        if case.metadata.get("case").is_none_or(|name| name != "skd_accept") {
            continue;
        }
        let k = case.param("top_k") as usize;
        let tokens: Vec<u32> = case.values("in.tokens").iter().map(|&id| id as u32).collect();
        let logits = case.tensor("in.teacher_logits");
        let rows = logits.values.chunks_exact(logits.shape[1]).zip(&tokens);
        let accepted: Vec<f32> =
            rows.map(|(row, &id)| f32::from(u8::from(is_among_top(row, id, k)))).collect();
        assert_eq!(accepted, case.values("out.accepted"), "{}", case.name);
        let first = first_rejection(&logits.values, &tokens, k);
        assert_eq!([first as f32], case.values("out.first_rejection"), "{}", case.name);
        passed += 1;
    }
    assert!(passed >= 3, "{passed} cases in {}", folder.display());
}

/// A teacher of the small model's vocabulary that is not its like.
fn teacher() -> Network {
    let config = DecoderConfig { layers: 1, longest: 60, ..small::config() };
    Network::from_graph("teacher", config.graph().unwrap(), 11)
}

fn models() -> [Decoder; 2] {
    [Decoder::new(&small::network()), Decoder::new(&teacher())]
}

fn prompts() -> Vec<Prompt> {
    let ids = |text: u64, length: u64| -> Vec<u32> {
        let of = |i| splitmix64(text, i) % small::config().vocabulary as u64;
        (0..length).map(|i| of(i) as u32).collect()
    };
    let lengths = [3, 17, 1, 9, 5, 40];
    let mut all: Vec<Prompt> =
        (0..).zip(lengths).map(|(text, n)| Prompt { ids: ids(text, n), sample: 0 }).collect();
    all.push(Prompt { sample: 1, ..all[1].clone() });
    all
}

const ENDS: [u32; 8] = [0, 1, 7, 19, 40, 77, 100, 200];

fn config() -> SpeculativeConfig {
    SpeculativeConfig {
        max_tokens: 14,
        drafts: 4,
        acceptance: Acceptance::TopK(60),
        student: Sampling { temperature: 0.9, top_k: Some(50), top_p: Some(0.95) },
        teacher: Sampling { temperature: 0.8, top_k: None, top_p: Some(0.9) },
        seed: 3,
        batch: 4,
    }
}

fn run(prompts: &[Prompt], config: &SpeculativeConfig, ends: &[u32]) -> Vec<Speculated> {
    let [mut student, mut teacher] = models();
    speculate(&mut student, &mut teacher, prompts, ends, config, |_, _| {}).unwrap()
}

fn texts(all: Vec<Speculated>) -> Vec<Generated> {
    all.into_iter().map(|own| own.text).collect()
}

/// Logits of the token behind a text that is read as a whole.
fn logits(decoder: &mut Decoder, text: &[u32]) -> Vec<f32> {
    let mut tokens = Tokens::default();
    tokens.push(text, &vec![0; text.len()]);
    let width = decoder.config().width;
    let hidden = decoder.hidden(&tokens)[(text.len() - 1) * width..].to_vec();
    let mut logits = Vec::new();
    decoder.logits(&hidden, &mut logits);
    logits
}

/// The number that chooses a token behind a prompt.
fn number(seed: u64, prompt: &Prompt, place: u64) -> f64 {
    let absorb = |state: u64, &id: &u32| splitmix64(state, u64::from(id));
    let key = splitmix64(prompt.ids.iter().fold(prompt.ids.len() as u64, absorb), prompt.sample);
    unit(draw(Purpose::Tokens, seed, key, place, 0))
}

#[test]
fn a_text_is_that_of_the_definition_without_cache_rounds_or_rollback() {
    let (prompts, config) = (prompts(), config());
    let [mut student, mut teacher] = models();
    let Acceptance::TopK(k) = config.acceptance else { unreachable!() };
    let made = run(&prompts, &config, &ENDS);
    let (mut kept, mut replaced) = (0, 0);
    for (prompt, own) in prompts.iter().zip(&made) {
        let mut text = prompt.ids.clone();
        let end = loop {
            let place = (text.len() - prompt.ids.len()) as u64;
            let of_student = logits(&mut student, &text);
            let draft = config.student.choose(&of_student, number(config.seed, prompt, place));
            let of_teacher = logits(&mut teacher, &text);
            let token = match is_among_top(&of_teacher, draft, k) {
                true => draft,
                false => {
                    let number = number(teacher_seed(config.seed), prompt, place);
                    config.teacher.choose(&of_teacher, number)
                }
            };
            *(if token == draft { &mut kept } else { &mut replaced }) += 1;
            if ENDS.contains(&token) {
                break End::Token(token);
            }
            text.push(token);
            if text.len() - prompt.ids.len() == config.max_tokens {
                break End::MaxTokens;
            }
        };
        assert_eq!(own.text, Generated { ids: text.split_off(prompt.ids.len()), end });
    }
    assert!(kept > 10 && replaced > 10, "{kept} kept, {replaced} replaced");
}

#[test]
fn texts_do_not_depend_on_drafts_batch_order_or_threads() {
    let prompts = prompts();
    let want = run(&prompts, &config(), &ENDS);
    assert!(want.iter().any(|own| matches!(own.text.end, End::Token(_))));
    assert!(want.iter().any(|own| own.text.end == End::MaxTokens));
    for batch in [1, 2, 100] {
        assert_eq!(run(&prompts, &SpeculativeConfig { batch, ..config() }, &ENDS), want, "{batch}");
    }
    for (prompt, want) in prompts.iter().zip(&want) {
        assert_eq!(&run(std::slice::from_ref(prompt), &config(), &ENDS)[0], want);
    }
    let reversed: Vec<Prompt> = prompts.iter().rev().cloned().collect();
    let mut turned = run(&reversed, &config(), &ENDS);
    turned.reverse();
    assert_eq!(turned, want);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| run(&prompts, &config(), &ENDS)), want, "{threads} threads");
    }
    let want = texts(want);
    for drafts in [1, 2, 7, 50] {
        let other = SpeculativeConfig { drafts, ..config() };
        assert_eq!(texts(run(&prompts, &other, &ENDS)), want, "{drafts} drafts");
    }
    assert_ne!(texts(run(&prompts, &SpeculativeConfig { seed: 4, ..config() }, &ENDS)), want);
}

#[test]
fn with_every_token_accepted_the_student_writes_and_with_none_the_teacher() {
    let (prompts, own) = (prompts(), config());
    let [mut student, mut teacher] = models();
    let vocabulary = small::config().vocabulary;
    let alone = |decoder: &mut Decoder, sampling, seed| {
        let config =
            GenerationConfig { max_tokens: own.max_tokens, sampling, seed, batch: own.batch };
        generate(decoder, &prompts, &ENDS, &config, |_, _| {}).unwrap()
    };
    let all = SpeculativeConfig { acceptance: Acceptance::TopK(vocabulary), ..own };
    let made = run(&prompts, &all, &ENDS);
    assert!(made.iter().all(|text| text.counts.rejected == 0));
    assert_eq!(texts(made), alone(&mut student, own.student, own.seed));
    let none = SpeculativeConfig { acceptance: Acceptance::TopK(0), ..own };
    let made = run(&prompts, &none, &ENDS);
    assert!(made.iter().all(|text| text.counts.accepted == 0));
    assert_eq!(texts(made), alone(&mut teacher, own.teacher, teacher_seed(own.seed)));
}

#[test]
fn lossless_texts_at_temperature_0_are_the_teachers() {
    let prompts = prompts();
    let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
    let [_, mut teacher] = models();
    let alone = GenerationConfig { max_tokens: 14, sampling: greedy, seed: 0, batch: 4 };
    let want = generate(&mut teacher, &prompts, &ENDS, &alone, |_, _| {}).unwrap();
    for (drafts, student) in [(1, greedy), (4, greedy), (3, Sampling::default())] {
        let acceptance = Acceptance::Lossless;
        let config = SpeculativeConfig { drafts, acceptance, student, teacher: greedy, ..config() };
        let mut reported = vec![Vec::new(); prompts.len()];
        let [mut student, mut teacher] = models();
        let tell = |prompt: usize, id: u32| reported[prompt].push(id);
        let made = speculate(&mut student, &mut teacher, &prompts, &ENDS, &config, tell).unwrap();
        assert!(made.iter().zip(&reported).all(|(own, reported)| own.text.ids == *reported));
        assert_eq!(texts(made), want, "{drafts} drafts");
    }
    // A model that drafts for itself is always right: γ + 1 tokens a call.
    let config = SpeculativeConfig {
        max_tokens: 15,
        acceptance: Acceptance::Lossless,
        student: Sampling::default(),
        teacher: Sampling::default(),
        ..config()
    };
    let [mut student, mut same] = [(); 2].map(|()| Decoder::new(&small::network()));
    let made = speculate(&mut student, &mut same, &prompts[..1], &[], &config, |_, _| {}).unwrap();
    let want = SpeculativeCounts { calls: 3, drafted: 12, accepted: 12, rejected: 0, written: 15 };
    assert_eq!(made[0].counts, want);
    assert_eq!((want.tokens_per_call(), want.acceptance()), (5.0, 1.0));
}

#[test]
fn lossless_texts_are_distributed_as_the_teachers() {
    const SAMPLES: u64 = 6000;
    let model = |seed: u64| {
        let config = DecoderConfig { layers: 1, initial_deviation: 0.6, ..small::config() };
        let config = DecoderConfig { vocabulary: 4, ..config };
        Decoder::new(&Network::from_graph("four", config.graph().unwrap(), seed))
    };
    let [mut student, mut teacher] = [model(1), model(2)];
    let of = Sampling { temperature: 0.8, ..Sampling::default() };
    let other = Sampling { temperature: 1.3, top_k: Some(3), top_p: None };
    let prompt = vec![1, 2];
    // All texts of three tokens, with what the teacher alone gives them.
    let mut want = [0.0; 64];
    for (number, want) in want.iter_mut().enumerate() {
        let text = [number / 16, number / 4 % 4, number % 4].map(|id| id as u32);
        *want = (0..3).fold(SAMPLES as f64, |share, at| {
            let logits = logits(&mut teacher, &[&prompt[..], &text[..at]].concat());
            let own = of.distribution(&logits).into_iter().find(|own| own.0 == text[at]);
            share * own.map_or(0.0, |own| own.1)
        });
    }
    let prompts: Vec<Prompt> =
        (0..SAMPLES).map(|sample| Prompt { ids: prompt.clone(), sample }).collect();
    for drafts in [1, 2] {
        let config = SpeculativeConfig {
            max_tokens: 3,
            drafts,
            acceptance: Acceptance::Lossless,
            student: other,
            teacher: of,
            seed: 9,
            batch: 500,
        };
        let made = speculate(&mut student, &mut teacher, &prompts, &[], &config, |_, _| {});
        let (mut counts, mut sum) = ([0.0; 64], SpeculativeCounts::default());
        for own in made.unwrap() {
            counts[own.text.ids.iter().fold(0, |sum, &id| sum * 4 + id as usize)] += 1.0;
            sum.add(&own.counts);
        }
        assert!(sum.accepted > 1000 && sum.rejected > 1000, "{sum:?}");
        // Cells of few expected texts together: chi-square with at most 63 degrees of freedom has
        // mean 63 and standard deviation 11.2; 120 is five of them.
        let (mut chi, mut rest) = (0.0, [0.0; 2]);
        for (got, want) in counts.iter().zip(want) {
            match want > 5.0 {
                true => chi += (got - want).powi(2) / want,
                false => rest = [rest[0] + got, rest[1] + want],
            }
        }
        chi += (rest[0] - rest[1]).powi(2) / rest[1].max(1.0);
        assert!(chi < 120.0, "{drafts} drafts: chi-square {chi}");
    }
    // The first draft stays as often as both distributions have in common.
    let both = [(&mut student, other), (&mut teacher, of)].map(|(model, sampling)| {
        let mut all = [0.0; 4];
        let logits = logits(model, &prompt);
        sampling.distribution(&logits).into_iter().for_each(|own| all[own.0 as usize] = own.1);
        all
    });
    let alpha: f64 = both[0].iter().zip(&both[1]).map(|(q, p)| q.min(*p)).sum();
    let config = SpeculativeConfig {
        max_tokens: 1,
        drafts: 1,
        acceptance: Acceptance::Lossless,
        student: other,
        teacher: of,
        seed: 10,
        batch: 500,
    };
    let made = speculate(&mut student, &mut teacher, &prompts, &[], &config, |_, _| {}).unwrap();
    let accepted = made.iter().filter(|own| own.counts.accepted == 1).count() as f64;
    // Standard deviation 0.0065 at most.
    assert!((accepted / SAMPLES as f64 - alpha).abs() < 0.035, "{accepted} of 6000, α {alpha}");
}

#[test]
fn texts_end_where_a_model_reads_no_further() {
    let prompts = prompts();
    for acceptance in [Acceptance::TopK(60), Acceptance::Lossless] {
        let config = SpeculativeConfig { max_tokens: 1000, acceptance, ..config() };
        for (prompt, own) in prompts.iter().zip(run(&prompts, &config, &[])) {
            assert_eq!(own.text.end, End::Context);
            // The teacher reads 60, the student 64.
            assert_eq!(prompt.ids.len() + own.text.ids.len(), 61);
            assert_eq!(own.counts.written, own.text.ids.len());
        }
    }
    let none = SpeculativeConfig { max_tokens: 0, ..config() };
    assert!(run(&prompts, &none, &[]).iter().all(|own| own.text.ids.is_empty()));
    assert!(run(&[], &config(), &[]).is_empty());
}

#[test]
fn models_and_numbers_that_do_not_fit_are_refused() {
    let [mut student, mut teacher] = models();
    let prompts = [Prompt { ids: vec![1], sample: 0 }];
    let none = SpeculativeConfig { drafts: 0, ..config() };
    let error = speculate(&mut student, &mut teacher, &prompts, &[], &none, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("`drafts` is 0"), "{error}");
    let long = [Prompt { ids: vec![1; 61], sample: 0 }];
    let error =
        speculate(&mut student, &mut teacher, &long, &[], &config(), |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("the model reads 60"), "{error}");
    let other = DecoderConfig { vocabulary: 50, ..small::config() };
    let mut other = Decoder::new(&Network::from_graph("other", other.graph().unwrap(), 1));
    let error =
        speculate(&mut student, &mut other, &prompts, &[], &config(), |_, _| {}).unwrap_err();
    assert!(matches!(error, LanguageError::Vocabularies { teacher: 50, .. }), "{error}");
    assert!(!error.hint().is_empty());
}
