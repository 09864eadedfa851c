//! `faculty init`, `completions` and `man`: the first minute.

use std::path::{Path, PathBuf};

use crate::project::Project;

fn demo(name: &str) -> String {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    folder.join(name).display().to_string()
}

#[test]
fn writes_a_recipe_of_the_demos_files_that_trains() {
    let project = Project::new();
    let [data, ada, ben] =
        ["fashion-mnist", "teachers/ada.safetensors", "teachers/ben.safetensors"].map(demo);
    let ran = project.run(&["init", &data, &ada, &ben, "--output", "first.toml"]).expect(0);
    for part in [
        "data: idx, 12000 training images 1×28×28, 10 classes",
        "teacher: ada, a resnet14",
        "teacher: ben, a resnet8\n",
        "student: resnet8x0.5",
        "method: ca-mkd",
        "  faculty teachers first.toml\n  faculty distill first.toml\n",
    ] {
        assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
    }
    let text = std::fs::read_to_string(project.path("first.toml")).unwrap();
    let explained = project.run(&["explain", "first.toml", "--json"]).expect(0).json();
    let value = |key: &str| {
        let values = explained["values"].as_array().unwrap();
        values.iter().find(|v| v["key"] == key).unwrap_or_else(|| panic!("{key}"))["value"].clone()
    };
    assert_eq!(value("method.name"), "ca-mkd");
    assert_eq!(value("student.network"), "resnet8x0.5");
    // Both files tell the same normalisation.
    assert!(text.contains("mean = [0.286]") && text.matches("mean = ").count() == 1, "{text}");
    // Every line with a value of its own choice says why.
    for key in ["epochs", "batch_size", "views", "flip", "crop_padding", "schedule"] {
        let line = text.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        assert!(line.contains("  # "), "{line}");
    }

    let sets = ["data.train_samples=600", "train.epochs=1", "method.warmup_epochs=0"];
    let mut arguments = vec!["distill", "first.toml"];
    for set in sets {
        arguments.extend(["--set", set]);
    }
    project.run(&arguments).expect(0);
}

#[test]
fn one_teacher_gives_kd_and_none_gives_ce() {
    let project = Project::new();
    project.train("a", &["train.epochs=1"]);
    let one = ["init", "bands", "a/student.safetensors", "--output", "one.toml", "--json"];
    let one = project.run(&one).expect(0).json();
    assert_eq!(one["method"], "kd");
    // A run's student is named after the run.
    assert_eq!(one["teachers"][0]["name"], "a");
    assert_eq!(one["teachers"][0]["network"], "resnet8x0.5");
    let none = project.run(&["init", "bands", "--output", "none.toml", "--json"]).expect(0).json();
    assert_eq!((&none["method"], &none["student"]), (&"ce".into(), &"resnet20".into()));
    for recipe in ["one.toml", "none.toml"] {
        project.run(&["explain", recipe]).expect(0);
    }
    let chosen = ["init", "bands", "a/student.safetensors", "--student", "resnet8", "--method"];
    let chosen = [&chosen[..], &["aver", "--json", "--overwrite"]].concat();
    let chosen = project.run(&chosen).expect(0).json();
    assert_eq!((&chosen["method"], &chosen["student"]), (&"aver".into(), &"resnet8".into()));
}

#[test]
fn tables_of_logits_are_teachers_too() {
    let project = Project::new();
    project.train("a", &["train.epochs=1"]);
    let ids = project.run(&["datasets", "bands", "--ids"]).expect(0).stdout;
    let ids: Vec<&str> = ids.lines().skip(1).filter_map(|line| line.split(',').nth(2)).collect();
    project.write("t/logits.npy", npy(&format!("({}, 3)", ids.len()), &vec![0; ids.len() * 12]));
    project.write("t/logits.ids.txt", ids.join("\n"));
    let ran = project
        .run(&["init", "bands", "a/student.safetensors", "t/logits.npy", "--overwrite"])
        .expect(0);
    assert!(ran.stderr.contains("teacher: t, a table of logits"), "{}", ran.stderr);
    let text = std::fs::read_to_string(project.path("recipe.toml")).unwrap_or_default();
    assert!(text.contains("logits = \"t/logits.npy\""), "{text}");
    // ca-mkd cannot read a map of a table.
    assert!(text.contains("intermediate = false"), "{text}");
    project.run(&["explain", "recipe.toml"]).expect(0);
}

