//! Finished students for other programs: `export`, `predict`, `bench-model`.

use image::{GrayImage, RgbImage};
use serde_json::Value;

use crate::project::{Project, TEACHERS, bands, recipe};

/// A trained student in `run` and the test images of its data as PNG files in `pictures`.
fn trained() -> Project {
    let project = Project::new();
    project.train("run", &["train.epochs=3"]);
    std::fs::create_dir(project.path("pictures")).unwrap();
    let test = bands(60, 2);
    for index in 0..test.len() {
        let image = GrayImage::from_raw(8, 8, test.image(index).to_vec()).unwrap();
        image.save(project.path(&format!("pictures/{index:02}.png"))).unwrap();
    }
    project
}

fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn exported_files_say_what_the_run_says() {
    let project = trained();
    for (file, more) in [
        ("plain.onnx", vec![]),
        ("inside.onnx", vec!["--normalise", "--batch", "7"]),
        ("one.onnx", vec!["--batch", "1"]),
    ] {
        let arguments = [vec!["export", "run", "--onnx", file, "--json"], more].concat();
        let ran = project.run(&arguments).expect(0);
        let parity = &ran.json()["onnx"]["parity"];
        assert_eq!((&parity["images"], &parity["real"]), (&60.into(), &true.into()), "{file}");
        assert!(parity["relative"].as_f64().unwrap() <= 1e-4, "{parity}");
        assert!(ran.stderr.contains("60 images of the run's data"), "{}", ran.stderr);
    }
    project.run(&["export", "run", "--safetensors", "out.safetensors"]).expect(0);

    let own = project.run(&["predict", "run", "pictures", "--json"]).expect(0);
    let own = lines(&own.stdout);
    assert_eq!(own.len(), 60);
    // What `evaluate` counts, `predict` sees.
    let classes = ["top", "middle", "bottom"];
    let right = own
        .iter()
        .enumerate()
        .filter(|(index, line)| line["classes"][0]["class"] == classes[index % 3])
        .count();
    let top1 = project.run(&["evaluate", "run", "--json"]).expect(0).json()["top1"].clone();
    assert!((top1.as_f64().unwrap() - right as f64 / 0.6).abs() < 1e-9, "{top1} {right}");

    for model in
        ["run/student.safetensors", "out.safetensors", "plain.onnx", "inside.onnx", "one.onnx"]
    {
        let ran = project.run(&["predict", model, "pictures", "--json"]).expect(0);
        for (line, own) in lines(&ran.stdout).iter().zip(&own) {
            let (guesses, own) = (line["classes"].as_array().unwrap(), &own["classes"]);
            let sum: f64 = guesses.iter().map(|g| g["probability"].as_f64().unwrap()).sum();
            assert!(guesses.len() == 3 && (sum - 1.0).abs() < 1e-9, "{model}: {line}");
            for guess in guesses {
                let same = own.as_array().unwrap().iter().find(|g| g["class"] == guess["class"]);
                let [a, b] = [guess, same.unwrap()].map(|g| g["probability"].as_f64().unwrap());
                assert!((a - b).abs() < 1e-4, "{model}: {line} {own}");
            }
        }
    }
}

#[test]
fn a_bad_image_does_not_stop_the_others() {
    let project = trained();
    let png = std::fs::read(project.path("pictures/00.png")).unwrap();
    project.write("cut.png", &png[..png.len() / 2]);
    project.write("text.jpg", "no image");
    let colour = RgbImage::from_pixel(40, 30, image::Rgb([9, 99, 200]));
    colour.save(project.path("colour.jpg")).unwrap();
    std::fs::create_dir(project.path("empty")).unwrap();
    let images = ["cut.png", "text.jpg", "absent.png", "empty", "colour.jpg", "pictures/01.png"];
    let arguments = [vec!["predict", "run", "--top", "1"], images.to_vec()].concat();
    let ran = project.run(&arguments).expect(2);
    for bad in &images[..4] {
        assert!(ran.stderr.contains(bad), "{bad}: {}", ran.stderr);
    }
    assert_eq!(ran.stderr.matches("hint:").count(), 4, "{}", ran.stderr);
    let rows: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(rows.len(), 3, "{}", ran.stdout);
    assert!(rows[1].starts_with("colour.jpg") && rows[1].ends_with('%'), "{}", ran.stdout);
    assert!(rows[2].starts_with("pictures/01.png"), "{}", ran.stdout);
}

