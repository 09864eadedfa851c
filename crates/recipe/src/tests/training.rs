//! What `[train]` and `[student]` take beside numbers.

use super::messages::{Case, assert_messages, problems};
use super::{FULL, METHODS, load};
use crate::{
    BestBy, ClassWeights, ColorJitter, Precision, RandAugment, Recipe, Sampling, WeightDecayExempt,
};

#[test]
fn options_read_as_themselves_and_are_off_by_default() {
    let plain = load(FULL, &[]).unwrap().recipe;
    assert_eq!((plain.train.label_smoothing, plain.train.accumulate), (0.0, 1));
    assert_eq!((&plain.train.class_weights, plain.train.ema), (&None, None));
    assert_eq!(plain.train.early_stopping, None);
    assert!(plain.student.freeze.is_empty());
    assert_eq!(plain.train.precision, Precision::F32);
    assert_eq!(plain.teachers[0].precision, Precision::F32);
    let sets = [
        "train.class_weights=balanced",
        "train.ema=0.99",
        "train.early_stopping=5",
        "train.best_by=macro-f1",
        "train.sampling=balanced",
        "train.weight_decay_exempt=norms-and-biases",
        "student.freeze=[\"conv1\"]",
        "student.classifier_learning_rate_factor=10",
        "train.precision=bf16",
        "teachers.good.precision=bf16",
    ];
    let own = load(FULL, &sets).unwrap().recipe;
    assert_eq!(own.train.class_weights, Some(ClassWeights::Balanced));
    assert_eq!((own.train.best_by, own.train.sampling), (BestBy::MacroF1, Sampling::Balanced));
    assert_eq!(own.train.weight_decay_exempt, WeightDecayExempt::NormsAndBiases);
    assert_eq!(own.student.freeze, ["conv1"]);
    assert_eq!(own.train.precision, Precision::Bf16);
    assert_eq!(own.teachers[0].precision, Precision::Bf16);
    let again = Recipe::from_str(&own.to_toml().unwrap(), "recipes/x.toml", &[], METHODS).unwrap();
    assert_eq!(again.recipe, own);
    let listed = load(FULL, &["train.class_weights=[1, 2.5]"]).unwrap().recipe;
    assert_eq!(listed.train.class_weights, Some(ClassWeights::Given(vec![1.0, 2.5])));
    let again =
        Recipe::from_str(&listed.to_toml().unwrap(), "recipes/x.toml", &[], METHODS).unwrap();
    assert_eq!(again.recipe, listed);
}

#[test]
fn options_that_cannot_be_are_refused() {
    assert_messages(
        &[
            Case {
                edits: &[("epochs = 24", "class_weights = \"even\"")],
                sets: &[],
                want: &[[
                    "`train.class_weights` must be a list of numbers, or `\"balanced\"`, found the \
                     text `even`",
                    "recipes/x.toml:26, train.class_weights",
                    "give a list of numbers, or `\"balanced\"`, or leave it out for the default (all \
                     classes count the same)",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "class_weights = [1, 0]")],
                sets: &[],
                want: &[[
                    "`train.class_weights` is [1.0, 0.0], but must be above 0",
                    "recipes/x.toml:26, train.class_weights",
                    "give a value that is above 0, or leave it out for the default (all classes count \
                     the same)",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "ema = 1.0")],
                sets: &[],
                want: &[[
                    "`train.ema` is 1.0, but must be above 0 and below 1",
                    "recipes/x.toml:26, train.ema",
                    "give a value that is above 0 and below 1, or leave it out for the default (no \
                     average)",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "early_stopping = 3")],
                sets: &["data.validation=0"],
                want: &[[
                    "early stopping needs a validation split, and `data.validation` is 0",
                    "recipes/x.toml:26, train.early_stopping",
                    "give `data.validation` a share above 0 or a split, or remove `early_stopping`",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "precision = \"bf16\"\ndevice = \"cpu-burn\"")],
                sets: &[],
                want: &[[
                    "`train.precision` is `bf16`, but on `train.device = \"cpu-burn\"` plain burn \
                     computes in f32",
                    "recipes/x.toml:26, train.precision",
                    "set `train.device` to `cpu`, or remove `precision`",
                ]],
            },
            Case {
                edits: &[(
                    "network = \"resnet32x4\"\nweights = \"../w/good.pth\"",
                    "logits = \"a.npy\"\nprecision = \"bf16\"",
                )],
                sets: &[],
                want: &[[
                    "`teachers[0].precision` has no effect here: it says nothing about a table",
                    "recipes/x.toml:14, teachers[0].precision",
                    "remove it",
                ]],
            },
        ],
        problems,
    );
}

