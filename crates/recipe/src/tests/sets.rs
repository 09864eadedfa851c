//! `--set key.path=value`.

use super::messages::{Case, assert_messages, problems};
use super::{FULL, load};

#[test]
fn sets_name_teachers_by_number_or_name() {
    for set in ["teachers.1.mean=[1]", "teachers[1].mean = [1]", "teachers.wrn40.2.mean=[1.0]"] {
        let loaded = load(FULL, &[set, "teachers.1.std=[1]"]).unwrap();
        assert_eq!(loaded.recipe.teachers[1].mean, Some(vec![1.0]), "{set}");
        assert_eq!(loaded.recipe.teachers[0].mean, None, "{set}");
    }
    let none = load(FULL, &["teachers=[]", "method={name=\"ce\"}", "method.name=ce"]);
    // The file's `beta` is still there: tables are merged.
    assert_eq!(none.unwrap_err().problems[0].key, "method.beta");
}

#[test]
fn set_values_are_toml_or_bare_words() {
    let text = |value: &str| load(FULL, &[&format!("name={value}")]).unwrap().recipe.name.unwrap();
    for value in ["plain", "two words", "2026", "2026-11-24", "true", "0x1f", "a=b", "a#b", "1#b"] {
        assert_eq!(text(value), value);
    }
    assert_eq!(text(&"9".repeat(70)), "9".repeat(70));
    assert_eq!(text("\"in quotes\""), "in quotes");
    assert_eq!(text(" spaces around "), "spaces around");
    assert_eq!(text("1\nseed = 3"), "1\nseed = 3");
    assert_eq!(load(FULL, &["train.learning_rate=1"]).unwrap().recipe.train.learning_rate, 1.0);
    assert_eq!(load(FULL, &["data.resize=[32, 48]"]).unwrap().recipe.data.resize, Some([32, 48]));
    let both = load(FULL, &["train={epochs=3, batch_size=2}", "train.epochs=4"]).unwrap();
    assert_eq!((both.recipe.train.epochs, both.recipe.train.batch_size), (4, 2));
}

#[test]
fn says_what_is_wrong_with_an_argument() {
    assert_messages(
        &[
            Case {
                edits: &[],
                sets: &["train.epochs"],
                want: &[[
                    "`--set` without `=`",
                    "--set train.epochs",
                    "write `--set key.path=value`, for example `--set train.epochs=10`",
                ]],
            },
            Case {
                edits: &[],
                sets: &["=3"],
                want: &[[
                    "`` is no key path",
                    "--set =3",
                    "name the section and the key, for example `train.epochs`",
                ]],
            },
            Case {
                edits: &[],
                sets: &["train..epochs=3"],
                want: &[[
                    "`train..epochs` is no key path",
                    "--set train..epochs=3",
                    "name the section and the key, for example `train.epochs`",
                ]],
            },
            Case {
                edits: &[],
                sets: &["a.b.c.d.e.f.g.h.i=3"],
                want: &[[
                    "`a.b.c.d.e.f.g.h.i` is no key path",
                    "--set a.b.c.d.e.f.g.h.i=3",
                    "name the section and the key, for example `train.epochs`",
                ]],
            },
            Case {
                edits: &[],
                sets: &["train.betas=[1"],
                want: &[[
                    "`[1` is not a TOML value",
                    "--set train.betas=[1",
                    "close each bracket and quote, and quote the whole for the shell",
                ]],
            },
            Case {
                edits: &[],
                sets: &["teachers.god.weights=x"],
                want: &[[
                    "nothing in the list is named `god`",
                    "--set teachers.god.weights=x",
                    "did you mean `good`?",
                ]],
            },
            Case {
                edits: &[],
                sets: &["teachers.2.weights=x"],
                want: &[[
                    "nothing in the list is named `2`",
                    "--set teachers.2.weights=x",
                    "there are `good`, `wrn40.2`, or use a number below 2",
                ]],
            },
            Case {
                edits: &[],
                sets: &["trian.epochs=3"],
                want: &[[
                    "unknown key `trian` in the top level",
                    "--set trian.epochs=3, trian",
                    "did you mean `train`?",
                ]],
            },
        ],
        problems,
    );
}
