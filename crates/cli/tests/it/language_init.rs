//! `faculty init` of language models.

use faculty_nets::{DecoderConfig, Network, save_decoder};

use crate::language_runs::project;

#[test]
fn a_text_and_decoders_give_a_recipe_that_trains() {
    let project = project();
    let ran =
        project.run(&["init", "book.txt", "model", "other", "--output", "first.toml"]).expect(0);
    for part in [
        "data: running text, about ",
        "teacher: model, ",
        "teacher: other, 1 layers of 16",
        "student: 1 of the ",
        "method: ca-mkd",
        "  faculty explain first.toml\n  faculty distill first.toml\n",
    ] {
        assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
    }
    let text = std::fs::read_to_string(project.path("first.toml")).unwrap();
    assert!(text.contains("format = \"running-text\""), "{text}");
    let explained = project.run(&["explain", "first.toml", "--json"]).expect(0).json();
    let values = explained["values"].as_array().unwrap();
    let value = |key: &str| values.iter().find(|own| own["key"] == key).unwrap()["value"].clone();
    assert_eq!((value("student.layers"), value("train.window")), (1.into(), 40.into()));
    let sets = ["--set", "train.steps=2", "--set", "data.validation_tokens=100", "--no-report"];
    project.run(&[&["distill", "first.toml"][..], &sets].concat()).expect(0);

    // A student of one's own choice, one teacher; none.
    let own = ["init", "book.txt", "model", "--student", "other", "--overwrite", "--json"];
    let found = project.run(&[&own[..], &["--output", "first.toml"]].concat()).expect(0).json();
    assert_eq!((&found["method"], &found["teachers"][0]["name"]), (&"kd".into(), &"model".into()));
    assert!(found["tokens"].as_u64().unwrap() > 1000, "{found}");
    let alone = ["init", "book.txt", "--student", "other", "--output", "alone.toml"];
    let ran = project.run(&alone).expect(0);
    assert!(ran.stderr.contains("faculty train alone.toml"), "{}", ran.stderr);
}

#[test]
fn what_does_not_fit_language_models_is_refused_before_anything_is_written() {
    let project = project();
    let config = DecoderConfig { heads: 1, kv_heads: 1, ..DecoderConfig::new(300, 1, 16) };
    save_decoder(&Network::from_graph("small", config.graph().unwrap(), 2), &project.path("wide"))
        .unwrap();
    let copy = |from: &str, to: &str| std::fs::copy(project.path(from), project.path(to)).unwrap();
    copy("model/tokenizer.json", "wide/tokenizer.json");
    for (more, word) in [
        (vec!["model", "lm.toml"], "`lm.toml` is no language model"),
        (
            vec!["model", "wide"],
            "teacher `wide` has other tokens than the student: 300 there, 257 here",
        ),
        (vec!["model", "--tokenizer", "model"], "`--tokenizer` has no effect"),
        (vec!["model", "--classes", "a,b"], "read in one way"),
        (vec!["model", "--method", "dkd"], "no method of language models is named `dkd`"),
        (vec!["model", "--method", "aver"], "at least two"),
    ] {
        let own = [&["init", "book.txt", "--output", "no.toml"][..], &more].concat();
        let ran = project.run(&own).expect(2);
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
        assert!(!project.path("no.toml").exists());
    }
}
