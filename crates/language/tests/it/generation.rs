//! Generated texts: a function of prompt, sample and seed alone.

use faculty_inputs::Tokens;
use faculty_language::{
    End, Generated, GenerationConfig, LanguageError, Prompt, Sampling, generate,
};
use faculty_nets::Decoder;

use crate::small;

fn decoder() -> Decoder {
    Decoder::new(&small::network())
}

fn prompts() -> Vec<Prompt> {
    let lengths = [3, 17, 1, 9, 5, 40];
    let ids = |(text, length): (usize, u64)| -> Vec<u32> {
        let draw =
            |i| faculty_random::splitmix64(text as u64, i) % small::config().vocabulary as u64;
        (0..length).map(|i| draw(i) as u32).collect()
    };
    let mut all: Vec<Prompt> =
        lengths.into_iter().enumerate().map(|text| Prompt { ids: ids(text), sample: 0 }).collect();
    // The same prompt again, as another sample.
    all.push(Prompt { sample: 1, ..all[1].clone() });
    all
}

fn config() -> GenerationConfig {
    let sampling = Sampling { temperature: 0.9, top_k: Some(40), top_p: Some(0.95) };
    GenerationConfig { max_tokens: 12, sampling, seed: 3, batch: 4 }
}

fn run(prompts: &[Prompt], config: &GenerationConfig, ends: &[u32]) -> Vec<Generated> {
    generate(&mut decoder(), prompts, ends, config, |_, _| {}).unwrap()
}

#[test]
fn texts_do_not_depend_on_batch_order_or_threads() {
    let (prompts, ends) = (prompts(), [0, 1, 7, 19, 40, 77, 100]);
    let want = run(&prompts, &config(), &ends);
    assert!(want.iter().any(|text| matches!(text.end, End::Token(_))), "an end must be among them");
    assert!(want.iter().any(|text| text.ids.len() == 12));
    assert_ne!(want[1], want[6], "two samples of one prompt");
    for batch in [1, 2, 7, 100] {
        assert_eq!(run(&prompts, &GenerationConfig { batch, ..config() }, &ends), want, "{batch}");
    }
    for (prompt, want) in prompts.iter().zip(&want) {
        assert_eq!(&run(std::slice::from_ref(prompt), &config(), &ends)[0], want);
    }
    let reversed: Vec<Prompt> = prompts.iter().rev().cloned().collect();
    let mut texts = run(&reversed, &config(), &ends);
    texts.reverse();
    assert_eq!(texts, want);
    for threads in [1, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| run(&prompts, &config(), &ends)), want, "{threads} threads");
    }
    assert_ne!(run(&prompts, &GenerationConfig { seed: 4, ..config() }, &ends), want);
}

#[test]
fn temperature_0_gives_the_likeliest_tokens_of_the_whole_text() {
    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    let prompts = prompts();
    let texts = run(&prompts, &GenerationConfig { sampling, ..config() }, &[]);
    let (mut decoder, mut logits) = (decoder(), Vec::new());
    let vocabulary = decoder.config().vocabulary;
    for (prompt, text) in prompts.iter().zip(texts) {
        let all = [prompt.ids.as_slice(), &text.ids].concat();
        let mut tokens = Tokens::default();
        tokens.push(&all, &vec![0; all.len()]);
        let hidden = decoder.hidden(&tokens).to_vec();
        decoder.logits(&hidden, &mut logits);
        for (at, &id) in text.ids.iter().enumerate() {
            let row = &logits[(prompt.ids.len() + at - 1) * vocabulary..][..vocabulary];
            let best = row.iter().copied().fold(f32::MIN, f32::max);
            assert!(row[id as usize] >= best - 1e-5, "token {at}: {} of {best}", row[id as usize]);
        }
    }
}

#[test]
fn texts_end_where_they_must_and_every_token_is_told() {
    let prompts = prompts();
    let long = GenerationConfig { max_tokens: 1000, ..config() };
    let mut reported = vec![Vec::new(); prompts.len()];
    let texts =
        generate(&mut decoder(), &prompts, &[], &long, |prompt, id| reported[prompt].push(id));
    let texts = texts.unwrap();
    for ((prompt, text), reported) in prompts.iter().zip(&texts).zip(reported) {
        assert_eq!((text.end, &text.ids), (End::Context, &reported));
        // The last token needs no room: nothing is read behind it.
        assert_eq!(prompt.ids.len() + text.ids.len(), small::config().longest + 1);
    }
    let short = run(&prompts, &config(), &[]);
    for (short, long) in short.iter().zip(&texts) {
        assert_eq!(short.ids, long.ids[..12]);
    }
    // What ends a text is not part of it.
    let first = short[0].ids[0];
    let ended = run(&prompts[..1], &config(), &[first]);
    assert_eq!(ended, [Generated { ids: Vec::new(), end: End::Token(first) }]);
    let none = run(&prompts, &GenerationConfig { max_tokens: 0, ..config() }, &[]);
    assert!(none.iter().all(|text| text.ids.is_empty() && text.end == End::MaxTokens));
    assert!(run(&[], &config(), &[]).is_empty());
}

#[test]
fn prompts_that_cannot_be_read_are_refused_by_number() {
    let error = |ids: Vec<u32>, config: GenerationConfig| {
        let prompts = [Prompt { ids: vec![1], sample: 0 }, Prompt { ids, sample: 0 }];
        generate(&mut decoder(), &prompts, &[], &config, |_, _| {}).unwrap_err()
    };
    let cases = [
        (error(vec![], config()), "prompt 2 is empty"),
        (error(vec![1; 65], config()), "prompt 2 has 65 tokens, the model reads 64"),
        (error(vec![5000], config()), "token 5000 of prompt 2"),
        (error(vec![1], GenerationConfig { batch: 0, ..config() }), "`batch` is 0"),
    ];
    for (error, want) in cases {
        assert!(error.to_string().contains(want), "{error}, {want} expected");
        assert!(!error.hint().is_empty());
    }
    let sampling = Sampling { temperature: f32::INFINITY, ..Sampling::default() };
    let error = error(vec![1], GenerationConfig { sampling, ..config() });
    assert!(matches!(error, LanguageError::OutOfRange { name: "temperature", .. }));
}
