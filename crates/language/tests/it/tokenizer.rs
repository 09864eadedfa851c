//! Tokenizers of GGUF files and of folders.

use std::fs;

use faculty_gguf::{Array, Value};
use faculty_language::LanguageModel;

use crate::small;

#[test]
fn a_gguf_files_tokenizer_merges_cuts_and_marks() {
    let folder = tempfile::tempdir().unwrap();
    let model = LanguageModel::open(&small::gguf(folder.path())).unwrap();
    let tokenizer = &model.tokenizer;
    let tokens = |text: &str| -> Vec<String> {
        tokenizer.encode(text).unwrap().into_iter().map(|id| tokenizer.token(id).unwrap()).collect()
    };
    assert_eq!(tokens("the the"), ["the", "Ġthe"]);
    // No space before the first word; digits stay apart though there is a merge of them.
    assert_eq!(tokens("in 12"), ["in", "Ġ", "1", "2"]);
    assert_eq!(tokens("in<|turn|>in"), ["in", "<|turn|>", "in"]);
    for text in ["", "It is a truth, é 漢\u{1f980}\n\ttoo  many  spaces ", "12 \0 it's"] {
        assert_eq!(tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(), text);
    }
    // What only marks something is no text; a character cut in two is told as such.
    let marked = tokenizer.encode("a<|end|>b").unwrap();
    assert_eq!(tokenizer.decode(&marked).unwrap(), "ab");
    let crab = tokenizer.encode("\u{1f980}").unwrap();
    assert_eq!(tokenizer.decode(&crab[..2]).unwrap(), "\u{fffd}");
    assert_eq!((model.ends.as_slice(), tokenizer.id("<|turn|>")), ([0].as_slice(), Some(1)));
}

#[test]
fn other_cuts_are_known_and_a_first_token_is_put_where_it_belongs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.gguf");
    let open = |writer: faculty_gguf::GgufWriter| {
        fs::write(&path, writer.to_bytes()).unwrap();
        LanguageModel::open(&path)
    };
    let ids = |model: LanguageModel, text: &str| model.tokenizer.encode(text).unwrap();
    let own = |tokens: &[&str]| -> Vec<u32> {
        let all = small::vocabulary();
        let place = |token: &&str| all.iter().position(|own| own == token).unwrap() as u32;
        tokens.iter().map(place).collect()
    };
    assert_eq!(ids(open(small::writer("gpt-2")).unwrap(), "in 12"), own(&["in", "Ġ", "12"]));
    assert_eq!(ids(open(small::writer("qwen2")).unwrap(), "in 12"), own(&["in", "Ġ", "1", "2"]));
    let begins = small::writer("smollm")
        .with("tokenizer.ggml.add_bos_token", Value::Bool(true))
        .with("tokenizer.ggml.bos_token_id", Value::Unsigned(1));
    assert_eq!(ids(open(begins).unwrap(), "in"), own(&["<|turn|>", "in"]));
    let text = |text: &str| Value::String(text.to_owned());
    let strings = |own: &[&str]| {
        Value::Array(Array::Strings(own.iter().map(|&own| own.to_owned()).collect()))
    };
    let plain = || small::writer("smollm");
    let cases = [
        (small::writer("viking"), "`tokenizer.ggml.pre` is `viking`; known are smollm"),
        (plain().with("tokenizer.ggml.model", text("llama")), "is `llama`, known is `gpt2`"),
        (plain().with("tokenizer.ggml.merges", strings(&["th"])), "`th` has no two parts"),
        (plain().with("tokenizer.ggml.merges", strings(&["x yz"])), "yz"),
        (plain().with("tokenizer.ggml.tokens", strings(&["a", "a"])), "token `a` is there twice"),
        (plain().with("tokenizer.ggml.tokens", text("a")), "an array is expected"),
        (
            plain()
                .with("tokenizer.ggml.add_bos_token", Value::Bool(true))
                .with("tokenizer.ggml.bos_token_id", Value::Unsigned(9999)),
            "is 9999, which is no token",
        ),
    ];
    for (writer, want) in cases {
        let error = open(writer).expect_err(want);
        let text = error.to_string();
        assert!(text.contains(want) && text.contains("other.gguf"), "{text}, {want} expected");
        assert!(!error.hint().is_empty());
    }
}

#[test]
fn a_folder_is_a_model_with_its_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    small::folder(folder.path());
    let model = LanguageModel::open(folder.path()).unwrap();
    assert_eq!(model.ends, [0, 1]);
    let ids = model.tokenizer.encode("the the").unwrap();
    assert_eq!(model.tokenizer.decode(&ids).unwrap(), "the the");
    assert_eq!(ids.len(), 2);
    let own = LanguageModel::open(&folder.path().join("model.safetensors")).unwrap();
    assert_eq!(own.decoder.config(), model.decoder.config());
    fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    let error = LanguageModel::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
    assert!(error.hint().contains("save_pretrained"));
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let error = LanguageModel::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("cannot read"), "{error}");
}
