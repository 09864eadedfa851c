//! Texts through whole runs: encoders as teachers and students, tables, caches, resuming.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_data::Dataset;
use faculty_distill::export::export_transformers;
use faculty_distill::methods::{METHODS, specs};
use faculty_distill::recipe::Recipe;
use faculty_distill::record::RunCard;
use faculty_distill::run::open_dataset;
use faculty_distill::tfidf::{TfidfConfig, write_table};
use faculty_distill::{CheckedRun, Error, Event, FinishedStudent, Start, StudentChoice, train};
use faculty_nets::{EncoderFolder, weights};
use faculty_teachers::prepare_data;

use crate::data::unit;
use crate::ranks::{apart, ranks_on};
use crate::runs::{student, timeless};

const CLASSES: [&str; 3] = ["cold", "mild", "warm"];
const WORDS: usize = 40;

/// Reviews of 4 to 12 words, a third of which belong to the class.
fn write_texts(folder: &Path) {
    let data = folder.join("texts");
    fs::create_dir_all(&data).unwrap();
    let mut vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n".to_owned();
    (0..WORDS).for_each(|word| vocabulary += &format!("w{word}\n"));
    fs::write(folder.join("vocab.txt"), vocabulary).unwrap();
    for (name, count, seed) in [("train", 240, 1), ("test", 60, 2)] {
        let mut table = "text,label\n".to_owned();
        for text in 0..count {
            let class = text % CLASSES.len();
            let length = 4 + (unit(text as u64, seed) * 9.0) as usize;
            let word = |at: usize| {
                let draw = unit((text * 100 + at) as u64, seed + 10);
                match at % 3 {
                    0 => class * 6 + (draw * 6.0) as usize,
                    _ => (draw * WORDS as f64) as usize,
                }
            };
            let words: Vec<String> = (0..length).map(|at| format!("w{}", word(at))).collect();
            table += &format!("{},{}\n", words.join(" "), CLASSES[class]);
        }
        fs::write(data.join(format!("{name}.csv")), table).unwrap();
    }
}

const ENCODER: &str =
    "network = \"bert\"\nlayers = 2\nwidth = 16\nheads = 2\nfeed_forward = 24\nmax_tokens = 16\n";
const BAG: &str = "network = \"bag\"\nwidth = 16\nmax_tokens = 16\n";

fn recipe(folder: &Path, student: &str, method: &str, teachers: &[&str], sets: &[&str]) -> Recipe {
    let mut text = format!(
        "seed = 3\n[data]\npath = \"texts\"\n[student]\n{student}tokenizer = \"vocab.txt\"\n\
         [method]\nname = \"{method}\"\n[train]\nepochs = 3\nbatch_size = 32\n\
         optimizer = \"adamw\"\nlearning_rate = 0.01\nschedule = \"linear\"\n"
    );
    for (k, teacher) in teachers.iter().enumerate() {
        text += &format!("[[teachers]]\nname = \"t{k}\"\nallow_weak = true\n{teacher}");
    }
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Recipe::from_str(&text, folder.join("recipe.toml"), &sets, &specs()).unwrap().recipe
}

fn open(recipe: &Recipe) -> Dataset {
    open_dataset(&recipe.data).unwrap()
}

fn run(recipe: &Recipe, folder: &Path) -> Result<RunCard, Error> {
    run_with(recipe, folder, Start::New, None)
}

/// Until the batch `until`, if one is given.
fn run_with(
    recipe: &Recipe,
    folder: &Path,
    start: Start,
    until: Option<(usize, usize)>,
) -> Result<RunCard, Error> {
    let stop = AtomicBool::new(false);
    let run = CheckedRun::new(recipe, &open(recipe))?;
    train(run, folder, start, &stop, &mut |event| {
        if matches!(event, Event::Batch { epoch, batch, .. } if Some((epoch, batch)) == until) {
            stop.store(true, Ordering::Relaxed);
        }
    })
}

/// Three teachers, each a run's folder: with attention, without, and with attention again.
fn teachers(folder: &Path) -> [&'static str; 3] {
    write_texts(folder);
    for (name, student, seed) in [("deep", ENCODER, 3), ("flat", BAG, 4), ("other", ENCODER, 5)] {
        let seed = format!("seed={seed}");
        let own = recipe(folder, student, "ce", &[], &["train.epochs=8", &seed]);
        let top1 = run(&own, &folder.join(name)).unwrap().last.test.unwrap().top1;
        assert!(top1 > 60.0, "{name}: {top1}");
    }
    [
        "network = \"bert\"
weights = \"deep\"
",
        "network = \"bag\"
weights = \"flat/student.safetensors\"
tokenizer = \"vocab.txt\"
",
        "network = \"bert\"
weights = \"other\"
",
    ]
}