#[test]
fn augmentation_is_off_by_default_and_a_crop_takes_the_place_of_the_other_one() {
    let plain = load(FULL, &[]).unwrap().recipe.data;
    assert_eq!((plain.random_resized_crop, plain.crop_padding), (None, 4));
    assert_eq!((&plain.color_jitter, plain.random_erasing), (&None, 0.0));
    assert_eq!((&plain.rand_augment, plain.trivial_augment), (&None, false));
    let sets = [
        "data.random_resized_crop=[0.08, 1]",
        "data.random_erasing=0.25",
        "data.color_jitter.hue=0.1",
    ];
    let own = load(FULL, &sets).unwrap().recipe;
    assert_eq!((own.data.random_resized_crop, own.data.crop_padding), (Some([0.08, 1.0]), 0));
    assert_eq!(own.data.random_erasing, 0.25);
    let jitter = ColorJitter { hue: 0.1, ..ColorJitter::default() };
    assert_eq!(own.data.color_jitter, Some(jitter));
    let again = Recipe::from_str(&own.to_toml().unwrap(), "recipes/x.toml", &[], METHODS).unwrap();
    assert_eq!(again.recipe, own);
    assert!(Recipe::keys().contains(&"data.color_jitter.saturation".to_owned()));
    let policy = load(FULL, &["data.rand_augment.magnitude=5"]).unwrap().recipe;
    let want = RandAugment { operations: 2, magnitude: 5 };
    assert_eq!(policy.data.rand_augment, Some(want));
    assert_eq!((plain.mixup, plain.cutmix, plain.mix_probability), (None, None, 1.0));
    let mixed = load(FULL, &["data.mixup=0.2", "data.mix_probability=0.5"]).unwrap().recipe.data;
    assert_eq!((mixed.mixup, mixed.cutmix, mixed.mix_probability), (Some(0.2), None, 0.5));
    assert!(load(FULL, &["data.trivial_augment=true"]).unwrap().recipe.data.trivial_augment);
}

