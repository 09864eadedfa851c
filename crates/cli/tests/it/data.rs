//! Data sets as people have them, by the program.

use crate::project::Project;

/// A BMP of 8×8 pixels in one colour.
fn bmp(colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    bytes.extend((54_u32 + 192).to_le_bytes());
    for number in [0_u32, 54, 40, 8, 8, 24 << 16 | 1, 0, 192, 0, 0, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    (0..64).for_each(|_| bytes.extend(colour));
    bytes
}

/// 40 training images of two classes, 8 for validation, and test images without labels.
fn photos(project: &Project) {
    for (split, count) in [("train", 20), ("val", 4)] {
        for (class, blue) in [("cat", 20), ("dog", 200)] {
            for index in 0..count {
                let colour = [blue, index, split.len() as u8];
                project.write(&format!("photos/{split}/{class}/{index}.bmp"), bmp(colour));
            }
        }
    }
    project.write("photos/test/1.bmp", bmp([0; 3]));
    project.write("photos/train/cat/readme.txt", "cats");
}

#[test]
fn datasets_shows_splits_notes_and_what_was_skipped() {
    let project = Project::new();
    photos(&project);
    let shown = project.run(&["datasets", "photos"]).expect(0).stdout;
    for line in [
        "training: 40 images, 20 a class",
        "validation: 8 images, 4 a class",
        "test: none",
        "note: `test` is not used: its samples have no labels",
        "note: text files among the images are left out",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    project.write("photos/train/cat/cut.bmp", &bmp([1; 3])[..100]);
    let refused = project.run(&["datasets", "photos"]).expect(2).stderr;
    assert!(refused.contains("cut.bmp") && refused.contains("on_bad_image"), "{refused}");
    let json = project.run(&["datasets", "photos", "--skip-bad-images", "--json"]).expect(0).json();
    let skipped = json["dataset"]["skipped"].as_array().unwrap();
    assert!(skipped.len() == 1 && skipped[0]["reason"].as_str().unwrap().contains("cut.bmp"));
    assert_eq!(json["dataset"]["validation"]["samples"], 8);
    let usage = project.run(&["datasets", "--test", "val"]).expect(2).stderr;
    assert!(usage.contains("`faculty datasets PATH`"), "{usage}");
}

/// Nine training texts of two classes with a duplicate and one without a label, four for testing.
fn reviews(project: &Project) {
    let train = "text,label\ngood film,pos\nbad film,neg\ngood film,pos\nfine,pos\nawful,neg\n\
                 \"long, and\nover lines\",neg\nso so,pos\nno,neg\nnobody knows,\n";
    project.write("reviews/train.csv", train);
    project.write("reviews/test.csv", "text,label\nfine,pos\npoor,neg\ngreat,pos\nweak,neg\n");
}

#[test]
fn datasets_shows_texts_with_lengths_duplicates_and_examples() {
    let project = Project::new();
    reviews(&project);
    let shown = project.run(&["datasets", "reviews"]).expect(0).stdout;
    for line in [
        "reviews (text-csv): texts",
        "training: 8 texts, 4 a class",
        "test: 4 texts, 2 a class",
        "2 classes: neg, pos",
        "words of a training text: 2 (median), 4 (nine of ten have no more), 4 (longest)",
        "without a label: 1 training texts",
        "example of `pos`: good film",
        "note: 1 training texts are copies of others with the same label and are kept",
        "note: 1 test texts are among the training texts",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let fewer = project.run(&["datasets", "reviews", "--drop-duplicate-texts"]).expect(0).stdout;
    assert!(fewer.contains("training: 6 texts"), "{fewer}");
    let json = project.run(&["datasets", "reviews", "--json"]).expect(0).json();
    assert_eq!(json["dataset"]["words"]["most"], 4);
    let ids = project.run(&["datasets", "reviews", "--ids"]).expect(0).stdout;
    assert_eq!(ids.lines().count(), 1 + 8 + 4);
}

#[test]
fn texts_where_images_are_needed_are_an_error_and_nothing_is_written() {
    let project = Project::new();
    reviews(&project);
    project.train("trained", &["train.epochs=1"]);
    let recipe = std::fs::read_to_string(project.path("recipe.toml")).unwrap();
    project.write("texts.toml", recipe.replace("\"bands\"", "\"reviews\""));
    let before = project.files();
    let weights = "trained/student.safetensors";
    // The recipe's student is a network of images.
    for command in [
        &["train", "texts.toml", "--output", "run"][..],
        &["distill", "texts.toml", "--output", "run"],
        &["compare", "texts.toml", "--methods", "ce,kd", "--output", "runs"],
        &["teachers", "texts.toml"],
        &["bench-model", "texts.toml"],
        &["init", "reviews", "--output", "new.toml"],
        &["evaluate", "--weights", weights, "--data", "reviews"],
    ] {
        let ran = project.run(command);
        assert_eq!(ran.code, 2, "{command:?}\n{}", ran.stderr);
        assert!(ran.stderr.contains("hint:"), "{command:?}: {}", ran.stderr);
    }
    assert_eq!(project.files(), before);
}

#[test]
fn the_users_validation_split_chooses_the_epoch_and_gives_no_test_numbers() {
    let project = Project::new();
    photos(&project);
    project.run(&["init", "photos", "--output", "mine.toml", "--student", "resnet8x0.5"]).expect(0);
    let sets = ["--set", "train.epochs=1", "--set", "train.batch_size=8"];
    let ran =
        project.run(&[&["train", "mine.toml", "--output", "run"], &sets[..]].concat()).expect(0);
    assert!(ran.stderr.contains("40 training, 8 validation, 0 test samples"), "{}", ran.stderr);
    assert!(ran.stderr.contains("note: data: there is no test split"), "{}", ran.stderr);
    let quality =
        project.run(&["evaluate", "run", "--split", "validation", "--json"]).expect(0).json();
    assert_eq!(quality["samples"], 8);
    let refused = project.run(&["evaluate", "run"]).expect(2).stderr;
    assert!(
        refused.contains("no test split") && refused.contains("--split validation"),
        "{refused}"
    );
}

#[test]
fn init_writes_how_the_data_is_read() {
    let project = Project::new();
    photos(&project);
    let options = ["--test", "val", "--classes", "dog,cat", "--resize", "4,4", "--skip-bad-images"];
    project.run(&[&["init", "photos", "--output", "mine.toml"], &options[..]].concat()).expect(0);
    let recipe = std::fs::read_to_string(project.path("mine.toml")).unwrap();
    for key in [
        "test = \"val\"",
        "classes = [\"dog\", \"cat\"]",
        "resize = [4, 4]",
        "on_bad_image = \"skip\"",
    ] {
        assert!(recipe.contains(key), "{key}: {recipe}");
    }
    let explained = project.run(&["explain", "mine.toml"]).expect(0).stdout;
    assert!(explained.contains("data.image_column"), "{explained}");
}

/// Each key that a hint about data names must be one of `[data]`, with a value that it takes.
#[test]
fn every_key_of_data_that_hints_name_can_be_set() {
    let project = Project::new();
    for set in [
        "data.train=train",
        "data.validation=val",
        "data.test=none",
        "data.classes=[\"a\", \"b\"]",
        "data.first_label=1",
        "data.label_column=label",
        "data.image_column=image",
        "data.on_bad_image=skip",
        "data.follow_links=true",
        "data.resize=[8, 8]",
        "data.format=cifar-python",
        "data.format=list",
    ] {
        project.run(&["explain", "recipe.toml", "--set", set]).expect(0);
    }
}
