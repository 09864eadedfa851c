//! What is said of recipes that make no sense: what, where, hint.

use super::messages::{Case, assert_messages, problems};
use super::{FULL, METHODS, load};
use crate::Problem;

fn warnings(text: &str, sets: &[&str]) -> Vec<Problem> {
    load(text, sets).unwrap().warnings
}

#[test]
fn values_out_of_range() {
    assert_messages(
        &[
            Case {
                edits: &[("epochs = 24", "epochs = 0")],
                sets: &[],
                want: &[[
                    "`train.epochs` is 0, but must be from 1 to 1000000",
                    "recipes/x.toml:26, train.epochs",
                    "give a value that is from 1 to 1000000, or leave it out for the default (CA-MKD paper)",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "epochs = -1")],
                sets: &[],
                want: &[[
                    "`train.epochs` is -1, but must be from 1 to 1000000",
                    "recipes/x.toml:26, train.epochs",
                    "give a value that is from 1 to 1000000, or leave it out for the default (CA-MKD paper)",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "learning_rate = nan")],
                sets: &[],
                want: &[[
                    "`train.learning_rate` is nan, but must be above 0",
                    "recipes/x.toml:26, train.learning_rate",
                    "give a value that is above 0, or leave it out for the default (CA-MKD paper)",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "weight_decay = 1e999")],
                sets: &[],
                want: &[[
                    "`train.weight_decay` is inf, but must be at least 0",
                    "recipes/x.toml:26, train.weight_decay",
                    "give a value that is at least 0, or leave it out for the default (CA-MKD paper)",
                ]],
            },
            Case {
                edits: &[("seed = 7", "seed = 99999999999999999999")],
                sets: &[],
                want: &[[
                    "`seed` is 100000000000000000000.0, but must be from 0 to 9007199254740991",
                    "recipes/x.toml:1, seed",
                    "give a value that is from 0 to 9007199254740991, or leave it out for the default (faculty's choice)",
                ]],
            },
            Case {
                edits: &[("std = [0.2675, 0.2565, 0.2761]", "std = [1, 0, 1]")],
                sets: &[],
                want: &[[
                    "`data.std` is [1.0, 0.0, 1.0], but must be above 0",
                    "recipes/x.toml:6, data.std",
                    "give a value that is above 0, or leave it out for the default (measured on the training split)",
                ]],
            },
            Case {
                edits: &[("mean = [0.5071, 0.4867, 0.4408]", "mean = [1, inf, 1]")],
                sets: &[],
                want: &[[
                    "`data.mean` is [1.0, inf, 1.0], but must be finite",
                    "recipes/x.toml:5, data.mean",
                    "give a value that is finite, or leave it out for the default (measured on the training split)",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "optimizer = \"adam\"")],
                sets: &[],
                want: &[[
                    "`train.optimizer` is `adam`, which is not known",
                    "recipes/x.toml:26, train.optimizer",
                    "did you mean `adamw`?",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "schedule = \"parabola\"")],
                sets: &[],
                want: &[[
                    "`train.schedule` is `parabola`, which is not known",
                    "recipes/x.toml:26, train.schedule",
                    "give one of `step`, `cosine`, `linear`, `one-cycle`, `constant`, or leave it out for the default (CA-MKD paper)",
                ]],
            },
            Case {
                edits: &[("beta = 10", "scale = \"offical\"")],
                sets: &[],
                want: &[[
                    "`method.scale` is `offical`, which is not known",
                    "recipes/x.toml:23, method.scale",
                    "did you mean `official`?",
                ]],
            },
            Case {
                edits: &[("\"resnet8x4\"", "\"\"")],
                sets: &[],
                want: &[[
                    "`student.network` is empty",
                    "recipes/x.toml:9, student.network",
                    "give some text: name of the network, one of `faculty networks`",
                ]],
            },
            Case {
                edits: &[],
                sets: &["data.validation=0.9"],
                want: &[[
                    "`data.validation` is 0.9, but must be at least 0 and below 0.9",
                    "--set data.validation=0.9, data.validation",
                    "give a value that is at least 0 and below 0.9, or leave it out for the default (faculty's choice)",
                ]],
            },
            Case {
                edits: &[],
                sets: &["name="],
                want: &[[
                    "`name` is empty",
                    "--set name=, name",
                    "give some text: title in reports, or leave it out for the default (no title)",
                ]],
            },
        ],
        problems,
    );
}