#[test]
fn ranks_train_the_encoder_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let teachers = teachers(folder);
    // 216 samples: the last batch is of one, and dropout is by sample.
    let sets = ["train.batch_size=43", "train.epochs=2", "train.learning_rate=0.001"];
    let own = recipe(folder, ENCODER, "mt-bert", &[teachers[0], teachers[2]], &sets);
    let alone = folder.join("alone");
    let card = run(&own, &alone).unwrap();
    let (first, second) = (folder.join("first"), folder.join("second"));
    let of_ranks = ranks_on(&own, &open(&own), &first, 3);
    ranks_on(&own, &open(&own), &second, 3);
    assert!(student(&first) == student(&second), "other bytes");
    let apart = apart(&alone, &first);
    assert!(apart < 1e-2, "{apart:.1e} apart");
    let right = |card: &RunCard| card.last.test.unwrap().top1;
    assert!((right(&of_ranks) - right(&card)).abs() < 4.0);
}

#[test]
fn encoders_teach_and_learn_and_are_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let teachers = teachers(folder);
    let [deep, flat, other] = teachers;
    for (method, student, teachers) in [
        ("ca-mkd", BAG, [deep, flat]),
        ("mt-bert", ENCODER, [deep, other]),
        ("ebkd", BAG, [flat, other]),
    ] {
        let out = folder.join(method);
        let sets = ["train.epochs=8", "method.alpha=0.5"];
        let own = recipe(folder, student, method, &teachers, &sets);
        let card = run(&own, &out).unwrap();
        let test = card.last.test.unwrap();
        assert!(test.top1 > 60.0, "{method}: {test:?}");
        assert_eq!(card.max_tokens, Some(16));
        // The run's folder says all that it takes to use the student.
        let opened = FinishedStudent::open(&out, &StudentChoice::default()).unwrap();
        assert_eq!(opened.class_names, CLASSES);
        let views = opened.views().unwrap();
        let part = open(&own).test_split().unwrap();
        let quality =
            faculty_distill::evaluate::network_quality(&opened.network, &part, &views).unwrap();
        let best = card.best.test.unwrap();
        assert_eq!(quality.unwrap().top1, best.top1, "{method}");
        // Examples are samples that teachers contradict each other on: surely some with attention in
        // one and none in the other, perhaps none where both have it.
        let report = fs::read_to_string(out.join("report.json")).unwrap();
        assert!(method != "ca-mkd" || report.contains("\"text\""), "examples are texts");
    }
}

#[test]
fn every_method_takes_texts_or_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let teachers = teachers(folder);
    let pair = [teachers[0], teachers[2]];
    let mut refused = Vec::new();
    for info in METHODS {
        let name = info.spec.name;
        let count = [2, 1, 0].into_iter().find(|&count| info.spec.takes(count)).unwrap();
        let own = recipe(folder, ENCODER, name, &pair[..count], &["train.epochs=1"]);
        match run(&own, &folder.join(format!("all-{name}"))) {
            Ok(card) => assert!(card.last.test.unwrap().nll.is_finite(), "{name}"),
            Err(error) => {
                assert!(error.hint().is_some(), "{name}: {error}");
                refused.push((name, error.to_string()));
            }
        }
    }
    let names: Vec<&str> = refused.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, REFUSED, "{refused:#?}");
}

/// Methods that cannot work on vectors, and say so.
const REFUSED: &[&str] = &["amtml-kd", "mmkd", "dih", "simkd"];

#[test]
fn a_run_on_texts_that_is_stopped_and_resumed_equals_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let teachers = teachers(folder);
    let [deep, flat, other] = teachers;
    for (method, teachers) in [("ca-mkd", [deep, flat]), ("mt-bert", [deep, other])] {
        // Dropout, words left out and swapped: all that is drawn.
        let sets =
            ["data.word_deletion=0.1", "data.word_swap=0.1", "student.dropout=0.2", "data.views=2"];
        let own = recipe(folder, ENCODER, method, &teachers, &sets);
        let [whole, parts] = ["whole", "parts"].map(|n| folder.join(format!("{method}-{n}")));
        run(&own, &whole).unwrap();
        for (start, at) in [(Start::New, (1, 2)), (Start::Resume, (2, 1)), (Start::Resume, (3, 4))]
        {
            let error = run_with(&own, &parts, start, Some(at)).unwrap_err();
            assert!(matches!(error, Error::Interrupted { .. }), "{method}: {error}");
        }
        run_with(&own, &parts, Start::Resume, None).unwrap();
        assert!(student(&parts) == student(&whole), "{method}: students differ");
        assert_eq!(timeless(&parts), timeless(&whole), "{method}");
    }
}

