//! SmolLM2-135M-Instruct as a GGUF file, named by `FACULTY_SMOLLM`: tokens, perplexity, a text.

use std::path::PathBuf;

use faculty_language::{
    GenerationConfig, LanguageModel, Prompt, Sampling, WindowConfig, generate, measure,
};

const TEXT: &str = "It is a truth universally acknowledged, that a single man in possession of a good \
                    fortune, must be in want of a wife. In 1813 the café cost 25 pounds.";

#[test]
fn smollm2_reads_and_writes() {
    let Some(path) = std::env::var_os("FACULTY_SMOLLM").map(PathBuf::from) else {
        eprintln!("skipped: FACULTY_SMOLLM names no GGUF file of SmolLM2-135M-Instruct");
        return;
    };
    let mut model = LanguageModel::open(&path).unwrap();
    // By the tokenizer of its authors.
    let ids = [
        1589, 314, 253, 4569, 21902, 14494, 28, 338, 253, 2244, 555, 281, 13932, 282, 253, 1123,
        18598, 28, 1251, 325, 281, 1277, 282, 253, 6221, 30, 533, 216, 33, 40, 33, 35, 260, 37366,
        1708, 216, 34, 37, 8473, 30,
    ];
    assert_eq!(model.tokenizer.encode(TEXT).unwrap(), ids);
    assert_eq!(model.tokenizer.decode(&ids).unwrap(), TEXT);
    let chat = model.tokenizer.encode("<|im_start|>user\nHi<|im_end|>\n").unwrap();
    assert_eq!(chat, [1, 4093, 198, 26843, 2, 198]);
    assert_eq!(model.ends, [2]);
    let own = measure(&mut model, TEXT, WindowConfig::default(), |_, _| {}).unwrap();
    assert_eq!((own.tokens, own.characters), (39, TEXT.chars().count() - 2));
    assert!((own.nats / 39.0 - 3.24187).abs() < 1e-3, "{own:?}");
    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    let config = GenerationConfig { max_tokens: 8, sampling, ..GenerationConfig::default() };
    let ids = model.tokenizer.encode("The capital of France is").unwrap();
    let prompt = Prompt { ids, sample: 0 };
    let texts = generate(&mut model.decoder, &[prompt], &model.ends, &config, |_, _| {}).unwrap();
    let text = model.tokenizer.decode(&texts[0].ids).unwrap();
    assert!(text.contains("Paris"), "{text}");
}
