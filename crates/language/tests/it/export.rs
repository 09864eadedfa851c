//! Models written for other programs, and read back.

use std::fs;

use faculty_gguf::{GgufFile, TensorType, Value};
use faculty_language::{
    GenerationConfig, LanguageModel, Prompt, Sampling, export_folder, export_gguf, generate,
};
use serde_json::json;

use crate::small;

const TEXTS: [&str; 4] =
    ["", "the man in 12 cafés", "in<|turn|>the end", "It's  é 漢\u{1f980}\n\t12"];

fn tokens(model: &LanguageModel) -> Vec<Vec<u32>> {
    TEXTS.iter().map(|text| model.tokenizer.encode(text).unwrap()).collect()
}

/// What the model likes best behind a prompt.
fn text(model: &mut LanguageModel) -> Vec<u32> {
    let prompt = Prompt { ids: model.tokenizer.encode("the man in").unwrap(), sample: 0 };
    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    let config = GenerationConfig { max_tokens: 20, sampling, ..Default::default() };
    let made = generate(&mut model.decoder, &[prompt], &[], &config, |_, _| {}).unwrap();
    made[0].ids.clone()
}

#[test]
fn a_gguf_file_becomes_a_folder_and_a_gguf_file_again() {
    let place = tempfile::tempdir().unwrap();
    let path = small::gguf(place.path());
    let mut first = LanguageModel::open(&path).unwrap();
    let folder = place.path().join("folder");
    let files = export_folder(&path, &folder).unwrap();
    let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(
        names,
        [
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    let mut second = LanguageModel::open(&folder).unwrap();
    let third = place.path().join("third.gguf");
    export_gguf(&folder, &third, TensorType::F32).unwrap();
    let mut third = LanguageModel::open(&third).unwrap();
    let want = (tokens(&first), text(&mut first));
    for model in [&mut second, &mut third] {
        assert_eq!((tokens(model), text(model)), want);
        assert_eq!(model.ends, first.ends);
    }
}

#[test]
fn matrices_are_written_as_asked_and_metadata_as_llama_cpp_names_them() {
    let place = tempfile::tempdir().unwrap();
    let (source, path) = (small::gguf(place.path()), place.path().join("written.gguf"));
    for (kind, number) in [(TensorType::F32, 0), (TensorType::F16, 1), (TensorType::Q8_0, 7)] {
        export_gguf(&source, &path, kind).unwrap();
        let mut file = GgufFile::open(&path).unwrap();
        assert_eq!(file.unsigned("general.file_type").unwrap(), Some(number));
        assert_eq!(file.unsigned("llama.rope.dimension_count").unwrap(), Some(8));
        assert_eq!(file.string("tokenizer.ggml.pre").unwrap(), Some("smollm"));
        // Rows of 32 and of 48 values: the latter are no blocks of Q8_0.
        let kinds = ["blk.0.attn_q.weight", "blk.0.ffn_down.weight", "blk.0.attn_norm.weight"];
        let kinds = kinds.map(|name| file.tensor(name).unwrap().kind.clone().unwrap());
        let other = if kind == TensorType::Q8_0 { TensorType::F16 } else { kind };
        assert_eq!(kinds, [kind, other, TensorType::F32]);
        let mut of_source = GgufFile::open(&source).unwrap();
        let [got, want] = [&mut file, &mut of_source].map(|f| f.read("token_embd.weight").unwrap());
        let largest = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let most = match kind {
            TensorType::F32 => 0.0,
            TensorType::F16 => largest / 2048.0,
            _ => largest / 200.0,
        };
        assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() <= most), "{}", kind.name());
    }
    let nowhere = place.path().join("none/written.gguf");
    let error = export_gguf(&source, &nowhere, TensorType::F16).unwrap_err();
    assert!(error.to_string().contains("cannot write") && !error.hint().is_empty(), "{error}");
}

/// A folder whose tokenizer is changed.
fn folder(change: impl Fn(&mut serde_json::Value)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    small::folder(folder.path());
    let path = folder.path().join("tokenizer.json");
    let mut json = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(&path, json.to_string()).unwrap();
    folder
}