#[test]
fn crops_that_cannot_be_are_refused() {
    const DATA: &str = "path = \"cifar100\"";
    assert_messages(
        &[
            Case {
                edits: &[(DATA, "path = \"c\"\nrandom_resized_crop = [0.5, 1]\ncrop_padding = 4")],
                sets: &[],
                want: &[[
                    "`data.crop_padding` and `data.random_resized_crop` are two crops of one view",
                    "recipes/x.toml:6, data.crop_padding",
                    "keep one of them",
                ]],
            },
            Case {
                edits: &[(DATA, "path = \"c\"\nrandom_resized_crop = [0.5, 0.4]")],
                sets: &[],
                want: &[[
                    "`data.random_resized_crop` goes from 0.5 down to 0.4",
                    "recipes/x.toml:5, data.random_resized_crop",
                    "give the smaller share of the area first",
                ]],
            },
            Case {
                edits: &[(DATA, "path = \"c\"\nrandom_resized_crop = [0, 1]")],
                sets: &[],
                want: &[[
                    "`data.random_resized_crop` is [0.0, 1.0], but must be above 0 and at most 1",
                    "recipes/x.toml:5, data.random_resized_crop",
                    "give a value that is above 0 and at most 1, or leave it out for the default (a \
                     crop from `crop_padding`)",
                ]],
            },
            Case {
                edits: &[(DATA, "path = \"c\"\ntrivial_augment = true\nrand_augment = {}")],
                sets: &[],
                want: &[[
                    "`data.trivial_augment` and `data.rand_augment` are two policies for one view",
                    "recipes/x.toml:5, data.trivial_augment",
                    "keep one of them",
                ]],
            },
            Case {
                edits: &[],
                sets: &["data.mix_probability=0.5"],
                want: &[[
                    "`data.mix_probability` has no effect here: nothing is mixed",
                    "--set data.mix_probability=0.5, data.mix_probability",
                    "add `mixup` or `cutmix`, or remove it",
                ]],
            },
            Case {
                edits: &[(
                    "network = \"resnet32x4\"\nweights = \"../w/good.pth\"",
                    "logits = \"a.npy\"",
                )],
                sets: &["data.cutmix=1.0"],
                want: &[[
                    "`teachers[0].logits` is a table of samples, and cannot say anything of two that \
                     are mixed",
                    "recipes/x.toml:13, teachers[0].logits",
                    "remove `data.mixup` and `data.cutmix`, or give this teacher as a network or ONNX \
                     file",
                ]],
            },
            Case {
                edits: &[],
                sets: &["data.rand_augment.magnitude=31"],
                want: &[[
                    "`data.rand_augment.magnitude` is 31, but must be from 0 to 30",
                    "--set data.rand_augment.magnitude=31, data.rand_augment.magnitude",
                    "give a value that is from 0 to 30, or leave it out for the default (torchvision)",
                ]],
            },
            Case {
                edits: &[],
                sets: &["data.color_jitter.brightnes=0.4"],
                want: &[[
                    "unknown key `brightnes` in `[data.color_jitter]`",
                    "--set data.color_jitter.brightnes=0.4, data.color_jitter.brightnes",
                    "did you mean `brightness`?",
                ]],
            },
        ],
        problems,
    );
}

#[test]
fn freezing_what_was_drawn_at_random_is_told() {
    let sets = ["student.freeze=[\"conv1\"]"];
    let warned = |sets: &[&str]| {
        let warnings = load(FULL, sets).unwrap().warnings;
        warnings.iter().any(|own| own.key == "student.freeze")
    };
    assert!(warned(&sets));
    assert!(!warned(&[sets[0], "student.weights=start.pth"]));
}

#[test]
fn a_student_is_named_by_its_description() {
    const NETWORK: &str = "network = \"resnet8x4\"";
    let text = FULL.replace(NETWORK, "file = \"own.toml\"");
    let student = load(&text, &[]).unwrap().recipe.student;
    let file = student.file.as_ref().unwrap();
    assert!(file.ends_with("recipes/own.toml"), "{}", file.display());
    assert_eq!((student.network, student.onnx), (file.display().to_string(), None));
    let recipe = load(&text, &[]).unwrap().recipe;
    let again = Recipe::from_str(&recipe.to_toml().unwrap(), "y.toml", &[], METHODS).unwrap();
    assert_eq!(again.recipe.student, recipe.student);
    assert_messages(
        &[
            Case {
                edits: &[(NETWORK, "network = \"resnet8x4\"\nfile = \"own.toml\"")],
                sets: &[],
                want: &[[
                    "`student` has two networks: `resnet8x4` and its `file`",
                    "recipes/x.toml:9, student.network",
                    "keep `network` or `file`",
                ]],
            },
            Case {
                edits: &[(NETWORK, "onnx = \"own.onnx\"\nfile = \"own.toml\"")],
                sets: &[],
                want: &[[
                    "`student` has two networks: its `onnx` and its `file`",
                    "recipes/x.toml:10, student.file",
                    "keep `onnx` or `file`",
                ]],
            },
            Case {
                edits: &[(NETWORK, "file = \"own.toml\"\nfresh = true")],
                sets: &[],
                want: &[[
                    "`student.fresh` has no effect here: a description has no weights",
                    "recipes/x.toml:10, student.fresh",
                    "remove it",
                ]],
            },
        ],
        problems,
    );
}
