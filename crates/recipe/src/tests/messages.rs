//! What is said of recipes that cannot be read: what, where, hint.

use super::{FULL, load};
use crate::Problem;

/// A change to [`FULL`], and the problems that it makes.
pub(super) struct Case {
    pub(super) edits: &'static [(&'static str, &'static str)],
    pub(super) sets: &'static [&'static str],
    /// What, where and hint of each.
    pub(super) want: &'static [[&'static str; 3]],
}

pub(super) fn assert_messages(cases: &[Case], read: fn(&str, &[&str]) -> Vec<Problem>) {
    let mut wrong = Vec::new();
    for Case { edits, sets, want } in cases {
        let text = edits.iter().fold(FULL.to_owned(), |text, (from, to)| {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text.replace(from, to)
        });
        let got = read(&text, sets);
        let got: Vec<[String; 3]> =
            got.into_iter().map(|p| [p.what.clone(), p.place(), p.hint]).collect();
        if got != *want {
            wrong.push(format!("{edits:?} {sets:?}\nwant: {want:#?}\ngot: {got:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub(super) fn problems(text: &str, sets: &[&str]) -> Vec<Problem> {
    load(text, sets).map_or_else(|error| error.problems, |_| Vec::new())
}

#[test]
fn unknown_keys() {
    let case = |to, want| Case { edits: &[], sets: to, want };
    let _ = case;
    assert_messages(
        &[
            Case {
                edits: &[("epochs = 24", "epoch = 24")],
                sets: &[],
                want: &[[
                    "unknown key `epoch` in `[train]`",
                    "recipes/x.toml:26, train.epoch",
                    "did you mean `epochs`?",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "lr = 0.1")],
                sets: &[],
                want: &[[
                    "unknown key `lr` in `[train]`",
                    "recipes/x.toml:26, train.lr",
                    "did you mean `learning_rate`?",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "Batch-Size = 1")],
                sets: &[],
                want: &[[
                    "unknown key `Batch-Size` in `[train]`",
                    "recipes/x.toml:26, train.Batch-Size",
                    "did you mean `batch_size`?",
                ]],
            },
            Case {
                edits: &[("seed = 7", "epochs = 7")],
                sets: &[],
                want: &[[
                    "unknown key `epochs` in the top level",
                    "recipes/x.toml:1, epochs",
                    "`epochs` belongs to `[train]`",
                ]],
            },
            Case {
                edits: &[("beta = 10", "alpha = 10")],
                sets: &[],
                want: &[[
                    "unknown key `alpha` in `[method]`",
                    "recipes/x.toml:23, method.alpha",
                    "`alpha` belongs to method `kd`",
                ]],
            },
            Case {
                edits: &[("beta = 10", "temprature = 10")],
                sets: &[],
                want: &[[
                    "unknown key `temprature` in `[method]`",
                    "recipes/x.toml:23, method.temprature",
                    "did you mean `temperature`?",
                ]],
            },
            Case {
                edits: &[("[student]", "[student]\n\"a\\nb\" = 1")],
                sets: &[],
                want: &[[
                    "unknown key `a\\nb` in `[student]`",
                    "recipes/x.toml:9, student.a\\nb",
                    "known here: `network`, `onnx`, `file`, `fresh`, `weights`, `weights_key`, `layers`, `from_layers`, `width`, \
                     `heads`, `feed_forward`, `pooling`, `dropout`, `tokenizer`, `max_tokens`, \
                     `freeze`, `classifier_learning_rate_factor`",
                ]],
            },
            Case {
                edits: &[("[data]", "[dta]")],
                sets: &[],
                want: &[[
                    "unknown key `dta` in the top level",
                    "recipes/x.toml:3, dta",
                    "did you mean `data`?",
                ]],
            },
            Case {
                edits: &[],
                sets: &["teachers.0.onxx=a"],
                want: &[[
                    "unknown key `onxx` in `[[teachers]]`",
                    "--set teachers.0.onxx=a, teachers[0].onxx",
                    "did you mean `onnx`?",
                ]],
            },
            Case {
                edits: &[],
                sets: &["train.epochs.x=1"],
                want: &[[
                    "`train.epochs` must be a whole number, found a table",
                    "--set train.epochs.x=1, train.epochs",
                    "give a whole number, or leave it out for the default (CA-MKD paper)",
                ]],
            },
        ],
        problems,
    );
}

#[test]
fn wrong_types() {
    assert_messages(
        &[
            Case {
                edits: &[("epochs = 24", "epochs = \"many\"")],
                sets: &[],
                want: &[[
                    "`train.epochs` must be a whole number, found the text `many`",
                    "recipes/x.toml:26, train.epochs",
                    "give a whole number, or leave it out for the default (CA-MKD paper)",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "epochs = 24.5")],
                sets: &[],
                want: &[[
                    "`train.epochs` must be a whole number, found `24.5`",
                    "recipes/x.toml:26, train.epochs",
                    "give a whole number, or leave it out for the default (CA-MKD paper)",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "nesterov = 1")],
                sets: &[],
                want: &[[
                    "`train.nesterov` must be `true` or `false`, found `1`",
                    "recipes/x.toml:26, train.nesterov",
                    "give `true` or `false`, or leave it out for the default (CA-MKD paper)",
                ]],
            },
            Case {
                edits: &[("seed = 7", "name = 7")],
                sets: &[],
                want: &[[
                    "`name` must be text in quotes, found `7`",
                    "recipes/x.toml:1, name",
                    "give text in quotes, or leave it out for the default (no title)",
                ]],
            },
            Case {
                edits: &[("mean = [0.5071, 0.4867, 0.4408]", "mean = [1, \"a\"]")],
                sets: &[],
                want: &[[
                    "`data.mean` must be a list of numbers, found the list `[1, \"a\"]`",
                    "recipes/x.toml:5, data.mean",
                    "give a list of numbers, or leave it out for the default (measured on the training split)",
                ]],
            },
            Case {
                edits: &[("path = \"cifar100\"", "path = {a = 1}")],
                sets: &[],
                want: &[[
                    "`data.path` must be a path in quotes, found a table",
                    "recipes/x.toml:4, data.path",
                    "give a path in quotes",
                ]],
            },
            Case {
                edits: &[("[student]\nnetwork", "[[student]]\nnetwork")],
                sets: &[],
                want: &[[
                    "`student` must be a table, found a list of tables",
                    "recipes/x.toml:8, student",
                    "write `[student]`, then its keys below",
                ]],
            },
            Case {
                edits: &[("seed = 7", "student = 7"), ("[student]\nnetwork = \"resnet8x4\"", "")],
                sets: &[],
                want: &[[
                    "`student` must be a table, found `7`",
                    "recipes/x.toml:1, student",
                    "write `[student]`, then its keys below",
                ]],
            },
            Case {
                edits: &[("beta = 10", "warmup_epochs = true")],
                sets: &[],
                want: &[[
                    "`method.warmup_epochs` must be a whole number, found `true`",
                    "recipes/x.toml:23, method.warmup_epochs",
                    "give a whole number, or leave it out for the default (released code)",
                ]],
            },
            Case {
                edits: &[("epochs = 24", "betas = 2026-11-24")],
                sets: &[],
                want: &[[
                    "`train.betas` must be a list of two numbers, found the date `2026-11-24`",
                    "recipes/x.toml:26, train.betas",
                    "give a list of two numbers, or leave it out for the default (PyTorch)",
                ]],
            },
            Case {
                edits: &[],
                sets: &["teachers=3"],
                want: &[[
                    "`teachers` must be a list of tables",
                    "--set teachers=3, teachers",
                    "write `[[teachers]]`, in double brackets, above each one",
                ]],
            },
            Case {
                edits: &[],
                sets: &["train.epochs=many"],
                want: &[[
                    "`train.epochs` must be a whole number, found the text `many`",
                    "--set train.epochs=many, train.epochs",
                    "give a whole number, or leave it out for the default (CA-MKD paper)",
                ]],
            },
        ],
        problems,
    );
}

#[test]
fn missing_keys() {
    assert_messages(
        &[
            Case {
                edits: &[("network = \"resnet8x4\"", "")],
                sets: &[],
                want: &[[
                    "`student.network` is missing",
                    "recipes/x.toml:8, student.network",
                    "add `network = …` to `[student]`: name of the network, one of `faculty networks`",
                ]],
            },
            Case {
                edits: &[("[student]\nnetwork = \"resnet8x4\"", "")],
                sets: &[],
                want: &[[
                    "`student.network` is missing",
                    "recipes/x.toml, student.network",
                    "add `network = …` to `[student]`: name of the network, one of `faculty networks`",
                ]],
            },
            Case {
                edits: &[("weights = \"../w/good.pth\"", "")],
                sets: &[],
                want: &[[
                    "`teachers[0]` has `network` but no `weights`",
                    "recipes/x.toml:11, teachers[0].weights",
                    "add `weights = …` to `[[teachers]]`: a network needs both",
                ]],
            },
            Case {
                edits: &[("network = \"resnet32x4\"\nweights = \"../w/good.pth\"", "")],
                sets: &[],
                want: &[[
                    "`teachers[0]` says nothing about where its outputs come from",
                    "recipes/x.toml:11, teachers[0]",
                    "give `network` and `weights`, or `onnx`, or `logits`",
                ]],
            },
            Case {
                edits: &[
                    ("network = \"resnet8x4\"", "network = \"resnet8x4\"\nweights_key = \"ema\""),
                    (
                        "network = \"resnet32x4\"\nweights = \"../w/good.pth\"",
                        "onnx = \"a.onnx\"\nweights_key = \"ema\"",
                    ),
                ],
                sets: &[],
                want: &[
                    [
                        "`student.weights_key` has no effect here: it belongs to `weights`",
                        "recipes/x.toml:10, student.weights_key",
                        "remove it, or add `weights = …` to `[student]`",
                    ],
                    [
                        "`teachers[0].weights_key` has no effect here: it belongs to `weights`",
                        "recipes/x.toml:15, teachers[0].weights_key",
                        "remove it",
                    ],
                ],
            },
            Case {
                edits: &[("weights = \"../w/good.pth\"", "onnx = \"a.onnx\"\nlogits = \"a.npy\"")],
                sets: &[],
                want: &[[
                    "`teachers[0]` has several sources: `network`, `onnx`, `logits`",
                    "recipes/x.toml:15, teachers[0].logits",
                    "keep `network` and `weights`, or `onnx`, or `logits`; a teacher has one source",
                ]],
            },
            Case {
                edits: &[(
                    "network = \"resnet32x4\"\nweights = \"../w/good.pth\"",
                    "logits = \"a.npy\"\nmap = \"m\"\ninput_size = [8, 8]",
                )],
                sets: &[],
                want: &[
                    [
                        "`teachers[0].map` has no effect here: it belongs to `onnx`",
                        "recipes/x.toml:14, teachers[0].map",
                        "remove it",
                    ],
                    [
                        "`teachers[0].input_size` has no effect here: it says nothing about a table",
                        "recipes/x.toml:15, teachers[0].input_size",
                        "remove it",
                    ],
                ],
            },
            Case {
                edits: &[(
                    "weights = \"../w/good.pth\"",
                    "weights = \"../w/good.pth\"\nclasses = 3",
                )],
                sets: &[],
                want: &[[
                    "`teachers[0].classes` must be a list of names, a table of names, or a path in quotes, found `3`",
                    "recipes/x.toml:15, teachers[0].classes",
                    "give a list of names, a table of names, or a path in quotes, or leave it out for the default (the names in its file, else the data's order)",
                ]],
            },
            Case {
                edits: &[("name = \"ca-mkd\"", "")],
                sets: &[],
                want: &[[
                    "`method.name` is missing",
                    "recipes/x.toml:21, method.name",
                    "add `name = …` to `[method]`: name of the method, one of `faculty methods`",
                ]],
            },
        ],
        problems,
    );
}

#[test]
fn syntax() {
    assert_messages(
        &[
            Case {
                edits: &[("seed = 7", "seed = ")],
                sets: &[],
                want: &[[
                    "not valid TOML: string values must be quoted, expected literal string",
                    "recipes/x.toml:1:8",
                    "write `key = value` lines under `[section]` lines, text in quotes",
                ]],
            },
            Case {
                edits: &[("seed = 7", "name = é\nseed == 7")],
                sets: &[],
                want: &[
                    [
                        "not valid TOML: string values must be quoted, expected literal string",
                        "recipes/x.toml:1:8",
                        "write `key = value` lines under `[section]` lines, text in quotes",
                    ],
                    [
                        "not valid TOML: extra `=`, expected nothing",
                        "recipes/x.toml:2:7",
                        "write `key = value` lines under `[section]` lines, text in quotes",
                    ],
                ],
            },
            Case {
                edits: &[("epochs = 24", "epochs = 24\nepochs = 25")],
                sets: &[],
                want: &[[
                    "not valid TOML: duplicate key",
                    "recipes/x.toml:27:1",
                    "give each key and each `[section]` once; a list of tables is `[[section]]`",
                ]],
            },
            Case {
                edits: &[("[student]", "[data]")],
                sets: &[],
                want: &[[
                    "not valid TOML: duplicate key",
                    "recipes/x.toml:8:2",
                    "give each key and each `[section]` once; a list of tables is `[[section]]`",
                ]],
            },
            Case {
                edits: &[("[student]", "[student")],
                sets: &[],
                want: &[
                    [
                        "not valid TOML: unclosed table, expected `]`",
                        "recipes/x.toml:8:9",
                        "write `key = value` lines under `[section]` lines, text in quotes",
                    ],
                    [
                        "not valid TOML: duplicate key",
                        "recipes/x.toml:16:3",
                        "give each key and each `[section]` once; a list of tables is `[[section]]`",
                    ],
                ],
            },
            Case {
                edits: &[("\"resnet8x4\"", "\"resnet8x4")],
                sets: &[],
                want: &[[
                    "not valid TOML: invalid basic string, expected `\"`",
                    "recipes/x.toml:9:21",
                    "write `key = value` lines under `[section]` lines, text in quotes",
                ]],
            },
        ],
        problems,
    );
}

#[test]
fn an_empty_recipe() {
    for text in ["", "# nothing\n", "\u{feff}\n"] {
        let problems = problems(text, &[]);
        assert_eq!(problems.len(), 1);
        assert_eq!(
            problems[0].to_string(),
            "the recipe is empty\n  where: recipes/x.toml\n  \
             hint: give at least `data.path`, `student.network`, `method.name`"
        );
    }
}