#[test]
fn contradictions() {
    assert_messages(
        &[
            Case {
                edits: &[("name = \"wrn40.2\"", "name = \"good\"")],
                sets: &[],
                want: &[[
                    "teachers[0] and teachers[1] are both named `good`",
                    "recipes/x.toml:17, teachers[1].name",
                    "give each teacher a name of its own",
                ]],
            },
            Case {
                edits: &[("name = \"wrn40.2\"", "name = \"a/b\"")],
                sets: &[],
                want: &[[
                    "teacher name `a/b` cannot be a file name",
                    "recipes/x.toml:17, teachers[1].name",
                    "use letters, digits, `-`, `_`, `+` and `.`, and begin with another one than `.`",
                ]],
            },
            Case {
                edits: &[("name = \"ca-mkd\"\nbeta = 10", "name = \"kd\"")],
                sets: &[],
                want: &[[
                    "method `kd` takes at most 1 teacher, found 2",
                    "recipes/x.toml:11, teachers",
                    "drop some, or choose another method: `ca-mkd`",
                ]],
            },
            Case {
                edits: &[
                    ("seed = 7", "teachers = []"),
                    (
                        "[[teachers]]\nname = \"good\"\nnetwork = \"resnet32x4\"\nweights = \"../w/good.pth\"\n",
                        "",
                    ),
                    (
                        "[[teachers]]\nname = \"wrn40.2\"\nnetwork = \"wrn_40_2\"\nweights = \"/w/wrn.safetensors\"\n",
                        "",
                    ),
                ],
                sets: &[],
                want: &[[
                    "method `ca-mkd` needs at least 1 teacher, found 0",
                    "recipes/x.toml:1, teachers",
                    "add `[[teachers]]`, or choose another method: `ce`",
                ]],
            },
            Case {
                edits: &[("\"ca-mkd\"", "\"camkd\"")],
                sets: &[],
                want: &[[
                    "unknown method `camkd`",
                    "recipes/x.toml:22, method.name",
                    "did you mean `ca-mkd`?",
                ]],
            },
            Case {
                edits: &[("\"ca-mkd\"", "\"magic\"")],
                sets: &[],
                want: &[[
                    "unknown method `magic`",
                    "recipes/x.toml:22, method.name",
                    "give one of `ce`, `kd`, `ca-mkd`",
                ]],
            },
            Case {
                edits: &[("std = [0.2675, 0.2565, 0.2761]", "")],
                sets: &[],
                want: &[[
                    "`data` has a `mean` but no `std`",
                    "recipes/x.toml:5, data.mean",
                    "give both, one value a channel, or neither",
                ]],
            },
            Case {
                edits: &[("std = [0.2675, 0.2565, 0.2761]", "std = [1]")],
                sets: &[],
                want: &[[
                    "`data` has 3 values in `mean` and 1 in `std`",
                    "recipes/x.toml:6, data.std",
                    "give both, one value a channel, or neither",
                ]],
            },
            Case {
                edits: &[],
                sets: &["teachers.0.std=[1]"],
                want: &[[
                    "`teachers[0]` has a `std` but no `mean`",
                    "--set teachers.0.std=[1], teachers[0].std",
                    "give both, one value a channel, or neither",
                ]],
            },
            Case {
                edits: &[],
                sets: &["train.milestones=[3, 3]"],
                want: &[[
                    "`train.milestones` do not rise",
                    "--set train.milestones=[3, 3], train.milestones",
                    "sort them, and name each epoch once",
                ]],
            },
        ],
        problems,
    );
}

#[test]
fn all_problems_come_in_one_go_in_the_order_of_the_file() {
    assert_messages(
        &[Case {
            edits: &[
                ("epochs = 24", "epochs = 0\nwd = 1"),
                ("name = \"ca-mkd\"", "name = \"ca-mkd\"\nscale = 1"),
                ("path = \"cifar100\"", ""),
            ],
            sets: &["seed=-1", "x"],
            want: &[
                [
                    "`data.path` is missing",
                    "recipes/x.toml:3, data.path",
                    "add `path = …` to `[data]`: file or folder of the data set",
                ],
                [
                    "`method.scale` must be one of `unit`, `official`, found `1`",
                    "recipes/x.toml:23, method.scale",
                    "give one of `unit`, `official`, or leave it out for the default (ours)",
                ],
                [
                    "`train.epochs` is 0, but must be from 1 to 1000000",
                    "recipes/x.toml:27, train.epochs",
                    "give a value that is from 1 to 1000000, or leave it out for the default (CA-MKD paper)",
                ],
                [
                    "unknown key `wd` in `[train]`",
                    "recipes/x.toml:28, train.wd",
                    "did you mean `weight_decay`?",
                ],
                [
                    "`--set` without `=`",
                    "--set x",
                    "write `--set key.path=value`, for example `--set train.epochs=10`",
                ],
                [
                    "`seed` is -1, but must be from 0 to 9007199254740991",
                    "--set seed=-1, seed",
                    "give a value that is from 0 to 9007199254740991, or leave it out for the default (faculty's choice)",
                ],
            ],
        }],
        problems,
    );
}

