use std::fs;

use serde::Deserialize;

use super::*;

/// A text and what Hugging Face's packages make of it: `bench/tokenizer_reference.py`.
#[derive(Deserialize)]
struct Case {
    tokenizer: String,
    first: String,
    second: Option<String>,
    max_tokens: usize,
    ids: Vec<u32>,
    segments: Vec<u8>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/tokenizers").join(name)
}

fn tokens(tokenizer: &Tokenizer, text: &Text) -> (Vec<u32>, Vec<u8>) {
    let mut tokens = Tokens::default();
    tokenizer.tokenize(text, &mut tokens);
    (tokens.ids().to_vec(), tokens.segments().to_vec())
}

fn pair(first: &str, second: &str) -> Text {
    Text { first: first.into(), second: Some(second.into()) }
}

#[test]
fn ids_and_segments_are_those_of_hugging_face_on_odd_texts() {
    let bytes = fs::read(folder("reference.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&bytes).unwrap();
    let mut opened = std::collections::BTreeMap::new();
    let mut wrong = Vec::new();
    for Case { tokenizer, first, second, max_tokens, ids, segments } in &cases {
        let own = opened
            .entry((tokenizer, max_tokens))
            .or_insert_with(|| Tokenizer::open(&folder(tokenizer), *max_tokens).unwrap());
        let text = Text { first: first.as_str().into(), second: second.as_deref().map(Into::into) };
        let got = tokens(own, &text);
        assert!(got.0.iter().all(|&id| (id as usize) < own.vocabulary()));
        if got != (ids.clone(), segments.clone()) {
            wrong.push(format!("{tokenizer} {max_tokens} {text:?}: {got:?}, expected {ids:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {:#?}", wrong.len(), cases.len(), &wrong[..1]);
    assert!(cases.len() > 400);
}

#[test]
fn ids_of_a_pretrained_model_are_right() {
    let Some(folder) = std::env::var_os("FACULTY_MINILM") else {
        eprintln!("skipped: FACULTY_MINILM names no folder of all-MiniLM-L6-v2");
        return;
    };
    let folder = PathBuf::from(folder);
    let text = Text::single("That is a happy person");
    for file in ["tokenizer.json", "vocab.txt"] {
        let tokenizer = Tokenizer::open(&folder.join(file), 256).unwrap();
        let (ids, _) = tokens(&tokenizer, &text);
        assert_eq!(ids, [101, 2008, 2003, 1037, 3407, 2711, 102], "{file}");
        assert_eq!(tokenizer.vocabulary(), 30_522);
        // Neither the truncation to 128 nor the padding that the file asks for.
        assert_eq!(tokens(&tokenizer, &Text::single("happy ".repeat(300))).0.len(), 256);
        assert_eq!(tokenizer.id("[MASK]"), Some(103));
    }
}

#[test]
fn cut_texts_are_counted_and_the_longer_of_a_pair_is_cut_first() {
    let tokenizer = Tokenizer::open(&folder("uncased"), 8).unwrap();
    let texts = ["a good film", "a good film is a good film", "", "a a a a a a"];
    assert_eq!(tokenizer.count_cut(&texts.map(Text::single)), 1);
    assert_eq!(tokenizer.max_tokens(), 8);
    let long = "a ".repeat(9);
    let (_, segments) = tokens(&tokenizer, &pair("good film", &long));
    assert_eq!(segments, [0, 0, 0, 0, 1, 1, 1, 1]);
    let (_, segments) = tokens(&tokenizer, &pair(&long, "good"));
    assert_eq!(segments, [0, 0, 0, 0, 0, 0, 1, 1]);
    assert_eq!(tokenizer.count_cut(&[pair(&long, "good"), pair("good", "film")]), 1);
}

#[test]
fn pairs_lose_what_is_too_much_where_they_are_longest() {
    for (lengths, room, expected) in [
        ([3, 4], 7, [3, 4]),
        ([9, 2], 6, [4, 2]),
        ([2, 9], 6, [2, 4]),
        ([30, 25], 5, [3, 2]),
        ([25, 30], 5, [2, 3]),
        ([9, 9], 5, [2, 3]),
        ([0, 9], 5, [0, 5]),
    ] {
        assert_eq!(longest_first(lengths, room), expected, "{lengths:?} {room}");
    }
}

#[test]
fn the_identity_is_of_content_and_settings_not_of_the_place() {
    let identity = |path: &Path, most| Tokenizer::open(path, most).unwrap().identity().to_owned();
    let uncased = identity(&folder("uncased"), 16);
    assert_eq!(uncased.len(), 64);
    let copy = tempfile::tempdir().unwrap();
    let at = |name: &str| copy.path().join(name);
    for name in ["vocab.txt", "tokenizer_config.json"] {
        fs::copy(folder("uncased").join(name), at(name)).unwrap();
    }
    assert_eq!(identity(copy.path(), 16), uncased);
    assert_eq!(identity(&at("vocab.txt"), 16), uncased);
    assert_ne!(identity(copy.path(), 17), uncased);
    assert_ne!(identity(&folder("byte-level"), 16), uncased);
    fs::write(at("tokenizer_config.json"), "{\"do_lower_case\": false}").unwrap();
    assert_ne!(identity(copy.path(), 16), uncased);
    // Where nothing is said, a vocabulary without capitals is of lower case.
    fs::remove_file(at("tokenizer_config.json")).unwrap();
    assert_eq!(identity(copy.path(), 16), uncased);
    fs::copy(folder("cased/vocab.txt"), at("vocab.txt")).unwrap();
    assert_eq!(identity(copy.path(), 16), identity(&folder("cased"), 16));
}

#[test]
fn what_is_no_tokenizer_is_refused_with_file_and_fix() {
    let folder_of_odd = tempfile::tempdir().unwrap();
    let at = |name: &str| folder_of_odd.path().join(name);
    let refuse = |path: &Path| Tokenizer::open(path, 16).unwrap_err();
    let error = refuse(folder_of_odd.path());
    assert!(error.to_string().contains("neither `tokenizer.json` nor `vocab.txt`"), "{error}");
    assert!(error.hint().is_some());
    for (content, part) in [
        ("", "it is no `tokenizer.json`"),
        ("{\"model\": 3}", "it is no `tokenizer.json`"),
        ("{\"version\": \"9.0\"}", "it is no `tokenizer.json`"),
    ] {
        fs::write(at("tokenizer.json"), content).unwrap();
        let error = refuse(folder_of_odd.path());
        assert!(matches!(error, DataError::Tokenizer { .. }), "{content}: {error}");
        assert!(error.to_string().contains(part), "{content}: {error}");
        assert!(error.to_string().contains("tokenizer.json"), "{content}: {error}");
    }
    fs::remove_file(at("tokenizer.json")).unwrap();
    fs::write(at("vocab.txt"), "<s>\n</s>\nword\n").unwrap();
    let error = refuse(folder_of_odd.path());
    assert!(error.to_string().contains("no token `[CLS]`"), "{error}");
    fs::write(at("vocab.txt"), b"[CLS]\nna\xefve\n").unwrap();
    assert!(refuse(folder_of_odd.path()).hint().unwrap().contains("UTF-8"));
    fs::copy(folder("uncased/vocab.txt"), at("vocab.txt")).unwrap();
    fs::write(at("tokenizer_config.json"), "{\"tokenizer_class\": \"MPNetTokenizer\"}").unwrap();
    let error = refuse(folder_of_odd.path());
    assert!(error.to_string().contains("`MPNetTokenizer`"), "{error}");
    fs::write(at("tokenizer_config.json"), "{").unwrap();
    assert!(refuse(folder_of_odd.path()).to_string().contains("tokenizer_config.json"));
    assert!(matches!(refuse(&at("absent.json")), DataError::MissingFile { .. }));
    for most in [0, 4, (1 << 20) + 1] {
        let error = Tokenizer::open(&folder("uncased"), most).unwrap_err();
        assert!(matches!(error, DataError::OutOfRange { .. }), "{most}");
    }
}

#[test]
fn a_vocabulary_that_cannot_encode_every_text_is_refused_when_it_is_opened() {
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("tokenizer.json");
    let model = |vocabulary: &str| {
        format!(
            "{{\"version\": \"1.0\", \"model\": {{\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \
             \"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100, \
             \"vocab\": {vocabulary}}}}}"
        )
    };
    fs::write(&path, model("{\"a\": 0}")).unwrap();
    let error = Tokenizer::open(&path, 16).unwrap_err();
    assert!(error.to_string().contains("cannot encode every text"), "{error}");
    fs::write(&path, model("{\"a\": 4000000000, \"[UNK]\": 0}")).unwrap();
    let error = Tokenizer::open(&path, 16).unwrap_err();
    assert!(error.to_string().contains("its ids reach up to 4000000001"), "{error}");
    fs::write(&path, model("{\"a\": 7, \"[UNK]\": 0}")).unwrap();
    assert_eq!(Tokenizer::open(&path, 16).unwrap().vocabulary(), 8);
}