#[test]
fn cuts_first_tokens_and_templates_of_folders_are_known() {
    let byte_level = |cuts: bool| {
        json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": cuts,
        })
    };
    let sequence = |first, second| json!({ "type": "Sequence", "pretokenizers": [first, second] });
    let digits = json!({ "type": "Digits", "individual_digits": true });
    let cases = [("gpt-2", byte_level(true)), ("smollm", sequence(digits, byte_level(true)))];
    for (cut, pre_tokenizer) in cases {
        let folder = folder(|json| {
            json["pre_tokenizer"] = pre_tokenizer.clone();
            json["added_tokens"] = json!([{
                "id": 1, "content": "<|turn|>", "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            }]);
            json["post_processor"] = json!({
                "type": "TemplateProcessing",
                "single": [
                    { "SpecialToken": { "id": "<|turn|>", "type_id": 0 } },
                    { "Sequence": { "id": "A", "type_id": 0 } },
                ],
                "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }],
                "special_tokens": {
                    "<|turn|>": { "id": "<|turn|>", "ids": [1], "tokens": ["<|turn|>"] },
                },
            });
        });
        fs::write(folder.path().join("chat_template.jinja"), "{{ x }}").unwrap();
        let generation = r#"{"eos_token_id": [0, 1], "bos_token_id": 7, "pad_token_id": 2}"#;
        fs::write(folder.path().join("generation_config.json"), generation).unwrap();
        let path = folder.path().join("model.gguf");
        export_gguf(folder.path(), &path, TensorType::F16).unwrap();
        let file = GgufFile::open(&path).unwrap();
        assert_eq!(file.string("tokenizer.ggml.pre").unwrap(), Some(cut));
        assert_eq!(file.string("tokenizer.chat_template").unwrap(), Some("{{ x }}"));
        assert_eq!(file.bool("tokenizer.ggml.add_bos_token").unwrap(), Some(true));
        let eos = |key: &str| file.unsigned(&format!("tokenizer.ggml.{key}_token_id")).unwrap();
        // What the tokenizer puts before a text counts, not what another file says.
        let want = [Some(1), Some(0), Some(1), None, Some(2)];
        assert_eq!(["bos", "eos", "eot", "eom", "padding"].map(eos), want);
        let kinds = file.array("tokenizer.ggml.token_type").unwrap().unwrap();
        let kinds: Vec<Value> = kinds.numbers().take(3).collect();
        assert_eq!(kinds, [1, 3, 1].map(Value::Signed));
        let (own, written) =
            (LanguageModel::open(folder.path()).unwrap(), LanguageModel::open(&path).unwrap());
        assert_eq!(tokens(&written), tokens(&own), "{cut}");
        // And from the file to a folder: the first token is still put there.
        let again = folder.path().join("again");
        export_folder(&path, &again).unwrap();
        assert_eq!(tokens(&LanguageModel::open(&again).unwrap()), tokens(&own), "{cut}");
        assert_eq!(fs::read_to_string(again.join("chat_template.jinja")).unwrap(), "{{ x }}");
    }
}

#[test]
fn tokenizers_that_a_gguf_file_cannot_say_are_refused() {
    let cases: [(&str, serde_json::Value, &str); 5] = [
        ("/pre_tokenizer/add_prefix_space", json!(true), "words are cut by"),
        ("/pre_tokenizer", json!({ "type": "Whitespace" }), "words are cut by"),
        ("/normalizer", json!({ "type": "Lowercase" }), "texts are changed by"),
        ("/model/byte_fallback", json!(true), "`byte_fallback` is true"),
        ("/model/ignore_merges", json!(true), "`ignore_merges` is true"),
    ];
    for (pointer, value, want) in cases {
        let folder = folder(|json| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            json.pointer_mut(parent).unwrap()[key] = value.clone();
        });
        let path = folder.path().join("model.gguf");
        let error = export_gguf(folder.path(), &path, TensorType::F16).unwrap_err();
        assert!(error.to_string().contains(want), "{error}, {want} expected");
        assert!(error.hint().contains("folder") && !path.exists());
    }
}
