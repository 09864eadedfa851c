//! Which teachers are near the task, before anything is trained.
//!
//! ```text
//! score_k = mean_b Σ_i p_k,b,i M_k[i, y_b]      p: its probabilities, M: costs between classes
//! ```
//! Lower is better: 0 is a teacher that is sure of the right class under the same name. The classes
//! of a teacher may be any.

use faculty_data::{Dataset, Split};
use serde::{Deserialize, Serialize};

use super::class_costs;
use crate::class_cost::{ClassCost, probabilities};
use crate::error::Result;
use crate::heads::mounted_if_trained;
use crate::methods::{self, label_cost};
use crate::recipe::Recipe;
use crate::tap::Tap;
use faculty_contract::ClassSpace;
use faculty_teachers::{
    RunData, Teacher, TeacherBatch, check_native_classes, for_each_batch, limited, load_teacher,
    prepare_data, same_classes, shown_name,
};

/// One teacher's place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// Name in the recipe.
    pub name: String,
    /// Its network, or its file.
    pub network: String,
    /// Classes of its own.
    pub classes: usize,
    /// Those that are classes of the data, by name.
    pub same: usize,
    /// Mean cost of its answers, 0 to 1; lower is better.
    pub score: f64,
    /// What the score would be if it held all its classes for equally likely.
    pub guessing: f64,
}

/// All teachers of a recipe, the nearest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// Where they were scored: `validation`, or `training` where there is no validation split.
    pub part: String,
    /// Samples of it that were used.
    pub samples: usize,
    /// By rising score.
    pub teachers: Vec<Ranked>,
}

/// Ranks the teachers of a recipe by how near their answers are to the labels, whatever their
/// classes. At most `samples` of the validation split are used, if that is given.
///
/// # Errors
/// When data or teachers cannot be used, or a teacher has neither a pooled linear classifier nor a
/// `class_cost`.
pub fn rank_teachers(
    recipe: &Recipe,
    dataset: &Dataset,
    samples: Option<usize>,
) -> Result<Ranking> {
    recipe.check(&methods::specs())?;
    let recipe = &mounted_if_trained(recipe, dataset)?;
    let data = prepare_data(recipe, dataset)?;
    let classes = dataset.classes();
    let mut teachers: Vec<Teacher> = recipe
        .teachers
        .iter()
        .map(|spec| Ok(load_teacher(spec, &data, classes, &[Tap::Pooled], ClassSpace::Teacher)?.0))
        .collect::<Result<_>>()?;
    check_native_classes(&data, &mut teachers)?;
    let costs = class_costs(recipe, classes, &data, &mut teachers)?;
    let (part, name) = match &data.validation {
        Some(part) => (part.clone(), "validation"),
        None => (data.train.labelled(), "training"),
    };
    let part = limited(&part, samples)?;
    let mut ranked = Vec::new();
    for ((spec, teacher), cost) in recipe.teachers.iter().zip(&mut teachers).zip(&costs) {
        let own = cost.teacher_classes();
        let same = same_classes(spec, &data, classes, own)?;
        let (score, guessing) = score(teacher, cost, &part, &data)?;
        ranked.push(Ranked {
            name: spec.name.clone(),
            network: shown_name(spec),
            classes: own,
            same: same.iter().filter(|same| !same.is_empty()).count(),
            score,
            guessing,
        });
    }
    ranked.sort_by(|a, b| a.score.total_cmp(&b.score));
    Ok(Ranking { part: name.to_owned(), samples: part.len(), teachers: ranked })
}

/// The mean cost of a teacher's answers on plain images, and that of equal probabilities.
fn score(
    teacher: &mut Teacher,
    cost: &ClassCost,
    part: &Split,
    data: &RunData,
) -> Result<(f64, f64)> {
    let own = cost.teacher_classes();
    let equal = vec![1.0 / own as f64; own];
    let (mut score, mut guessing) = (0.0, 0.0);
    for_each_batch(part, &data.views, |batch| {
        let view = TeacherBatch::from(batch);
        let logits = teacher.source.outputs(&view, &[])?.logits;
        for (row, &label) in logits.chunks_exact(own).zip(&batch.labels) {
            let of = |p: &[f64]| label_cost(p, cost.values(), cost.classes(), label as usize);
            score += of(&probabilities(row));
            guessing += of(&equal);
        }
        Ok(())
    })?;
    let samples = part.len().max(1) as f64;
    Ok((score / samples, guessing / samples))
}