#[test]
fn options_of_the_training_hold_for_encoders_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let teachers = teachers(folder);
    let tensors = |run: &str| {
        weights::read_safetensors(&folder.join(run).join("student.safetensors")).unwrap().0
    };
    let start = tensors("deep");
    let word = start.keys().find(|name| name.ends_with("word_embeddings.weight")).unwrap();
    let frozen = word.strip_suffix(".word_embeddings.weight").unwrap();
    let freeze = format!("student.freeze=[\"{frozen}\"]");
    let sets = [
        freeze.as_str(),
        "student.weights=deep",
        "student.classifier_learning_rate_factor=5",
        "train.ema=0.9",
        "train.accumulate=2",
        "train.label_smoothing=0.1",
        "train.class_weights=balanced",
        "train.sampling=balanced",
        "train.weight_decay_exempt=norms-and-biases",
        "train.early_stopping=2",
        "train.best_by=macro-f1",
    ];
    let mut own = recipe(folder, "network = \"bert\"\n", "ca-mkd", &teachers, &sets);
    own.student.weights = Some(folder.join("deep"));
    own.student.tokenizer = Some(folder.join("vocab.txt"));
    let [whole, parts] = ["whole", "parts"].map(|name| folder.join(name));
    run(&own, &whole).unwrap();
    for (start, at) in [(Start::New, (1, 1)), (Start::Resume, (2, 3))] {
        let error = run_with(&own, &parts, start, Some(at)).unwrap_err();
        assert!(matches!(error, Error::Interrupted { .. }), "{error}");
    }
    run_with(&own, &parts, Start::Resume, None).unwrap();
    assert!(student(&parts) == student(&whole), "students differ");
    assert_eq!(timeless(&parts), timeless(&whole));
    for (name, array) in tensors("whole") {
        let is_frozen = name.starts_with(&format!("{frozen}."));
        assert_eq!(array == start[&name], is_frozen, "{name}");
    }
}

#[test]
fn a_cache_of_texts_gives_what_the_teachers_give() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let teachers = teachers(folder);
    let sets = ["data.views=2", "data.word_deletion=0.2"];
    let live = recipe(folder, BAG, "ca-mkd", &teachers, &sets);
    run(&live, &folder.join("live")).unwrap();
    let kept = format!("cache.path={:?}", folder.join("kept"));
    let cached = [&sets[..], &[&kept, "cache.dtype=\"f32\""]].concat();
    let cached = recipe(folder, BAG, "ca-mkd", &teachers, &cached);
    let dataset = open(&cached);
    let plan = faculty_distill::cache::plan(&cached, &dataset).unwrap();
    plan.build(&AtomicBool::new(false), &mut |_| {}).unwrap();
    run(&cached, &folder.join("cached")).unwrap();
    assert!(student(&folder.join("live")) == student(&folder.join("cached")), "students differ");
    // Other words of a view are other inputs.
    let other = [kept.as_str(), "cache.dtype=\"f32\"", "data.views=2"];
    let other = recipe(folder, BAG, "ca-mkd", &teachers, &other);
    let error = faculty_distill::cache::plan(&other, &dataset).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("word_deletion"), "{error}");
}

#[test]
fn a_linear_model_of_words_is_a_teacher_by_its_table() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_texts(folder);
    let own = recipe(folder, BAG, "ce", &[], &[]);
    let dataset = open(&own);
    let data = prepare_data(&own, &dataset).unwrap();
    let table = folder.join("tfidf.safetensors");
    let result = write_table(&dataset, &data, &TfidfConfig::default(), &table).unwrap();
    let [train, test] = [result.train.unwrap(), result.test.unwrap()];
    assert!(test.top1 > 75.0, "{test:?}");
    // Folds: what it says of training samples is no better than what it says of others.
    assert!((train.top1 - test.top1).abs() < 15.0, "{train:?} and {test:?}");
    let teacher = ["logits = \"tfidf.safetensors\"\n"];
    let card = run(&recipe(folder, BAG, "kd", &teacher, &[]), &folder.join("run")).unwrap();
    let quality = card.teachers[0].quality.unwrap();
    assert!(quality.top1 > 60.0, "{quality:?}");
}

