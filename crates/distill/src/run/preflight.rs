//! What the teachers are worth, measured before a run starts.

use super::{RunData, Teacher};
use crate::error::{Error, Result};
use crate::evaluate::teachers_quality;
use crate::metrics::Quality;
use crate::recipe::Recipe;
use crate::record::TeacherCard;
use crate::teacher::TeacherSource;

/// Each teacher alone and the ensemble on the validation part (the test part where there is none);
/// stops at a teacher that knows next to nothing, unless the recipe allows it.
pub(crate) fn measure_teachers(
    recipe: &Recipe,
    data: &RunData,
    teachers: &mut [Teacher],
    cards: &mut [TeacherCard],
) -> Result<Option<Quality>> {
    let (part, name) = match (&data.validation, &data.test) {
        (Some(part), _) => (part, "validation"),
        (None, Some(part)) => (part, "test"),
        (None, None) => return Ok(None),
    };
    let mut sources: Vec<&mut dyn TeacherSource> =
        teachers.iter_mut().map(|teacher| &mut *teacher.source as _).collect();
    let Some((qualities, ensemble)) = teachers_quality(&mut sources, part, &data.normalisation)?
    else {
        return Ok(None);
    };
    for ((card, quality), wanted) in cards.iter_mut().zip(qualities).zip(&recipe.teachers) {
        card.quality = Some(quality);
        let classes = sources[0].classes();
        let chance = 100.0 / classes as f64;
        // A tenth of the way from guessing to perfection.
        if !wanted.allow_weak && quality.top1 < chance + 0.1 * (100.0 - chance) {
            return Err(Error::WeakTeacher {
                teacher: card.name.clone(),
                top1: quality.top1,
                chance,
                part: name,
            });
        }
    }
    Ok(Some(ensemble))
}
