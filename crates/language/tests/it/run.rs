//! Runs of recipes: what is written, that a run that was stopped ends as one that was not, and what is
//! refused.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_language::{
    CheckedLanguageRun, LanguageEvent, LanguageModel, LanguageStart, RunError, train_language,
    with_layers,
};
use faculty_nets::{DecoderConfig, Network, save_decoder, weights};
use faculty_recipe::LanguageRecipe;
use faculty_records::language_run::{LanguageCard, LanguageRecord};

use crate::small;

/// A text that repeats itself with numbers, so that there is something to learn.
fn text() -> String {
    (0..120).map(|n| format!("line {n}: the thin line is in the inner inn {}\n", n % 7)).collect()
}

/// A folder with a text, two teachers `a` and `b`, and a recipe.
pub(crate) fn project(method: &str, more: &str) -> (tempfile::TempDir, LanguageRecipe) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("book.txt"), text()).unwrap();
    for (name, seed) in [("a", 5), ("b", 6)] {
        let own = root.join(name);
        fs::create_dir(&own).unwrap();
        small::folder(&own);
        if seed != 5 {
            let mut network = Network::from_graph("small", small::config().graph().unwrap(), seed);
            // Surer of itself, and so more wrong: nothing was learnt.
            let mut state = network.state_dict();
            state.get_mut("model.norm.weight").unwrap().values.iter_mut().for_each(|w| *w *= 5.0);
            network.set_state_dict(&state, &own).unwrap();
            save_decoder(&network, &own).unwrap();
        }
    }
    let teachers = match method {
        "ce" => "",
        "kd" => "[[teachers]]\nname = \"a\"\nweights = \"a\"\n",
        _ => {
            "[[teachers]]\nname = \"a\"\nweights = \"a\"\n[[teachers]]\nname = \"b\"\nweights = \"b\"\n"
        }
    };
    let text = format!(
        "output = \"run\"\n[data]\npath = \"book.txt\"\nformat = \"running-text\"\nvalidation_tokens = 200\n\
         [student]\n{more}\n{teachers}[method]\nname = \"{method}\"\n\
         [train]\nsteps = 7\nwindow = 24\nbatch_size = 2\nwarmup_steps = 2\nevaluate_every = 3\n"
    );
    let recipe = LanguageRecipe::from_str(&text, root.join("recipe.toml"), &[]).unwrap().recipe;
    (folder, recipe)
}

fn train(
    recipe: &LanguageRecipe,
    output: &Path,
    start: LanguageStart,
    stop_after: u64,
) -> Result<LanguageCard, RunError> {
    let stop = AtomicBool::new(false);
    train_language(CheckedLanguageRun::new(recipe)?, output, start, &stop, &mut |event| {
        if let LanguageEvent::Step { step, .. } = event
            && step == stop_after
        {
            stop.store(true, Ordering::Relaxed);
        }
    })
}

fn records(folder: &Path) -> Vec<LanguageRecord> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) const RANDOM: &str =
    "tokenizer = \"a\"\nlayers = 1\nwidth = 16\nheads = 2\nfeed_forward = 24";

#[test]
fn a_run_leaves_a_student_that_opens_and_says_what_it_did() {
    let (folder, recipe) = project("kd", RANDOM);
    let output = folder.path().join("run");
    let card = train(&recipe, &output, LanguageStart::New, 0).unwrap();
    let records = records(&output);
    assert_eq!(records.iter().map(|own| own.step).collect::<Vec<_>>(), [3, 6, 7]);
    assert!(records.iter().all(|own| own.kd > 0.0 && own.teacher_weights == [1.0]));
    let measured: Vec<f64> = records.iter().map(|own| own.validation.unwrap().nll).collect();
    assert!(measured[2] < card.student.validation.unwrap().nll + 1.0);
    let best = measured.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(card.student.validation.unwrap().nll, best);
    assert_eq!(card.trained_tokens, 7 * 2 * 23);
    // The delivered folder opens, and predicts the test split as the card says.
    let mut student = LanguageModel::open(&output.join("student")).unwrap();
    assert_eq!(student.decoder.config().layers, 1);
    let corpus = faculty_language::Corpus::open(&recipe.data).unwrap();
    let mut nats = 0.0;
    let mut tokens = 0;
    for document in &corpus.test {
        let own =
            faculty_language::measure(&mut student, &document.text, Default::default(), |_, _| ());
        let own = own.unwrap();
        nats += own.nats;
        tokens += own.tokens;
    }
    let test = card.student.test.unwrap();
    assert_eq!(test.tokens, tokens as u64);
    assert!((test.nll - nats / tokens as f64).abs() < 1e-6, "{test:?}, {nats}");
    assert!(card.teachers[0].test.is_some() && card.teachers[0].name == "a");
    // A folder in use is not written over unasked.
    let again = train(&recipe, &output, LanguageStart::New, 0).unwrap_err();
    assert!(matches!(again, RunError::FolderInUse { finished: true, .. }), "{again}");
    assert_eq!(train(&recipe, &output, LanguageStart::Resume, 0).unwrap(), card);
}

