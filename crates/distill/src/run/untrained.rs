//! Checks of a run whose teacher is a network that is still to be trained.

use faculty_data::Dataset;
use faculty_nets::{MapShape, Network};

use crate::error::{Error, Result};
use crate::fit::{check_batches, check_parts};
use faculty_contract::needs_of_run;
use faculty_contract::{Facts, Shapes};

use crate::learner::TeacherTraits;
use crate::methods;
use crate::recipe::Recipe;
use crate::student_start;
use faculty_teachers::{NetworkTeacher, RunData, Teacher, traits_of};

/// Whether the recipe's student can learn from its only teacher by its method; of the teacher only
/// the name of its network is looked at.
///
/// # Errors
/// As [`super::CheckedRun::new`].
pub(crate) fn check_untrained(recipe: &Recipe, data: &RunData, dataset: &Dataset) -> Result<()> {
    let info = methods::known(&recipe.method.name)?;
    let mut method = methods::build(&recipe.method)?;
    let needs = needs_of_run(method.as_ref(), recipe.train.epochs);
    let [channels, height, width] = data.train.shape()?;
    let input = MapShape::new(channels, height, width);
    let classes = dataset.classes().len();
    let network = |name: &str| Network::new(name, input, classes, recipe.seed);
    let (student, _) = student_start::open(recipe, data, classes)?;
    let teachers = recipe.teachers.iter().map(|teacher| {
        let own = network(teacher.network.as_deref().unwrap_or_default())?;
        let source = Box::new(NetworkTeacher::new(&own, None, &needs.teacher_taps));
        Ok(Teacher { name: teacher.name.clone(), source })
    });
    let teachers = teachers.collect::<Result<Vec<_>>>()?;
    check_batches(info.spec.name, &needs, &recipe.train)?;
    let traits: Vec<TeacherTraits> = teachers
        .iter()
        .map(|teacher| traits_of(teacher.source.as_ref(), &needs.teacher_taps))
        .collect();
    method.prepare(Facts::Maps(&Shapes::of(&student, &traits, recipe.train.batch_size)));
    let needs = needs_of_run(method.as_ref(), recipe.train.epochs);
    check_parts(info.spec.name, &needs, &student, &teachers, &[])?;
    let mut student = method.student(student, &traits, recipe.seed)?;
    student_start::freeze(&mut student, &recipe.student.freeze)?;
    let shapes = Shapes::of(&student, &traits, recipe.train.batch_size);
    methods::check_combination(&recipe.method, &shapes, recipe.train.epochs)?;
    if method.setup().needs_profiles && data.validation.is_none() {
        return Err(Error::NeedsValidation { method: info.spec.name });
    }
    Ok(())
}
