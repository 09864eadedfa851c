//! Bad input: a clear message with place and hint, exit code 2, and nothing half-written.

use crate::project::{Project, Ran, recipe};

/// Runs a command that must fail without writing anything.
fn refused(project: &Project, arguments: &[&str]) -> Ran {
    let before = project.files();
    let ran = project.run(arguments).expect(2);
    assert_eq!(project.files(), before, "{}", ran.stderr);
    assert!(ran.stderr.contains("error: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("\n  hint: "), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ran
}

/// The same for a recipe; every part of `expected` must be in the message.
fn refused_recipe(project: &Project, text: &str, expected: &[&str]) {
    project.write("bad.toml", text);
    let ran = refused(project, &["distill", "bad.toml"]);
    for part in expected {
        assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
    }
}

fn teacher(weights: &str) -> String {
    format!(
        "\n[[teachers]]\nname = \"a\"\nnetwork = \"resnet8x0.5\"\nweights = \"{weights}\"\n\
         allow_weak = true\n"
    )
}

#[test]
fn a_missing_recipe_or_data_set() {
    let project = Project::new();
    let ran = refused(&project, &["train", "nowhere.toml"]);
    assert!(ran.stderr.contains("nowhere.toml"), "{}", ran.stderr);
    let ran = refused(&project, &["train", "recipe.toml", "--set", "data.path=nowhere"]);
    assert!(ran.stderr.contains("nowhere"), "{}", ran.stderr);
}

#[test]
fn wrong_keys_and_values_are_all_told_at_once() {
    let project = Project::new();
    let text = recipe("ca-mkd", &teacher("x.pth"))
        .replace("epochs = 2", "epoch = 2\nlearning_rate = -1")
        .replace("name = \"ca-mkd\"", "name = \"ca-mkd\"\ntemprature = 3");
    refused_recipe(
        &project,
        &text,
        &[
            "unknown key `epoch` in `[train]`",
            "did you mean `epochs`?",
            "bad.toml:11, train.epoch",
            "unknown key `temprature`",
            "did you mean `temperature`?",
            "learning_rate",
            "above 0",
        ],
    );
}

#[test]
fn an_unknown_network_or_method() {
    let project = Project::new();
    let text = recipe("ce", "").replace("resnet8x0.5", "resnet_8x4");
    project.write("bad.toml", text);
    let ran = refused(&project, &["train", "bad.toml"]);
    assert!(ran.stderr.contains("did you mean `resnet8x4`?"), "{}", ran.stderr);
    refused_recipe(&project, &recipe("camkd", &teacher("x.pth")), &["camkd", "ca-mkd"]);
}

#[test]
fn missing_truncated_and_foreign_weight_files() {
    let project = Project::new();
    project.train("good", &["train.epochs=1"]);
    let text = |weights: &str| recipe("aver", &teacher(weights));
    refused_recipe(&project, &text("nowhere.pth"), &["cannot read weights", "nowhere.pth"]);
    let whole = std::fs::read(project.path("good/student.safetensors")).unwrap();
    project.write("cut.safetensors", &whole[..whole.len() / 2]);
    refused_recipe(&project, &text("cut.safetensors"), &["cut.safetensors", "cut short"]);
    project.write("text.pth", "this is no network");
    refused_recipe(&project, &text("text.pth"), &["text.pth", "of no known format", "torch.save"]);
    let other = text("good/student.safetensors").replacen(
        "name = \"a\"\nnetwork = \"resnet8x0.5\"",
        "name = \"a\"\nnetwork = \"resnet14x0.5\"",
        1,
    );
    refused_recipe(&project, &other, &["do not fit network `resnet14x0.5`", "is missing"]);
}

#[test]
fn teachers_without_a_usable_source() {
    let project = Project::new();
    let text = |source: &str| recipe("kd", &format!("\n[[teachers]]\nname = \"a\"\n{source}\n"));
    refused_recipe(&project, &text(""), &["where its outputs come from", "bad.toml:13"]);
    refused_recipe(
        &project,
        &text("network = \"resnet8x0.5\"\nlogits = \"a.npy\""),
        &["several sources: `network`, `logits`", "a teacher has one source"],
    );
    refused_recipe(&project, &text("logits = \"nowhere.npy\""), &["nowhere.npy", "cannot be read"]);
    refused_recipe(&project, &text("onnx = \"nowhere.onnx\""), &["nowhere.onnx", "cannot be read"]);
    project.write("model.onnx", "no model");
    refused_recipe(&project, &text("onnx = \"model.onnx\""), &["no readable ONNX file"]);
    project.write("table.npy", "no table");
    refused_recipe(&project, &text("logits = \"table.npy\""), &["no readable .npy file"]);
    project.train("good", &["train.epochs=1"]);
    let network = "network = \"resnet8x0.5\"\nweights = \"good/student.safetensors\"\n";
    let other = text(&format!("{network}classes = [\"top\", \"middle\", \"floor\"]"));
    refused_recipe(
        &project,
        &other,
        &[
            "only the teacher has `floor`",
            "only the data has `bottom`",
            "`classes` on that teacher",
        ],
    );
    let typo = text(&format!("{network}classes = {{ bottom = \"botom\" }}"));
    refused_recipe(&project, &typo, &["`botom`, which is no class of the data", "`bottom`?"]);
}

#[test]
fn damaged_data_sets() {
    let project = Project::new();
    let images = std::fs::read(project.path("bands/train-images-idx3-ubyte.gz")).unwrap();
    project.write("bands/train-images-idx3-ubyte.gz", &images[..images.len() / 2]);
    let ran = refused(&project, &["train", "recipe.toml"]);
    assert!(ran.stderr.contains("train-images-idx3-ubyte"), "{}", ran.stderr);

    let folder = Project::new();
    folder.write("recipe.toml", recipe("ce", "").replace("\"bands\"", "\"pictures\""));
    std::fs::create_dir_all(folder.path("pictures/train/cats")).unwrap();
    folder.write("pictures/train/dogs/a.png", b"\x89PNG\r\n\x1a\nnot really");
    let ran = refused(&folder, &["train", "recipe.toml"]);
    assert!(ran.stderr.contains("cats") || ran.stderr.contains("a.png"), "{}", ran.stderr);
    folder.write("pictures/train/cats/b.png", b"\x89PNG\r\n\x1a\nnot really");
    let ran = refused(&folder, &["train", "recipe.toml"]);
    assert!(ran.stderr.contains(".png"), "{}", ran.stderr);
}

#[test]
fn labels_out_of_range() {
    let project = Project::new();
    // Fewer names than classes: the third class's label is out of range.
    project.write("bands/classes.txt", "top\nmiddle\n");
    let ran = refused(&project, &["train", "recipe.toml"]);
    assert!(ran.stderr.contains("label"), "{}", ran.stderr);
}

#[test]
fn a_distillation_without_teachers() {
    let project = Project::new();
    let ran = refused(&project, &["distill", "recipe.toml"]);
    assert!(ran.stderr.contains("no teachers"), "{}", ran.stderr);
}

#[test]
fn an_output_folder_that_cannot_be_made() {
    let project = Project::new();
    project.write("file", "in the way");
    let ran = refused(&project, &["train", "recipe.toml", "--output", "file/run"]);
    assert!(ran.stderr.contains("file/run") && ran.stderr.contains("cause: "), "{}", ran.stderr);
}

#[test]
fn a_run_that_breaks_down_exits_with_1() {
    let project = Project::new();
    let ran = project.run(&["train", "recipe.toml", "--set", "train.learning_rate=1e38"]).expect(1);
    assert!(ran.stderr.contains("in epoch 1, batch"), "{}", ran.stderr);
    assert!(!project.path("runs/recipe/student.safetensors").exists());
}