#[test]
fn a_stopped_run_goes_on_bit_for_bit() {
    for (method, more) in [("ce", RANDOM), ("kd", RANDOM)] {
        goes_on_bit_for_bit(method, more);
    }
}

#[test]
fn runs_on_texts_that_models_write_go_on_bit_for_bit() {
    let mut students = Vec::new();
    for (policy, method) in [
        ("skd", "kd"),
        ("on-policy", "kd"),
        ("gkd", "ca-mkd"),
        ("imitkd", "ca-mkd"),
        ("sequence-level", "kd"),
    ] {
        let more = format!(
            "{RANDOM}\n[writing]\npolicy = \"{policy}\"\nprompt_tokens = 6\nmax_tokens = 5\n\
             drafts = 2"
        );
        let (student, records) = goes_on_bit_for_bit(method, &more);
        students.push(student);
        for record in &records {
            assert_eq!(record.accepted.is_some(), policy == "skd", "{policy}: {record:?}");
            assert!(record.accepted.is_none_or(|kept| (0.0..=1.0).contains(&kept)));
            // Nobody knows the true next token of what was written: the surer teacher counts more.
            let sum: f64 = record.teacher_weights.iter().sum();
            assert!((sum - 1.0).abs() < 1e-5, "{policy}: {record:?}");
        }
    }
    for (at, student) in students.iter().enumerate() {
        assert!(!students[..at].contains(student), "number {at} is as one before");
    }
}

#[test]
fn written_texts_that_no_model_reads_are_refused() {
    let long = format!("{RANDOM}\n[writing]\npolicy = \"skd\"\nprompt_tokens = 60\nmax_tokens = 5");
    let (_folder, recipe) = project("kd", &long);
    let error = CheckedLanguageRun::new(&recipe).unwrap_err();
    assert!(error.to_string().contains("longer than the 64"), "{error}");
}

/// Stops and resumes a run; the student and the metrics of the undisturbed one.
fn goes_on_bit_for_bit(method: &str, more: &str) -> (Vec<u8>, Vec<LanguageRecord>) {
    {
        let (folder, recipe) = project(method, more);
        let path = |name: &str| folder.path().join(name);
        let whole = train(&recipe, &path("whole"), LanguageStart::New, 0).unwrap();
        let parts = path("parts");
        for stop_after in [2, 3, 5] {
            let start = if stop_after == 2 { LanguageStart::New } else { LanguageStart::Resume };
            let error = train(&recipe, &parts, start, stop_after).unwrap_err();
            assert!(
                matches!(error, RunError::Interrupted { step } if step == stop_after),
                "{error}"
            );
        }
        // As a process that is killed leaves it: lines that no checkpoint knows of, a half file.
        let mut metrics = fs::read(parts.join("metrics.jsonl")).unwrap();
        metrics.extend(b"{\"step\": 6, \"ce");
        fs::write(parts.join("metrics.jsonl"), metrics).unwrap();
        let resumed = train(&recipe, &parts, LanguageStart::Resume, 0).unwrap();
        for file in ["metrics.jsonl", "student/model.safetensors", "student/tokenizer.json"] {
            let [one, other] =
                ["whole", "parts"].map(|name| fs::read(path(name).join(file)).unwrap());
            assert!(one == other, "{method}: {file}");
        }
        assert_eq!(
            LanguageCard { seconds: 0.0, ..whole },
            LanguageCard { seconds: 0.0, ..resumed }
        );
        (fs::read(path("whole/student/model.safetensors")).unwrap(), records(&path("whole")))
    }
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let (folder, recipe) = project("ce", RANDOM);
    let path = |name: &str| folder.path().join(name);
    train(&recipe, &path("whole"), LanguageStart::New, 0).unwrap();
    let parts = path("parts");
    train(&recipe, &parts, LanguageStart::New, 5).unwrap_err();
    let last = parts.join("checkpoints/last.safetensors");
    let mut bytes = fs::read(&last).unwrap();
    let middle = bytes.len() - 9;
    bytes[middle] ^= 1;
    fs::write(&last, bytes).unwrap();
    let mut warned = None;
    train_language(
        CheckedLanguageRun::new(&recipe).unwrap(),
        &parts,
        LanguageStart::Resume,
        &AtomicBool::new(false),
        &mut |event| {
            if let LanguageEvent::Resumed { step, warning } = event {
                warned = Some((step, warning.unwrap_or_default().to_owned()));
            }
        },
    )
    .unwrap();
    let (step, warning) = warned.unwrap();
    assert!(step == 3 && warning.contains("checksum"), "{step}: {warning}");
    let [one, other] = ["whole", "parts"]
        .map(|name| fs::read(path(name).join("student/model.safetensors")).unwrap());
    assert!(one == other);
}

