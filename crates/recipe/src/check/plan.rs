//! `[plan]`: whether its keys, the method and the teachers go together.

use super::{Problems, quoted};
use crate::schema::{Plan, PlanKind, Recipe};
use crate::spec::MethodSpec;

/// Everything but the method.
pub(super) fn problems(recipe: &Recipe, problems: &mut Problems) {
    let Some(plan) = &recipe.plan else { return };
    if recipe.cache.is_some() {
        problems.add(
            "cache",
            "`[cache]` does not go with `[plan]`: each student has teachers of its own".to_owned(),
            "remove it; with `data.views` what a teacher said of a view is kept in memory"
                .to_owned(),
        );
    }
    // Neither a kind nor networks that could not be read say anything.
    if ["plan.kind", "plan.networks"].iter().any(|key| problems.knows(key)) {
        return;
    }
    let kind = plan.kind.name();
    match (plan.kind, plan.networks.is_empty()) {
        (PlanKind::BornAgain, false) => problems.add(
            "plan.networks",
            format!("`plan.networks` has no effect with `kind = \"{kind}\"`"),
            "remove it: every generation has the network of `[student]`".to_owned(),
        ),
        (PlanKind::Assistants, true) => problems.add(
            "plan.networks",
            format!("`kind = \"{kind}\"` needs `plan.networks`"),
            "add `networks = […]` to `[plan]`, from large to small; `faculty networks` lists all"
                .to_owned(),
        ),
        (PlanKind::Mutual, true) => problems.add(
            "plan.networks",
            format!("`kind = \"{kind}\"` needs `plan.networks`"),
            "add `networks = […]` to `[plan]`: the peers beside the student".to_owned(),
        ),
        _ => {}
    }
}

/// Whether the method can do what the plan asks of it. Gives back whether the number of teachers
/// is still to be compared with what the method takes.
pub(super) fn method(
    recipe: &Recipe,
    spec: &MethodSpec,
    methods: &[MethodSpec],
    problems: &mut Problems,
) -> bool {
    let Some(plan) = recipe.plan.as_ref().filter(|_| !problems.knows("plan.kind")) else {
        return true;
    };
    if plan.kind == PlanKind::Mutual {
        mutual(plan, recipe.teachers.len(), spec, methods, problems);
        return false;
    }
    let names = |fits: fn(&MethodSpec) -> bool| -> Vec<&str> {
        methods.iter().filter(|own| fits(own)).map(|own| own.name).collect()
    };
    let of_one = names(|own| own.max_teachers != Some(0) && own.takes(1));
    let unfit = if spec.max_teachers == Some(0) {
        "does not learn from teachers".to_owned()
    } else if spec.takes(1) {
        return plan.kind != PlanKind::BornAgain || !recipe.teachers.is_empty();
    } else {
        format!("needs at least {} teachers", spec.min_teachers)
    };
    problems.add(
        "method.name",
        format!(
            "method `{}` {unfit}, and with a `[plan]` each student learns from the one before it",
            spec.name
        ),
        format!("choose another method: {}", quoted(&of_one)),
    );
    false
}

fn mutual(
    plan: &Plan,
    teachers: usize,
    spec: &MethodSpec,
    methods: &[MethodSpec],
    problems: &mut Problems,
) {
    let kind = plan.kind.name();
    if teachers > 0 {
        problems.add(
            "teachers",
            format!("`kind = \"{kind}\"` has no teachers, found {teachers}"),
            "drop `[[teachers]]`, or choose another `plan.kind`".to_owned(),
        );
    }
    if spec.max_teachers == Some(0) {
        return;
    }
    let of_labels = methods.iter().find(|own| own.max_teachers == Some(0));
    problems.add(
        "method.name",
        format!("`kind = \"{kind}\"` learns from labels and peers, not by method `{}`", spec.name),
        format!("set `method.name = \"{}\"`", of_labels.map_or("", |own| own.name)),
    );
}

/// A key that was changed, but says something about another kind.
pub(super) fn warnings(recipe: &Recipe, warnings: &mut Problems) {
    let Some(plan) = &recipe.plan else { return };
    if plan.kind != PlanKind::BornAgain && plan.generations != Plan::default().generations {
        warnings.add(
            "plan.generations",
            "`plan.generations` has no effect here".to_owned(),
            "it belongs to `plan.kind = \"born-again\"`; remove it or choose that".to_owned(),
        );
    }
}