/// Floats in NumPy's format.
fn npy(shape: &str, values: &[u8]) -> Vec<u8> {
    let head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let head = format!("{head:<117}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((head.len() as u16).to_le_bytes());
    file.extend(head.as_bytes());
    file.extend(values);
    file
}

#[test]
fn hostile_names_stay_names() {
    let project = Project::new();
    project.train("a", &["train.epochs=1"]);
    let weights = std::fs::read(project.path("a/student.safetensors")).unwrap();
    let names =
        ["we\"ird\n[data]\npath = 'x' # .safetensors", "-weird-.safetensors", "Öl.safetensors"];
    for name in names {
        project.write(&format!("w/{name}"), &weights);
    }
    let paths = names.map(|name| format!("w/{name}"));
    let mut arguments = vec!["init", "bands", "--json", "--output", "it's [1].toml"];
    arguments.extend(paths.iter().map(String::as_str));
    let found = project.run(&arguments).expect(0).json();
    let teachers = found["teachers"].as_array().unwrap();
    let mut unique: Vec<&str> = teachers.iter().map(|t| t["name"].as_str().unwrap()).collect();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), 3, "{found}");
    // The same file three times: allowed, and warned of.
    let explained = project.run(&["explain", "it's [1].toml", "--json"]).expect(0).json();
    let keys = explained["values"].as_array().unwrap();
    let path = keys.iter().find(|v| v["key"] == "data.path").unwrap();
    assert!(path["value"].as_str().unwrap().ends_with("bands"), "{path}");
}

