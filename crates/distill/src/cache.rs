//! What the methods of a recipe read from its cache.

use faculty_contract::{ClassSpace, Method, needs_of_run};
use faculty_data::Dataset;
use faculty_nets::Tap;
use faculty_recipe::{self as recipe, CacheMaps, Recipe};
use faculty_records::run::TeacherCard;
use faculty_teachers::cache::{CacheNeeds, CachePlan};
use faculty_teachers::{RunData, Teacher, prepare_data};

use crate::error::{Error, Result};
use crate::methods;

/// The cache of a recipe: looks at its data and its cache folder; nothing is written.
///
/// # Errors
/// When the recipe is wrong or has no cache, the folder holds the cache of something else or is
/// damaged, or a teacher cannot be loaded.
pub fn plan<'a>(recipe: &'a Recipe, dataset: &'a Dataset) -> Result<CachePlan<'a>> {
    recipe.check(&methods::specs())?;
    plan_for_methods(recipe, std::slice::from_ref(&recipe.method), dataset)
}

/// The cache that serves all these methods, in place of the recipe's own.
///
/// # Errors
/// As [`plan`], and [`Error::CacheLabels`].
pub fn plan_for_methods<'a>(
    recipe: &'a Recipe,
    methods: &[recipe::Method],
    dataset: &'a Dataset,
) -> Result<CachePlan<'a>> {
    let data = prepare_data(recipe, dataset)?;
    Ok(CachePlan::new(recipe, needs(recipe, methods)?, dataset, data)?)
}

/// The teachers of a recipe's complete cache, in the order of the recipe, with their cards; no
/// network is loaded.
pub(crate) fn open(
    recipe: &Recipe,
    dataset: &Dataset,
    data: RunData,
) -> Result<Vec<(Teacher, TeacherCard)>> {
    let needs = needs(recipe, std::slice::from_ref(&recipe.method))?;
    check_maps(&recipe.method, recipe.train.epochs, maps(recipe))?;
    Ok(CachePlan::new(recipe, needs, dataset, data)?.open()?)
}

fn needs(recipe: &Recipe, methods: &[recipe::Method]) -> Result<CacheNeeds> {
    let taps = wanted_taps(methods, recipe.train.epochs, maps(recipe))?;
    Ok(CacheNeeds { class_space: class_space(methods)?, taps })
}

fn maps(recipe: &Recipe) -> CacheMaps {
    recipe.cache.as_ref().map_or_else(CacheMaps::default, |cache| cache.maps)
}

/// What the teachers are asked for beside their logits: that, and what class costs are made of.
pub(crate) fn taps_of_run(method: &dyn Method, epochs: usize) -> Vec<Tap> {
    let mut taps = needs_of_run(method, epochs).teacher_taps;
    if method.setup().class_space == ClassSpace::Teacher && !taps.contains(&Tap::Pooled) {
        taps.push(Tap::Pooled);
    }
    taps
}

/// What these methods read of the teachers in any epoch, each tap once.
pub(crate) fn taps_of_methods(methods: &[recipe::Method], epochs: usize) -> Result<Vec<Tap>> {
    let mut taps = Vec::new();
    for method in methods {
        taps.extend(taps_of_run(methods::build(method)?.as_ref(), epochs));
    }
    taps.sort_unstable();
    taps.dedup();
    Ok(taps)
}

/// Refuses a method that reads what `cache.maps` leaves out.
pub(crate) fn check_maps(method: &recipe::Method, epochs: usize, maps: CacheMaps) -> Result<()> {
    let kept = wanted_taps(std::slice::from_ref(method), epochs, maps)?;
    let read = wanted_taps(std::slice::from_ref(method), epochs, CacheMaps::Auto)?;
    let missing = read.iter().find(|tap| !kept.contains(tap));
    missing.map_or(Ok(()), |tap| {
        let method = method.name.clone();
        Err(Error::CacheMaps { method, tap: tap.to_string(), maps: maps.name() })
    })
}

/// What all these methods read the teachers' logits over: a cache holds one of the two.
fn class_space(own: &[recipe::Method]) -> Result<ClassSpace> {
    let of = |own: &recipe::Method| Ok(methods::build(own)?.setup().class_space);
    let all = own.iter().map(of).collect::<Result<Vec<ClassSpace>>>()?;
    let first = all.first().copied().unwrap_or(ClassSpace::Dataset);
    match all.iter().position(|own| *own != first) {
        None => Ok(first),
        Some(other) => {
            let methods = [&own[0].name, &own[other].name].map(Clone::clone);
            Err(Error::CacheLabels { methods })
        }
    }
}

/// The taps to keep beside the logits.
fn wanted_taps(own: &[recipe::Method], epochs: usize, maps: CacheMaps) -> Result<Vec<Tap>> {
    let needed = taps_of_methods(own, epochs)?;
    let mut taps = match maps {
        CacheMaps::Auto => needed,
        CacheMaps::Full => [needed, vec![Tap::Map, Tap::Pooled]].concat(),
        CacheMaps::Pooled => vec![Tap::Pooled],
        CacheMaps::None => Vec::new(),
    };
    taps.sort_unstable();
    taps.dedup();
    Ok(taps)
}