#[test]
fn what_is_allowed_but_probably_not_meant() {
    assert_messages(
        &[
            Case {
                edits: &[("name = \"ca-mkd\"\nbeta = 10", "name = \"ce\"")],
                sets: &[],
                want: &[[
                    "method `ce` does not use the teachers",
                    "recipes/x.toml:11, teachers",
                    "fine as a baseline; else choose another `method.name`",
                ]],
            },
            Case {
                edits: &[("\"/w/wrn.safetensors\"", "\"../w/good.pth\"")],
                sets: &[],
                want: &[[
                    "teachers `good` and `wrn40.2` have the same weights",
                    "recipes/x.toml:19, teachers[1].weights",
                    "a teacher that is named twice counts twice; name another file",
                ]],
            },
            Case {
                edits: &[],
                sets: &["train.milestones=[10, 24, 30]"],
                want: &[[
                    "2 of 3 milestones are not before the last of 24 epochs",
                    "--set train.milestones=[10, 24, 30], train.milestones",
                    "leave `train.milestones` out: by default they follow `train.epochs`",
                ]],
            },
            Case {
                edits: &[],
                sets: &["train.momentum=0"],
                want: &[[
                    "`train.nesterov` has no effect without momentum",
                    "--set train.momentum=0, train.momentum",
                    "set `train.nesterov = false`, or a `train.momentum` above 0",
                ]],
            },
            Case {
                edits: &[],
                sets: &["train.warmup_epochs=24"],
                want: &[[
                    "the warm-up lasts all 24 epochs",
                    "--set train.warmup_epochs=24, train.warmup_epochs",
                    "make `train.warmup_epochs` smaller than `train.epochs`",
                ]],
            },
            Case {
                edits: &[(
                    "epochs = 24",
                    "epochs = 24\nschedule = \"cosine\"\ndecay = 0.5\nepsilon = 1e-7",
                )],
                sets: &["train.milestones=[1]"],
                want: &[
                    [
                        "`train.decay` has no effect here",
                        "recipes/x.toml:28, train.decay",
                        "it belongs to `train.schedule = \"step\"`; remove it or choose that",
                    ],
                    [
                        "`train.epsilon` has no effect here",
                        "recipes/x.toml:29, train.epsilon",
                        "it belongs to `train.optimizer = \"adamw\"`; remove it or choose that",
                    ],
                    [
                        "`train.milestones` has no effect here",
                        "--set train.milestones=[1], train.milestones",
                        "it belongs to `train.schedule = \"step\"`; remove it or choose that",
                    ],
                ],
            },
            Case {
                edits: &[],
                sets: &["train.optimizer=adamw", "train.momentum=0.5"],
                want: &[[
                    "`train.momentum` has no effect here",
                    "--set train.momentum=0.5, train.momentum",
                    "it belongs to `train.optimizer = \"sgd\"`; remove it or choose that",
                ]],
            },
            Case {
                edits: &[],
                sets: &["train.optimizer=adamw", "train.schedule=constant"],
                want: &[],
            },
        ],
        warnings,
    );
}

#[test]
fn a_warm_up_of_a_method_that_lasts_as_long_as_the_run_is_told() {
    let warnings_for = |length: &str| {
        let warnings = warnings(FULL, &[&format!("method.warmup_epochs={length}")]);
        warnings.into_iter().find(|own| own.key == "method.warmup_epochs")
    };
    let warning = warnings_for("24").unwrap();
    assert!(warning.what.starts_with("`warmup_epochs` of `ca-mkd` is 24, `train.epochs` 24 ("));
    assert_eq!(warning.hint, "lower `method.warmup_epochs`, or raise `train.epochs`");
    assert!(warnings_for("25").is_some());
    assert!(warnings_for("23").is_none() && warnings_for("0").is_none());
}

#[test]
fn a_comparison_tells_of_a_published_warm_up_that_the_recipe_shortens() {
    let warnings_for = |sets: &[&str]| -> Vec<String> {
        let recipe = load(FULL, sets).unwrap().recipe;
        let all = crate::method_warm_ups(&recipe, METHODS).into_iter();
        all.filter_map(|own| own.too_long_as_published()).collect()
    };
    let one = "train.epochs=1";
    // The published one of these tests is one epoch.
    assert_eq!(warnings_for(&["method.warmup_epochs=3"]), [""; 0]);
    let shortened = warnings_for(&["method.warmup_epochs=0", one]);
    let [what] = shortened.as_slice() else { panic!("{shortened:?}") };
    assert!(what.starts_with("`warmup_epochs` of `ca-mkd` is 0 instead of 1, `train.epochs` 1 ("));
    let [what] = &warnings_for(&["method.warmup_epochs=1", one])[..] else { panic!("one warm-up") };
    assert!(what.starts_with("`warmup_epochs` of `ca-mkd` is 1, `train.epochs` 1 ("), "{what}");
}

#[test]
fn an_error_shows_all_its_problems() {
    let error = load(FULL, &["seed=-1", "x"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`--set` without `=`\n  where: --set x\n  hint: write `--set key.path=value`, \
         for example `--set train.epochs=10`\n`seed` is -1, but must be from 0 to \
         9007199254740991\n  where: --set seed=-1, seed\n  hint: give a value that is from 0 to \
         9007199254740991, or leave it out for the default (faculty's choice)"
    );
}