#[test]
fn what_does_not_fit_texts_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let teachers = teachers(folder);
    let resnet = "network = \"resnet8\"\n";
    let of_images = ["network = \"resnet8\"\nweights = \"deep\"\n"];
    let onnx = ["onnx = \"deep\"\n"];
    let other = ["network = \"mpnet\"\nweights = \"deep\"\n"];
    let deep = "network = \"bert\"
weights = \"deep\"
";
    for (student, method, teachers, sets, words) in [
        (resnet, "ce", &[][..], &[][..], "reads images"),
        (BAG, "kd", &of_images, &[], "reads images"),
        (BAG, "kd", &onnx, &[], ""),
        (BAG, "kd", &other, &[], "`bert`"),
        (deep, "ce", &[], &["student.width=32"], "`student.width` is 32"),
        (deep, "ce", &[], &["student.from_layers=[0, 7]"], "from_layers"),
        (deep, "ce", &[], &["student.layers=3"], "`student.layers` is 3"),
        (ENCODER, "ce", &[], &["train.device=\"cpu-burn\""], "CPU only"),
        (ENCODER, "ce", &[], &["student.heads=3"], "3 heads"),
        (
            BAG,
            "ce",
            &[],
            &["data.flip=false"],
            "`data.flip` has no effect here: the data are texts",
        ),
        (BAG, "ce", &[], &["data.crop_padding=0"], "`data.crop_padding` has no effect here"),
        (BAG, "ce", &[], &["data.random_erasing=0.1"], "`data.random_erasing` has no effect here"),
        (BAG, "kd", &teachers[..1], &["teachers[0].input_size=[8, 8]"], "`teachers.t0.input_size`"),
        (BAG, "kd", &teachers[..1], &["teachers[0].max_tokens=9999"], "lower `max_tokens`"),
    ] {
        let own = recipe(folder, student, method, teachers, sets);
        let Err(error) = CheckedRun::new(&own, &open(&own)) else {
            panic!("{student} {teachers:?} {sets:?} is taken")
        };
        let text = format!("{error} {}", error.hint().unwrap_or_default());
        assert!(text.contains(words), "{text}");
    }
    // Images, and a network that reads texts.
    let sets = ["student.network=\"bert\"".to_owned()];
    let text =
        "[data]\npath = \"bands\"\n[student]\nnetwork = \"resnet8\"\n[method]\nname = \"ce\"\n";
    let own = Recipe::from_str(text, folder.join("r.toml"), &sets, &specs()).unwrap().recipe;
    let error = CheckedRun::new(&own, &crate::data::dataset()).err().unwrap().to_string();
    assert!(error.contains("reads texts, the data are images"), "{error}");
    for (set, words) in [
        ("data.word_swap=0.1", "`data.word_swap` has no effect here: the data are images"),
        ("student.max_tokens=64", "`student.max_tokens` has no effect here"),
    ] {
        let own = Recipe::from_str(text, folder.join("r.toml"), &[set.to_owned()], &specs());
        let error = CheckedRun::new(&own.unwrap().recipe, &crate::data::dataset()).err().unwrap();
        assert!(error.to_string().contains(words) && error.hint().is_some(), "{error}");
    }
}

#[test]
fn a_student_is_written_as_a_folder_that_other_programs_open() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_texts(folder);
    for (student, sets, fits) in [
        (ENCODER, &["student.pooling=\"first\""][..], true),
        (ENCODER, &[], false),
        (BAG, &[], false),
    ] {
        let out = folder.join("run");
        let _ = fs::remove_dir_all(&out);
        run(&recipe(folder, student, "ce", &[], sets), &out).unwrap();
        let own = FinishedStudent::open(&out, &StudentChoice::default()).unwrap();
        let target = folder.join("written");
        let written = export_transformers(&own, &target);
        if !fits {
            let error = written.unwrap_err();
            assert!(error.hint().unwrap().contains("--safetensors"), "{error}");
            continue;
        }
        let names: Vec<_> =
            written.unwrap().iter().map(|f| f.file_name().unwrap().to_owned()).collect();
        let wants = ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"];
        assert_eq!(names, wants);
        let read = EncoderFolder::open(&target).unwrap();
        assert_eq!(Some(&read.config), own.network.graph().encoder());
        assert_eq!(read.classes.unwrap(), CLASSES);
        let mut file = weights::WeightFile::open(&read.weights, None).unwrap();
        let loaded = read.config.load(&mut file, None, 1).unwrap();
        assert!(loaded.anew.is_empty() && loaded.left_out.is_empty());
        assert_eq!(loaded.network.parameters(), own.network.parameters());
    }
}
