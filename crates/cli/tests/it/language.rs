//! Language models: `generate`, and `evaluate` of a text.

use std::collections::BTreeMap;

use faculty_nets::{DecoderConfig, Network, weights};
use serde_json::{Map, Value, json};

use crate::project::Project;

/// How byte-level tokenizers write the bytes.
fn alphabet() -> Vec<String> {
    let mut others = 0;
    let of = |byte: u8| match byte {
        33..=126 | 161..=172 | 174..=255 => char::from(byte),
        _ => {
            others += 1;
            char::from_u32(255 + others).unwrap()
        }
    };
    (0..=255).map(of).map(String::from).collect()
}

/// A project with a small model whose tokens are bytes in the folder `model`.
pub(crate) fn project() -> Project {
    let project = Project::new();
    let config = DecoderConfig {
        longest: 40,
        heads: 2,
        kv_heads: 1,
        head_width: 8,
        intermediate: 32,
        initial_deviation: 0.3,
        ..DecoderConfig::new(257, 2, 16)
    };
    let network = Network::from_graph("small", config.graph().unwrap(), 1);
    project.write("model/config.json", config.to_json());
    project.write("model/generation_config.json", r#"{"eos_token_id": 256}"#);
    let path = project.path("model/model.safetensors");
    weights::write(&path, &network.state_dict(), &BTreeMap::new()).unwrap();
    let mut vocab: Map<String, Value> =
        alphabet().into_iter().enumerate().map(|(id, token)| (token, id.into())).collect();
    vocab.insert("<end>".to_owned(), 256.into());
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "post_processor": null, "pre_tokenizer": byte_level, "decoder": byte_level,
        "added_tokens": [], "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    });
    project.write("model/tokenizer.json", tokenizer.to_string());
    project
}

fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn prompts_are_gone_on_with_the_same_way_however_they_are_given() {
    let project = project();
    let common = ["generate", "model", "--max-tokens", "9", "--seed", "5"];
    let run = |more: &[&str]| project.run(&[&common[..], more].concat()).expect(0);
    let both = run(&["--prompt", "ab", "--prompt", "c", "--samples", "2", "--json"]);
    let texts = lines(&both.stdout);
    let of = |key: &str| texts.iter().map(|text| text[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("prompt"), ["ab", "ab", "c", "c"]);
    assert_eq!(of("sample"), [1, 2, 1, 2]);
    assert_eq!(texts[0]["prompt_tokens"], json!([97, 98]));
    assert_ne!(texts[0]["tokens"], texts[1]["tokens"]);
    for text in &texts {
        let count = text["tokens"].as_array().unwrap().len();
        assert!(text["end"] == "max_tokens" && count == 9 || text["end"] == "end" && count < 9);
    }
    project.write("prompts.txt", "c\n\nab\n");
    let turned = ["--prompts", "prompts.txt", "--samples", "2", "--json"];
    for more in [&["--batch", "1"][..], &["--threads", "1"], &["--threads", "3", "--batch", "3"]] {
        let other = lines(&run(&[&turned[..], more].concat()).stdout);
        let tokens = |texts: &[Value]| -> Vec<Value> {
            texts.iter().map(|text| text["tokens"].clone()).collect()
        };
        assert_eq!(tokens(&other[2..]), tokens(&texts[..2]), "{more:?}");
        assert_eq!(tokens(&other[..2]), tokens(&texts[2..]), "{more:?}");
    }
    // A text alone is shown as it comes, and nothing else is on stdout.
    let alone = run(&["--prompt", "ab", "--temperature", "0.0"]);
    let greedy = run(&["--prompt", "ab", "--temperature", "0", "--json"]);
    let want = lines(&greedy.stdout)[0]["text"].as_str().unwrap().to_owned();
    assert_eq!(alone.stdout, format!("{}\n", faculty_escape::terminal(&want)));
    assert!(alone.stderr.contains("2 tokens read, "), "{}", alone.stderr);
    let several = run(&["--prompt", "ab", "--prompt", "c"]);
    assert!(several.stdout.starts_with("--- prompt 1, text 1 ("), "{}", several.stdout);
}

#[test]
fn a_text_is_measured() {
    let project = project();
    let text = "It is a truth universally acknowledged, that a single man is in want of a café.";
    project.write("text.txt", text);
    let evaluate = ["evaluate", "--weights", "model", "--data", "text.txt"];
    let own = project.run(&[&evaluate[..], &["--json"]].concat()).expect(0).json();
    let number = |key: &str| own[key].as_f64().unwrap();
    assert_eq!(own["tokens"], text.len() - 1);
    assert_eq!(own["characters"], text.chars().count() - 1);
    let bits = number("nats") / 2.0_f64.ln() / number("characters");
    assert!((number("bits_per_character") - bits).abs() < 1e-9);
    let perplexity = (number("nats") / number("tokens")).exp();
    assert!((number("perplexity") / perplexity - 1.0).abs() < 1e-9 && perplexity > 1.0);
    let table = project.run(&evaluate).expect(0).stdout;
    assert!(table.contains(&format!("{perplexity:.2}")), "{table}");
}

/// The same model with other weights, in a folder of its own.
fn add_teacher(project: &Project) {
    let read = |name: &str| std::fs::read_to_string(project.path(name)).unwrap();
    let config = DecoderConfig::from_json(&read("model/config.json")).unwrap();
    let network = Network::from_graph("teacher", config.graph().unwrap(), 2);
    for name in ["config.json", "generation_config.json", "tokenizer.json"] {
        project.write(&format!("teacher/{name}"), read(&format!("model/{name}")));
    }
    let path = project.path("teacher/model.safetensors");
    weights::write(&path, &network.state_dict(), &BTreeMap::new()).unwrap();
}

#[test]
fn a_model_is_judged_by_a_teacher() {
    let project = project();
    add_teacher(&project);
    let text = "It is a truth universally acknowledged, that a single man is in want of a café.";
    project.write("text.txt", text);
    let evaluate = ["evaluate", "--weights", "model", "--data", "text.txt", "--prompt-tokens", "8"];
    let run = |more: &[&str]| project.run(&[&evaluate[..], more].concat()).expect(0);
    let small = ["--max-tokens", "12", "--prompts", "3", "--json", "--teacher"];
    let own = run(&[&small[..], &["teacher"]].concat()).json();
    let judged = &own["teacher"];
    let number = |value: &Value| value.as_f64().unwrap();
    assert_eq!((&judged["prompts"], &judged["on_text"]["tokens"]), (&json!(3), &json!(36)));
    assert!(number(&judged["on_text"]["kl"]) > 0.01);
    let acceptance = number(&judged["on_own_text"]["acceptance"]);
    assert!((0.0..1.0).contains(&acceptance) && acceptance > 0.0);
    assert_eq!(judged["texts"].as_array().unwrap().len(), 3);
    assert_eq!(judged["texts"][0]["prompt"], "It is a ");
    let per_call = number(&judged["speculation"]["tokens_per_call"]);
    assert!((1.0..=6.0).contains(&per_call), "{per_call}");
    // The text itself is measured as ever.
    assert_eq!(own["tokens"], text.len() - 1);
    let same = run(&[&small[..], &["model"]].concat()).json();
    assert!(number(&same["teacher"]["on_text"]["kl"]).abs() < 1e-9);
    let tables = run(&["--teacher", "teacher", "--temperature", "0"]).stdout;
    for word in ["on the text", "on its own text", "teacher's nats", "tokens a teacher call"] {
        assert!(tables.contains(word), "{tables}");
    }
}

#[test]
fn drafts_of_another_model_leave_the_likeliest_text_as_it_is() {
    let project = project();
    add_teacher(&project);
    let generate = ["generate", "teacher", "--prompt", "ab", "--max-tokens", "20", "--temperature"];
    let run = |more: &[&str]| project.run(&[&generate[..], more].concat()).expect(0);
    let alone = lines(&run(&["0", "--json"]).stdout);
    for drafts in ["1", "5"] {
        let own = run(&["0", "--json", "--draft", "model", "--drafts", drafts]);
        assert_eq!(lines(&own.stdout), alone, "{drafts} drafts");
    }
    let shown = run(&["1", "--draft", "model"]);
    assert!(shown.stderr.contains("of the drafts looked at stayed"), "{}", shown.stderr);
}

#[test]
fn a_model_is_written_as_a_gguf_file_and_as_a_folder() {
    let project = project();
    let export = ["export", "model", "--gguf", "model.gguf", "--quantise", "f32", "--json"];
    let own = project.run(&export).expect(0).json();
    assert_eq!(own["gguf"], json!({ "path": "model.gguf", "type": "F32" }));
    project.run(&["export", "model.gguf", "--transformers", "again"]).expect(0);
    let texts = |model: &str| {
        let generate = ["generate", model, "--prompt", "café", "--max-tokens", "20", "--json"];
        project.run(&[&generate[..], &["--temperature", "0"]].concat()).expect(0).stdout
    };
    let want = texts("model");
    assert_eq!([texts("model.gguf"), texts("again")], [want.clone(), want]);
    for (arguments, want) in [
        (&["export", "model"][..], "nothing to write was named"),
        (&["export", "model", "--gguf", "x.gguf", "--onnx", "x.onnx"], "`--onnx` is not for"),
        (&["export", "model", "--gguf", "none/x.gguf"], "cannot write `none/x.gguf`"),
        (&["export", "model", "--gguf", "x.gguf", "--quantise", "q2_k"], "q8_0"),
        (&["export", "--weights", "text.txt", "--gguf", "x.gguf"], "`--gguf` is for language"),
        (&["export", "model", "--transformers", "f", "--quantise", "f16"], "--gguf"),
    ] {
        let ran = project.run(arguments).expect(2);
        assert!(ran.stderr.contains(want), "{arguments:?}: {}, {want} expected", ran.stderr);
        assert!(!project.path("x.gguf").exists());
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let project = project();
    project.write("empty.txt", "\n\n");
    project.write("other/config.json", r#"{"model_type": "gemma3"}"#);
    project.write("other/tokenizer.json", "{}");
    project.write("broken.gguf", "GGUF");
    project.write("text.txt", "some words");
    let long = "x".repeat(41);
    let cases: [(&[&str], &str); 15] = [
        (&["generate", "model", "--prompt", "a", "--draft", "none"], "cannot read `none`"),
        (&["generate", "model", "--prompt", "a", "--drafts", "2"], "--draft <MODEL>"),
        (
            &["evaluate", "--weights", "model", "--data", "text.txt", "--drafts", "2"],
            "--teacher <MODEL>",
        ),
        (&["generate", "model"], "--prompt"),
        (&["generate", "model", "--prompts", "empty.txt"], "there is no prompt"),
        (&["generate", "model", "--prompts", "none.txt"], "cannot read `none.txt`"),
        (&["generate", "model", "--prompt", ""], "prompt 1 is empty"),
        (&["generate", "model", "--prompt", &long], "prompt 1 has 41 tokens, the model reads 40"),
        (&["generate", "model", "--prompt", "a", "--temperature=-1"], "`temperature` is -1"),
        (&["generate", "model", "--prompt", "a", "--top-k", "0"], "`top-k` is 0"),
        (&["generate", "model", "--prompt", "a", "--top-p", "1.5"], "`top-p` is 1.5"),
        (&["generate", "nothing", "--prompt", "a"], "nothing"),
        (&["generate", "other", "--prompt", "a"], "the tokenizer in `other/tokenizer.json`"),
        (&["generate", "broken.gguf", "--prompt", "a"], "`broken.gguf` is cut short"),
        (
            &["evaluate", "--weights", "model", "--data", "text.txt", "--mean", "0", "--std", "1"],
            "`--mean` has no effect on a language model",
        ),
    ];
    for (arguments, want) in cases {
        let ran = project.run(arguments).expect(2);
        assert!(ran.stderr.contains(want), "{arguments:?}: {}, {want} expected", ran.stderr);
        assert!(ran.stdout.is_empty());
    }
    project.write("one.txt", "x");
    let ran = project.run(&["evaluate", "--weights", "model", "--data", "one.txt"]).expect(2);
    assert!(ran.stderr.contains("nothing to predict"), "{}", ran.stderr);
}