#[test]
fn another_recipe_text_or_teacher_is_no_continuation() {
    let (folder, recipe) = project("kd", RANDOM);
    let output = folder.path().join("run");
    train(&recipe, &output, LanguageStart::New, 2).unwrap_err();
    let refused = |recipe: &LanguageRecipe, word: &str| {
        let error = train(recipe, &output, LanguageStart::Resume, 0).unwrap_err();
        assert!(error.to_string().contains(word), "{error}, {word} expected");
    };
    let mut other = recipe.clone();
    other.train.learning_rate = 2e-3;
    refused(&other, "another recipe");
    let mut other = recipe.clone();
    other.teachers[0].weights = folder.path().join("b");
    refused(&other, "another teacher `a`");
    fs::write(folder.path().join("book.txt"), text() + "more\n").unwrap();
    refused(&recipe, "another text");
}

#[test]
fn students_are_layers_of_a_trained_decoder() {
    let network = small::network();
    let student = with_layers(&network, &[1], Path::new("small")).unwrap();
    let (own, all) = (student.state_dict(), network.state_dict());
    let name = "self_attn.q_proj.weight";
    assert_eq!(own[&format!("model.layers.0.{name}")], all[&format!("model.layers.1.{name}")]);
    assert_eq!(own["model.norm.weight"], all["model.norm.weight"]);
    assert_eq!(student.graph().decoder().unwrap().layers, 1);
    assert!(with_layers(&network, &[2], Path::new("small")).is_err());
    // All of them are the decoder itself.
    assert_eq!(with_layers(&network, &[0, 1], Path::new("small")).unwrap().state_dict(), all);
    let (_folder, recipe) = project("kd", "weights = \"b\"\nfrom_layers = [0]");
    let run = CheckedLanguageRun::new(&recipe).unwrap();
    assert_eq!((run.card().student.layers, run.card().teachers[0].layers), (1, 2));
    let mut wrong = recipe;
    wrong.student.from_layers = Some(vec![2]);
    let error = CheckedLanguageRun::new(&wrong).unwrap_err();
    assert!(error.to_string().contains("has 2 layers"), "{error}");
}

