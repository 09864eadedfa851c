//! `[plan]`: what is said of plans that cannot be.

use super::messages::{Case, assert_messages, problems};
use super::{FULL, METHODS, entry, load};
use crate::{MethodSpec, PlanKind};

/// A change to the end of [`FULL`].
const END: &str = "epochs = 24\n";

#[test]
fn messages() {
    let case = |edits, want| Case { edits, sets: &[], want };
    assert_messages(
        &[
            case(
                &[(END, "[plan]\ngenerations = 4\n")],
                &[[
                    "`plan.kind` is missing",
                    "recipes/x.toml:26, plan.kind",
                    "add `kind = …` to `[plan]`: `born-again`: each student is the teacher of the \
                     next one, of the same network; `assistants`: networks between teachers and \
                     student, from large to small; `mutual`: the student and its peers learn \
                     together, without teachers",
                ]],
            ),
            case(
                &[(END, "[plan]\nkind = \"bornagain\"\n")],
                &[[
                    "`plan.kind` is `bornagain`, which is not known",
                    "recipes/x.toml:27, plan.kind",
                    "did you mean `born-again`?",
                ]],
            ),
            case(
                &[(END, "[plan]\nkind = \"born-again\"\ngenerations = 1\nstages = 2\n")],
                &[
                    [
                        "`plan.generations` is 1, but must be from 2 to 100",
                        "recipes/x.toml:28, plan.generations",
                        "give a value that is from 2 to 100, or leave it out for the default \
                         (born-again paper: BAN-3)",
                    ],
                    [
                        "unknown key `stages` in `[plan]`",
                        "recipes/x.toml:29, plan.stages",
                        "known here: `kind`, `generations`, `networks`",
                    ],
                ],
            ),
            case(
                &[(END, "[plan]\nkind = \"born-again\"\nnetworks = [\"resnet8\"]\n")],
                &[[
                    "`plan.networks` has no effect with `kind = \"born-again\"`",
                    "recipes/x.toml:28, plan.networks",
                    "remove it: every generation has the network of `[student]`",
                ]],
            ),
            case(
                &[(END, "[plan]\nkind = \"assistants\"\n")],
                &[[
                    "`kind = \"assistants\"` needs `plan.networks`",
                    "recipes/x.toml:26, plan.networks",
                    "add `networks = […]` to `[plan]`, from large to small; `faculty networks` \
                     lists all",
                ]],
            ),
            case(
                &[(END, "[plan]\nkind = \"assistants\"\nnetworks = [14]\n")],
                &[[
                    "`plan.networks` must be a list of texts, found the list `[14]`",
                    "recipes/x.toml:28, plan.networks",
                    "give a list of texts, or leave it out for the default (none, as for born-again)",
                ]],
            ),
            case(
                &[
                    (END, "[plan]\nkind = \"born-again\"\n[cache]\n"),
                    ("[data]", "[data]\nviews = 2"),
                ],
                &[[
                    "`[cache]` does not go with `[plan]`: each student has teachers of its own",
                    "recipes/x.toml:29, cache",
                    "remove it; with `data.views` what a teacher said of a view is kept in memory",
                ]],
            ),
            case(
                &[
                    (END, "[plan]\nkind = \"mutual\"\nnetworks = [\"resnet8\"]\n"),
                    ("\nbeta = 10", ""),
                ],
                &[
                    [
                        "`kind = \"mutual\"` has no teachers, found 2",
                        "recipes/x.toml:11, teachers",
                        "drop `[[teachers]]`, or choose another `plan.kind`",
                    ],
                    [
                        "`kind = \"mutual\"` learns from labels and peers, not by method `ca-mkd`",
                        "recipes/x.toml:22, method.name",
                        "set `method.name = \"ce\"`",
                    ],
                ],
            ),
            case(
                &[
                    (END, "[plan]\nkind = \"born-again\"\n"),
                    ("name = \"ca-mkd\"\nbeta = 10", "name = \"ce\""),
                ],
                &[[
                    "method `ce` does not learn from teachers, and with a `[plan]` each student \
                     learns from the one before it",
                    "recipes/x.toml:22, method.name",
                    "choose another method: `kd`, `ca-mkd`",
                ]],
            ),
            case(
                &[
                    (END, "[plan]\nkind = \"born-again\"\n"),
                    ("name = \"ca-mkd\"\nbeta = 10", "name = \"kd\""),
                ],
                &[[
                    "method `kd` takes at most 1 teacher, found 2",
                    "recipes/x.toml:11, teachers",
                    "drop some, or choose another method: `ca-mkd`",
                ]],
            ),
        ],
        problems,
    );
}

const WITHOUT_TEACHERS: &str = "data.path = 'd'\nstudent.network = 'n'\nmethod.name = 'kd'\n";

#[test]
fn only_born_again_generations_may_begin_without_teachers() {
    let born_again = format!("{WITHOUT_TEACHERS}plan.kind = 'born-again'");
    let plan = load(&born_again, &["plan.generations=5"]).unwrap().recipe.plan.unwrap();
    assert_eq!((plan.kind, plan.generations), (PlanKind::BornAgain, 5));
    let assistants = format!("{WITHOUT_TEACHERS}plan = {{kind = 'assistants', networks = ['m']}}");
    let found = problems(&assistants, &[]);
    assert_eq!(found[0].what, "method `kd` needs at least 1 teacher, found 0");
}

#[test]
fn a_method_of_several_teachers_cannot_learn_from_one_student() {
    let recipe = load(&format!("{FULL}[plan]\nkind = 'born-again'"), &[]).unwrap().recipe;
    let several = |own: &MethodSpec| MethodSpec { min_teachers: 2, ..*own };
    let methods: Vec<MethodSpec> =
        METHODS.iter().map(|own| if own.name == "ca-mkd" { several(own) } else { *own }).collect();
    let error = recipe.check(&methods).unwrap_err();
    assert!(error.problems[0].what.contains("needs at least 2 teachers, and with a `[plan]`"));
    assert_eq!(error.problems[0].hint, "choose another method: `kd`");
}

#[test]
fn a_plan_reads_as_itself_and_is_explained() {
    let text = format!("{FULL}[plan]\nkind = 'assistants'\nnetworks = ['resnet20', 'resnet14']");
    let loaded = load(&text, &["plan.generations=7"]).unwrap();
    let again = load(&loaded.recipe.to_toml().unwrap(), &[]).unwrap();
    assert_eq!(again.recipe, loaded.recipe);
    assert_eq!(entry(&loaded, "plan.networks").value_text(), "[\"resnet20\", \"resnet14\"]");
    assert_eq!(entry(&loaded, "plan.kind").origin.to_string(), "recipes/x.toml:28");
    let warned: Vec<&str> = loaded.warnings.iter().map(|own| own.key.as_str()).collect();
    assert_eq!(warned, ["plan.generations"]);
    assert!(!load(FULL, &[]).unwrap().explain().iter().any(|own| own.key.starts_with("plan")));
}