#[test]
fn predictions_of_folders_in_folders_become_a_table() {
    let project = trained();
    for (from, to) in [("pictures/00.png", "all/a/1.png"), ("pictures/01.png", "all/b/c/2.png")] {
        std::fs::create_dir_all(project.path(to).parent().unwrap()).unwrap();
        std::fs::copy(project.path(from), project.path(to)).unwrap();
    }
    // Neither hidden folders nor other files count.
    std::fs::create_dir(project.path("all/.thumbs")).unwrap();
    std::fs::copy(project.path("pictures/00.png"), project.path("all/.thumbs/1.png")).unwrap();
    project.write("all/notes.txt", "none");
    let ran =
        project.run(&["predict", "run", "all", "--top", "2", "--output", "out.csv"]).expect(0);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("out.csv: 2 images"), "{}", ran.stderr);
    let table = std::fs::read_to_string(project.path("out.csv")).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows[0], "image,label,class,probability,label_2,class_2,probability_2");
    assert!(
        rows[1].starts_with("all/a/1.png,") && rows[2].starts_with("all/b/c/2.png,"),
        "{table}"
    );
    // The same as without a table.
    let arguments = ["predict", "run", "pictures/01.png", "--top", "2", "--json"];
    let line = project.run(&arguments).expect(0).json();
    let cells: Vec<&str> = rows[2].split(',').collect();
    for (rank, guess) in line["classes"].as_array().unwrap().iter().enumerate() {
        assert_eq!(cells[3 * rank + 2], guess["class"].as_str().unwrap());
        let probability: f64 = cells[3 * rank + 3].parse().unwrap();
        assert_eq!(probability, guess["probability"].as_f64().unwrap());
    }
    // A bad one is told, the others stand in the table.
    project.write("all/cut.png", "no image");
    project.run(&["predict", "run", "all", "--output", "out.parquet"]).expect(2);
    assert!(project.path("out.parquet").exists());
    let ran = project.run(&["predict", "run", "all", "--output", "out.xlsx"]).expect(2);
    assert!(ran.stderr.contains("`.csv` or `.parquet`"), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_exported_is_said_and_leaves_no_file() {
    let project = trained();
    std::fs::create_dir(project.path("nothing")).unwrap();
    let before = project.files();
    let weights = "run/student.safetensors";
    std::fs::copy(project.path(weights), project.path("alone.safetensors")).unwrap();
    let (state, metadata) =
        faculty_nets::weights::read_safetensors(&project.path("alone.safetensors")).unwrap();
    let network = [("network".to_owned(), metadata["network"].clone())].into();
    for (name, metadata) in
        [("bare.safetensors", Default::default()), ("unsized.safetensors", network)]
    {
        faculty_nets::weights::write(&project.path(name), &state, &metadata).unwrap();
    }
    for (arguments, expected) in [
        (vec!["export", "run"], "--onnx FILE"),
        (vec!["export", "nothing", "--onnx", "x.onnx"], "no run that finished an epoch"),
        (vec!["export", "run", "--onnx", "x.onnx", "--batch", "0"], "dynamic"),
        (vec!["export", "run", "--onnx", "absent/x.onnx"], "hint:"),
        (vec!["export", "run", "--onnx", "x.onnx", "--licence", "MIT"], "--card"),
        (vec!["export", "--weights", "bare.safetensors", "--onnx", "x.onnx"], "--network"),
        (vec!["export", "--weights", "unsized.safetensors", "--onnx", "x.onnx"], "--size"),
        (vec!["export", "--weights", "alone.safetensors", "--card", "c"], "cannot be used"),
        (vec!["predict", "nothing", "pictures"], "no run that finished an epoch"),
        (vec!["predict", "recipe.toml", "pictures"], "hint:"),
        (vec!["bench-model", "nothing"], "no run that finished an epoch"),
    ] {
        let ran = project.run(&arguments).expect(2);
        assert!(ran.stderr.contains(expected), "{arguments:?}: {}", ran.stderr);
    }
    for name in ["alone.safetensors", "bare.safetensors", "unsized.safetensors"] {
        std::fs::remove_file(project.path(name)).unwrap();
    }
    assert_eq!(project.files(), before);
}

#[test]
fn without_data_random_images_serve() {
    let project = trained();
    std::fs::remove_dir_all(project.path("bands")).unwrap();
    // The weight file knows the size of its images.
    for size in [&[][..], &["--size", "8,8"]] {
        let arguments = [&["export", "run", "--onnx", "x.onnx", "--json"], size].concat();
        let ran = project.run(&arguments).expect(0);
        assert_eq!(ran.json()["onnx"]["parity"]["real"], false);
        let warned = ran.stderr.contains("warning:") && ran.stderr.contains("random");
        assert!(warned, "{}", ran.stderr);
    }
    // What was exported knows its size.
    project.run(&["predict", "x.onnx", "pictures/00.png"]).expect(0);
}

#[test]
fn a_student_that_broke_down_is_not_exported() {
    let project = trained();
    let path = project.path("run/student.safetensors");
    let (mut state, metadata) = faculty_nets::weights::read_safetensors(&path).unwrap();
    // Finite weights, but logits beyond what f32 can hold.
    state.values_mut().for_each(|own| own.values.iter_mut().for_each(|v| *v = 1e30));
    faculty_nets::weights::write(&path, &state, &metadata.into_iter().collect()).unwrap();
    let ran = project.run(&["export", "run", "--onnx", "x.onnx"]).expect(1);
    assert!(ran.stderr.contains("was not written"), "{}", ran.stderr);
    assert!(!project.path("x.onnx").exists());
}

#[test]
fn speed_and_card_of_a_distilled_student() {
    let project = Project::new();
    project.train("a", &[]);
    project.train("b", &["seed=4"]);
    project.write("distill.toml", recipe("aver", TEACHERS));
    project.run(&["distill", "distill.toml", "--output", "run"]).expect(0);
    let before = ["export", "run", "--card", "card", "--licence", "MIT"];
    project.run(&before).expect(0);
    let text = |name: &str| std::fs::read_to_string(project.path(name)).unwrap();
    let markdown = text("card/model-card.md");
    for expected in ["# resnet8x0.5 on bands", "| Licence | MIT |", "to be filled in", "| a |"] {
        assert!(markdown.contains(expected), "{expected}: {markdown}");
    }
    assert!(!markdown.contains("## Speed"), "{markdown}");

    let bench = project.run(&["bench-model", "run", "--json"]).expect(0).json();
    let models = bench["models"].as_array().unwrap();
    let names: Vec<&str> = models.iter().map(|own| own["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["student", "a", "b"]);
    for own in models {
        let number = |key: &str| own[key].as_f64().unwrap();
        assert!(number("multiply_adds") > number("parameters") && number("parameters") > 1e4);
        assert!(0.0 < number("latency_median_ms"), "{own}");
        assert!(number("latency_median_ms") <= number("latency_p95_ms"), "{own}");
        assert!(number("images_per_second") > 0.0, "{own}");
    }
    let kept: Value = serde_json::from_str(&text("run/bench.json")).unwrap();
    assert_eq!(kept, bench);

    project.run(&before).expect(0);
    assert!(text("card/model-card.md").contains("## Speed"));
    let card: Value = serde_json::from_str(&text("card/model-card.json")).unwrap();
    let own: Value = serde_json::from_str(&text("run/card.json")).unwrap();
    assert_eq!(card["run"], own);
    assert_eq!(card["bench"], bench);
    let [low, high] = [0, 1].map(|at| card["test"]["top1_interval"][at].as_f64().unwrap());
    let top1 = own["best"]["test"]["top1"].as_f64().unwrap();
    assert!(low < high && low <= top1 && top1 <= high + 1e-9, "{low} {top1} {high}");
    assert_eq!(card["weights_sha256"].as_str().unwrap().len(), 64);
    assert!(card["recipe"].as_str().unwrap().contains("temperature"));

    // The report shows accuracy against latency.
    project.run(&["report", "run", "--svg", "figures"]).expect(0);
    let svg = text("figures/trade-off.svg");
    let drawing = roxmltree::Document::parse(&svg).unwrap();
    let dots = drawing.descendants().filter(|node| node.has_tag_name("circle")).count();
    assert_eq!(dots, 3, "{svg}");
    project.run(&["report", "run"]).expect(0);
    assert!(text("run/report.html").contains("Accuracy and latency"));

    // Another precision is one of its own, and leaves what is kept.
    let bf16 =
        project.run(&["bench-model", "run", "--precision", "bf16", "--json"]).expect(0).json();
    let precisions = |bench: &Value| -> Vec<String> {
        let models = bench["models"].as_array().unwrap();
        models.iter().map(|own| own["precision"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (precisions(&bench), precisions(&bf16)),
        (vec!["f32".into(); 3], vec!["bf16".into(); 3])
    );
    assert_eq!(serde_json::from_str::<Value>(&text("run/bench.json")).unwrap(), bench);
    let refused = project.run(&["bench-model", "run", "--precision", "f16"]).expect(2);
    assert!(refused.stderr.contains("possible values: f32, bf16"), "{}", refused.stderr);

    // A recipe needs no trained student, and keeps nothing.
    let ran = project.run(&["bench-model", "distill.toml", "--threads", "1"]).expect(0);
    assert_eq!(ran.stdout.lines().count(), 4, "{}", ran.stdout);

    // A run that takes the folder over has not been measured.
    let again = ["distill", "distill.toml", "--output", "run", "--overwrite"];
    project.run(&again).expect(0);
    assert!(!project.path("run/bench.json").exists());
}