#[test]
fn teachers_with_other_tokens_or_without_numbers_are_refused_by_name() {
    let (folder, recipe) = project("kd", "weights = \"b\"");
    let teacher = folder.path().join("a");
    let path = teacher.join("tokenizer.json");
    let tokenizer = fs::read_to_string(&path).unwrap();
    // Two tokens change places: the sizes are the same.
    let changed = tokenizer
        .replace("\"A\":", "\"?:\"")
        .replace("\"B\":", "\"A\":")
        .replace("\"?:\"", "\"B\":");
    assert_ne!(changed, tokenizer);
    fs::write(&path, changed).unwrap();
    let error = CheckedLanguageRun::new(&recipe).unwrap_err().to_string();
    assert!(error.contains("teacher `a`") && error.contains("`B` there, `A` here"), "{error}");
    fs::write(&path, tokenizer).unwrap();
    let config = DecoderConfig { vocabulary: small::vocabulary().len() + 3, ..small::config() };
    let larger = Network::from_graph("small", config.graph().unwrap(), 1);
    save_decoder(&larger, &teacher).unwrap();
    let error = CheckedLanguageRun::new(&recipe).unwrap_err().to_string();
    let sizes = [small::vocabulary().len() + 3, small::vocabulary().len()];
    assert!(error.contains(&format!("{} there, {} here", sizes[0], sizes[1])), "{error}");
    let mut state = small::network().state_dict();
    state.get_mut("model.norm.weight").unwrap().values[0] = f32::MAX;
    fs::write(teacher.join("config.json"), small::config().to_json()).unwrap();
    weights::write(&teacher.join("model.safetensors"), &state, &Default::default()).unwrap();
    let error = CheckedLanguageRun::new(&recipe).unwrap_err();
    assert!(matches!(&error, RunError::TeacherBroke { teacher, .. } if teacher == "a"), "{error}");
}

#[test]
fn each_method_weighs_its_teachers_at_each_token() {
    for method in ["aver", "ebkd", "ca-mkd", "max-probability", "best-teacher"] {
        let (folder, recipe) = project(method, RANDOM);
        let card = train(&recipe, &folder.path().join("run"), LanguageStart::New, 0).unwrap();
        let nll: Vec<f64> = card.teachers.iter().map(|own| own.validation.unwrap().nll).collect();
        for record in records(&folder.path().join("run")) {
            let weights = &record.teacher_weights;
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{method}: {weights:?}");
            match method {
                "aver" => assert_eq!(weights, &[0.5, 0.5]),
                // Who predicts the true next tokens better counts more.
                "ca-mkd" => {
                    assert!(record.teacher_ce[0] < record.teacher_ce[1], "{record:?}");
                    assert!(weights[0] > 0.6, "{record:?}");
                }
                "best-teacher" => {
                    let best = if nll[0] < nll[1] { [1.0, 0.0] } else { [0.0, 1.0] };
                    assert_eq!(weights, &best);
                }
                _ => assert!(weights.iter().all(|&own| own > 0.0 && own < 1.0), "{weights:?}"),
            }
        }
    }
}

#[test]
fn other_divergences_train_too() {
    for divergence in ["reverse", "jensen-shannon"] {
        let (folder, mut recipe) = project("aver", RANDOM);
        recipe.method.divergence = match divergence {
            "reverse" => faculty_recipe::LanguageDivergence::Reverse,
            _ => faculty_recipe::LanguageDivergence::JensenShannon,
        };
        train(&recipe, &folder.path().join("run"), LanguageStart::New, 0).unwrap();
        let records = records(&folder.path().join("run"));
        // Jensen and Shannon's divergence is at most ln 2 at β = 1/2.
        let most = if divergence == "reverse" { f64::INFINITY } else { 2.0_f64.ln() };
        assert!(records.iter().all(|own| own.kd > 0.0 && own.kd < most), "{records:?}");
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_written_or_removed_through_a_link_in_the_folder() {
    let (folder, recipe) = project("ce", RANDOM);
    let (output, elsewhere) = (folder.path().join("run"), folder.path().join("elsewhere"));
    train(&recipe, &output, LanguageStart::New, 0).unwrap();
    for (inside, file) in [("student", "config.json"), ("checkpoints", "best.safetensors")] {
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join(file), "mine").unwrap();
        let inside = output.join(inside);
        fs::remove_dir_all(&inside).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &inside).unwrap();
        for start in [LanguageStart::Overwrite, LanguageStart::Resume] {
            let error = train(&recipe, &output, start, 0).unwrap_err();
            assert!(matches!(error, RunError::File(_)), "{error}");
        }
        assert_eq!(fs::read_to_string(elsewhere.join(file)).unwrap(), "mine");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
        fs::remove_file(&inside).unwrap();
        fs::remove_dir_all(&elsewhere).unwrap();
    }
}