#[test]
fn what_it_cannot_use_is_refused_and_nothing_is_written() {
    let project = Project::new();
    project.write("noise.pth", b"no weights at all");
    project.write("short.safetensors", b"\x09\0\0\0\0\0\0\0{");
    let before = project.files();
    let cases: [(&[&str], &str); 7] = [
        (&["init", "nothing", "--overwrite"], "nothing"),
        (&["init", "bands"], "`recipe.toml` is there already"),
        (&["init", "bands", "noise.pth", "--overwrite"], "noise.pth"),
        (&["init", "bands", "short.safetensors", "--output", "new.toml"], "short.safetensors"),
        (&["init", "bands", "gone.pth", "--output", "new.toml"], "gone.pth"),
        (&["init", "bands", "--student", "resnet_20", "--output", "new.toml"], "resnet_20"),
        (&["init", "bands", "--method", "ca-mdk", "--output", "new.toml"], "ca-mdk"),
    ];
    for (arguments, part) in cases {
        let ran = project.run(arguments).expect(2);
        assert!(ran.stderr.contains(part) && ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
    // Weights of other images: the nearest network and what keeps it apart.
    let colour =
        faculty_nets::Network::new("resnet20", faculty_nets::MapShape::new(3, 32, 32), 3, 1);
    let state = colour.unwrap().state_dict();
    let file = project.path("colour.safetensors");
    faculty_nets::weights::write(&file, &state, &std::collections::BTreeMap::new()).unwrap();
    let ran = project.run(&["init", "bands", "colour.safetensors", "--overwrite"]).expect(2);
    assert!(ran.stderr.contains("the nearest is `resnet20`: `conv1.weight`"), "{}", ran.stderr);
    std::fs::remove_file(file).unwrap();
    assert_eq!(project.files(), before);
    project.run(&["init", "bands", "--overwrite"]).expect(0);
}

#[test]
fn of_several_sets_of_weights_the_one_that_is_named_is_used() {
    let project = Project::new();
    let image = faculty_nets::MapShape::new(1, 8, 8);
    let mut both = faculty_nets::weights::StateDict::new();
    for (key, seed) in [("model", 1), ("model_ema", 2)] {
        let network = faculty_nets::Network::new("resnet8x0.5", image, 3, seed).unwrap();
        let state = network.state_dict().into_iter();
        both.extend(state.map(|(name, array)| (format!("{key}.{name}"), array)));
    }
    let file = project.path("both.safetensors");
    faculty_nets::weights::write(&file, &both, &std::collections::BTreeMap::new()).unwrap();
    let ran = project.run(&["init", "bands", "both.safetensors", "--overwrite"]).expect(2);
    let asked = "holds several sets of weights: `model` (resnet8x0.5), `model_ema`";
    assert!(ran.stderr.contains(asked), "{}", ran.stderr);
    assert!(ran.stderr.contains("`--weights-key KEY`"), "{}", ran.stderr);
    let init = ["init", "bands", "both.safetensors", "--overwrite", "--weights-key", "model_ema"];
    let ran = project.run(&init).expect(0);
    assert!(ran.stderr.contains("note: left out of the weight file: `model` ("), "{}", ran.stderr);
    let recipe = std::fs::read_to_string(project.path("recipe.toml")).unwrap();
    assert!(recipe.contains("weights_key = \"model_ema\""), "{recipe}");

    // Both sets as teachers are two teachers, also to a cache.
    let teachers = |sets: &[&str]| {
        let mut arguments = vec!["teachers", "recipe.toml", "--json"];
        arguments.extend(["--set", "teachers.both.allow_weak=true"]);
        sets.iter().for_each(|set| arguments.extend(["--set", *set]));
        project.run(&arguments)
    };
    let ema = teachers(&[]).expect(0).json();
    let raw = teachers(&["teachers.both.weights_key=model"]).expect(0).json();
    assert_ne!(ema["teachers"][0]["quality"], raw["teachers"][0]["quality"]);
    let wrong = teachers(&["teachers.both.weights_key=ema"]).expect(2);
    let hint = "keys that lead to weights: `model`, `model_ema`";
    assert!(wrong.stderr.contains(hint), "{}", wrong.stderr);

    let evaluate = [
        "evaluate",
        "--weights",
        "both.safetensors",
        "--network",
        "resnet8x0.5",
        "--data",
        "bands",
    ];
    let refused = project.run(&evaluate).expect(2);
    assert!(refused.stderr.contains("`model`, `model_ema`"), "{}", refused.stderr);
    project.run(&[&evaluate[..], &["--weights-key", "model"]].concat()).expect(0);
    let unused = ["init", "bands", "--weights-key", "x", "--output", "y.toml"];
    let ran = project.run(&unused).expect(2);
    assert!(ran.stderr.contains("no file holds several sets"), "{}", ran.stderr);
}

/// The commands as `--help` lists them.
fn commands(project: &Project) -> Vec<String> {
    let help = project.run(&["--help"]).expect(0).stdout;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<String> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect();
    assert!(names.len() >= 14, "{names:?}");
    names
}

#[test]
fn completions_and_manual_know_every_command() {
    let project = Project::new();
    let commands = commands(&project);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = project.run(&["completions", shell]).expect(0).stdout;
        for command in &commands {
            assert!(text.contains(command.as_str()), "{shell}: {command}");
        }
    }
    let page = project.run(&["man"]).expect(0).stdout;
    assert!(page.contains(".TH faculty 1"), "{page}");
    for command in &commands {
        assert!(page.contains(&format!(".SH \"FACULTY {}\"", command.to_uppercase())), "{command}");
    }
    project.run(&["completions", "cmd"]).expect(2);
}

#[test]
fn every_command_has_examples() {
    let project = Project::new();
    for command in commands(&project) {
        let help = project.run(&[&command, "--help"]).expect(0).stdout;
        assert!(help.contains(&format!("  faculty {command}")), "{command}: {help}");
    }
}

/// Short texts of two classes, a tokenizer and an encoder that was trained on them.
fn project_of_texts() -> Project {
    let project = Project::new();
    let mut vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n".to_owned();
    (0..20).for_each(|word| vocabulary += &format!("w{word}\n"));
    project.write("words/vocab.txt", vocabulary);
    let mut table = "review,sentiment\n".to_owned();
    for text in 0..80 {
        let class = text % 2;
        // Three words of the class and some of all; every tenth text is a long one.
        let length = if text % 10 < 2 { 30 } else { 6 };
        let word =
            |at: usize| if at < 3 { class * 5 + (text + at) % 5 } else { 10 + (text * at) % 10 };
        let words: Vec<String> = (0..length).map(|at| format!("w{}", word(at))).collect();
        table += &format!("{},{}\n", words.join(" "), ["bad", "good"][class]);
    }
    project.write("reviews/train.csv", table);
    project
}

fn text_of(project: &Project, recipe: &str) -> String {
    std::fs::read_to_string(project.path(recipe)).unwrap()
}

#[test]
fn texts_with_nothing_but_a_tokenizer_give_a_recipe_that_trains() {
    let project = project_of_texts();
    let ran = project.run(&["init", "reviews", "--output", "a.toml"]).expect(2);
    assert!(ran.stderr.contains("no tokenizer was found"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: give `--tokenizer FOLDER`"), "{}", ran.stderr);
    assert!(!project.path("a.toml").exists());

    let init = ["init", "reviews", "--tokenizer", "words", "--output", "a.toml"];
    let ran = project.run(&init).expect(0);
    for part in [
        "data: text-csv, 80 training texts, 2 classes",
        "student: bag",
        // A fifth is longer than 16 tokens, which is more than may be cut: 30 words, two marks.
        "tokens: at most 32 a text, which cuts 0.0 % of the training texts",
        "method: ce",
    ] {
        assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
    }
    let text = text_of(&project, "a.toml");
    for key in ["crop_padding", "flip", "mean", "std", "resize", "image_column"] {
        assert!(!text.contains(&format!("\n{key} = ")), "{text}");
    }
    for part in ["schedule = \"linear\"", "optimizer = \"adamw\"", "\"norms-and-biases\""] {
        assert!(text.contains(part), "{text}");
    }
    project.run(&["train", "a.toml", "--output", "runs/a", "--no-report"]).expect(0);
    project.run(&["tfidf", "a.toml"]).expect(0);

    // One beside the data is found; images have no use for one.
    project.write("vocab.txt", text_of(&project, "words/vocab.txt"));
    project.run(&["init", "reviews", "--output", "b.toml"]).expect(0);
    assert!(text_of(&project, "b.toml").contains("tokenizer = \"vocab.txt\""));
    for (data, option, part) in [
        ("bands", "--tokenizer=words", "`--tokenizer` has no effect here: the data are images"),
        ("reviews", "--resize=8,8", "`resize` is of no use for `reviews`"),
    ] {
        let ran = project.run(&["init", data, option, "--output", "c.toml"]).expect(2);
        assert!(ran.stderr.contains(part) && ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
}

#[test]
fn encoders_and_tables_are_teachers_of_texts() {
    let project = project_of_texts();
    let init = ["init", "reviews", "--tokenizer", "words", "--student", "bert"];
    project.run(&[&init[..], &["--output", "teacher.toml"]].concat()).expect(0);
    let sets = ["student.width=16", "student.heads=2", "student.layers=3", "train.epochs=2"];
    let mut train = vec!["train", "teacher.toml", "--output", "runs/deep", "--no-report"];
    sets.iter().for_each(|set| train.extend(["--set", *set]));
    project.run(&train).expect(0);
    project.run(&["tfidf", "teacher.toml", "--output", "words.safetensors"]).expect(0);

    let init = ["init", "reviews", "runs/deep", "words.safetensors", "--output", "both.toml"];
    let ran = project.run(&init).expect(0);
    for part in [
        "teacher: deep, a bert of 3 layers",
        "teacher: words, a table of logits",
        "student: bert (2 of the 3 layers of deep)",
        "method: ca-mkd",
    ] {
        assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
    }
    let text = text_of(&project, "both.toml");
    assert!(text.contains("layers = 2") && text.contains("intermediate = false"), "{text}");
    let sets = ["teachers.deep.allow_weak=true", "teachers.words.allow_weak=true"];
    let mut distill = vec!["distill", "both.toml", "--output", "runs/both", "--no-report"];
    sets.iter().for_each(|set| distill.extend(["--set", *set]));
    project.run(&distill).expect(0);

    // A trained encoder as the start of a teacher: all its layers.
    let tuned = ["init", "reviews", "--student", "runs/deep", "--output", "tuned.toml", "--json"];
    let found = project.run(&tuned).expect(0).json();
    assert_eq!((&found["student"], &found["max_tokens"]), (&"bert".into(), &32.into()));
    let text = text_of(&project, "tuned.toml");
    assert!(text.contains("weights = \"runs/deep\"") && !text.contains("\nlayers"), "{text}");
    project.run(&["train", "tuned.toml", "--output", "runs/tuned", "--no-report"]).expect(0);

    // Without its classifier it is no teacher yet; a text encoder is none of images.
    let file = project.path("runs/deep/student.safetensors");
    let mut weights = faculty_nets::weights::WeightFile::open(&file, None).unwrap();
    let mut state = weights.read_all().unwrap();
    state.retain(|name, _| !name.starts_with("classifier"));
    std::fs::create_dir_all(project.path("bare")).unwrap();
    std::fs::copy(project.path("runs/deep/config.json"), project.path("bare/config.json")).unwrap();
    let bare = project.path("bare/model.safetensors");
    faculty_nets::weights::write(&bare, &state, &std::collections::BTreeMap::new()).unwrap();
    for (data, teacher, part) in [
        ("reviews", "bare", "no teacher yet"),
        ("bands", "bare", "the data are images"),
        ("reviews", "x.onnx", "no teachers of texts"),
    ] {
        let ran = project.run(&["init", data, teacher, "--output", "no.toml"]).expect(2);
        assert!(ran.stderr.contains(part) && ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
}
