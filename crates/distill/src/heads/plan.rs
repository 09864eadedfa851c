//! The heads that a recipe mounts, and which of them are trained.

use std::path::PathBuf;

use faculty_data::{Dataset, ImageViews};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::fit::described;
use crate::methods;
use crate::recipe::{self, HeadTraining, Heads, Precision, Recipe};
use crate::tap::Tap;
use faculty_contract::{ClassSpace, needs_of_run};
use faculty_teachers::{Head, RunData, TeacherError, identify_teacher, prepare_data, stage_taps};

/// Version of what a head depends on: another one means that heads are trained again.
const FORMAT: u32 = 1;

/// The heads that a recipe mounts, and which of them are missing. Nothing is written.
pub struct HeadsPlan<'a> {
    pub(super) recipe: &'a Recipe,
    /// Absent where no head is mounted.
    pub(super) data: Option<RunData>,
    pub(super) classes: &'a [String],
    /// By teacher of the recipe.
    pub(super) heads: Vec<Vec<Planned>>,
}

/// One head of a plan.
pub(super) struct Planned {
    /// Of the teacher that it makes.
    pub(super) name: String,
    pub(super) tap: Tap,
    pub(super) path: PathBuf,
    /// All that the head depends on.
    pub(super) identity: String,
    pub(super) trained: bool,
}

impl<'a> HeadsPlan<'a> {
    /// Looks at the recipe, its data and the head files.
    ///
    /// # Errors
    /// When a teacher or its map is not there, no teacher can carry the heads that the method
    /// mounts, or a head file cannot be used.
    pub fn new(recipe: &'a Recipe, dataset: &'a Dataset) -> Result<Self> {
        let classes = dataset.classes();
        let requested = requested(recipe)?;
        let mut plan = Self { recipe, data: None, classes, heads: Vec::new() };
        if requested.iter().all(Option::is_none) {
            return Ok(plan);
        }
        recipe.check(&methods::specs())?;
        refuse_needs_of_maps(recipe, &requested)?;
        let mut data = prepare_data(recipe, dataset)?;
        data.train = data.train.labelled();
        for (teacher, heads) in recipe.teachers.iter().zip(requested) {
            let taps = match heads {
                None => Vec::new(),
                Some(heads) => taps(teacher, &heads, &data)?,
            };
            let planned = |tap| plan.planned(teacher, tap, &data, dataset);
            let planned = taps.into_iter().map(planned).collect::<Result<_>>()?;
            plan.heads.push(planned);
        }
        plan.data = Some(data);
        Ok(plan)
    }

    fn planned(
        &self,
        teacher: &recipe::Teacher,
        tap: Tap,
        data: &RunData,
        dataset: &Dataset,
    ) -> Result<Planned> {
        let name = format!("{}.{tap}", teacher.name);
        let identity = self.identity(teacher, tap, data, dataset)?;
        let network = teacher.network.as_deref().unwrap_or_default();
        let file = format!("{network}-{tap}-{:016x}.safetensors", xxh3_64(identity.as_bytes()));
        let path = self.folder().join(file);
        let trained = path.exists();
        if trained && Head::read(&path)?.identity != identity {
            let reason = "it is of another teacher, other data or another training".to_owned();
            return Err(Error::Teacher(TeacherError::HeadFile { path, reason }));
        }
        Ok(Planned { name, tap, path, identity, trained })
    }

    fn identity(
        &self,
        teacher: &recipe::Teacher,
        tap: Tap,
        data: &RunData,
        dataset: &Dataset,
    ) -> Result<String> {
        let settings = &self.recipe.data;
        let HeadTraining { epochs, learning_rate, .. } = self.training();
        let ImageViews { normalisation, augmentation, .. } = data.views.images()?;
        let samples: Vec<u8> = data
            .train
            .ids()
            .iter()
            .zip(data.train.labels())
            .flat_map(|(id, label)| [id.0.to_le_bytes(), u64::from(*label).to_le_bytes()].concat())
            .collect();
        let mut identity = vec![
            format!("faculty head {FORMAT} on {tap}"),
            identify_teacher(teacher, data, ClassSpace::Dataset)?.card("").identity,
            format!("data {}", dataset.fingerprint()),
            format!("training samples {:016x}", xxh3_64(&samples)),
            format!("normalised by {:?}, {:?}", normalisation.mean, normalisation.std),
            format!(
                "views {:?}, padding {}, flip {}",
                settings.views, settings.crop_padding, settings.flip
            ),
            format!("{epochs} epochs at {learning_rate}"),
        ];
        identity.extend(augmentation.beside_crop_and_flip());
        if self.recipe.train.precision != Precision::F32 {
            identity.push(format!("steps in {}", self.recipe.train.precision.name()));
        }
        Ok(identity.join("\n"))
    }

    /// Where head files lie.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.training().path.unwrap_or_else(|| {
            let run = self.recipe.output.clone().unwrap_or_else(|| "runs/run".into());
            run.with_file_name("heads")
        })
    }

    pub(super) fn training(&self) -> HeadTraining {
        self.recipe.heads.clone().unwrap_or_default()
    }

    /// Names of the teachers that heads make, and whether each is trained.
    pub fn heads(&self) -> impl Iterator<Item = (&str, bool)> {
        self.heads.iter().flatten().map(|own| (own.name.as_str(), own.trained))
    }

    /// Whether all heads are trained, or there are none.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing().next().is_none()
    }

    pub(super) fn missing(&self) -> impl Iterator<Item = &Planned> {
        self.heads.iter().flatten().filter(|own| !own.trained)
    }

    /// The recipe with every head behind its teacher, as a teacher of its own.
    #[must_use]
    pub fn recipe(&self) -> Recipe {
        let mut recipe = self.recipe.clone();
        if self.heads.is_empty() {
            return recipe;
        }
        recipe.teachers.clear();
        for (teacher, heads) in self.recipe.teachers.iter().zip(&self.heads) {
            let whole = recipe::Teacher { heads: None, ..teacher.clone() };
            recipe.teachers.push(whole.clone());
            recipe.teachers.extend(heads.iter().map(|own| recipe::Teacher {
                name: own.name.clone(),
                head: Some(own.path.clone()),
                // Heads of early stages are weak; that is what they are for.
                allow_weak: true,
                ..whole.clone()
            }));
        }
        recipe
    }
}

/// By teacher what is to be mounted on it: what the recipe says, or what the method does by itself.
fn requested(recipe: &Recipe) -> Result<Vec<Option<Heads>>> {
    let own: Vec<Option<Heads>> = recipe.teachers.iter().map(|t| t.heads.clone()).collect();
    let info = methods::find(&recipe.method.name);
    // Of an unknown method the check of the recipe tells more.
    let Some(info) = info.filter(|info| recipe.method.uses_teachers(&info.spec)) else {
        return Ok(vec![None; own.len()]);
    };
    let there = |teacher: &recipe::Teacher| teacher.heads.is_some() || teacher.head.is_some();
    if recipe.teachers.iter().any(there) || !info.with_defaults().setup().mounts_heads {
        return Ok(own);
    }
    if recipe.teachers.iter().all(|teacher| teacher.network.is_none()) {
        return Err(Error::NoPlaceForHeads { method: info.spec.name });
    }
    let all = |teacher: &recipe::Teacher| teacher.network.as_ref().map(|_| Heads::All);
    Ok(recipe.teachers.iter().map(all).collect())
}

/// Told now, not after the heads have been trained: a head has neither maps nor a pooled vector.
fn refuse_needs_of_maps(recipe: &Recipe, requested: &[Option<Heads>]) -> Result<()> {
    let info = methods::known(&recipe.method.name)?;
    let needs = needs_of_run(methods::build(&recipe.method)?.as_ref(), recipe.train.epochs);
    let what = match needs.teacher_taps.first() {
        Some(&tap) => described(tap),
        None if needs.teacher_classifiers => "a pooled linear classifier".to_owned(),
        None => return Ok(()),
    };
    let mut carriers = recipe.teachers.iter().zip(requested).filter(|(_, heads)| heads.is_some());
    let name = carriers.next().map_or("", |(teacher, _)| &teacher.name);
    let who = format!("a head inside teacher `{name}`");
    Err(Error::MissingPart { method: info.spec.name, what, who })
}

/// The taps that a teacher's heads read.
fn taps(teacher: &recipe::Teacher, heads: &Heads, data: &RunData) -> Result<Vec<Tap>> {
    let known = stage_taps(teacher, data)?;
    match heads {
        // f0 is the map before the first stage.
        Heads::All => Ok(known[known.len().min(1)..].to_vec()),
        Heads::At(names) => names
            .iter()
            .map(|name| {
                let tap = Heads::feature(name).map(Tap::Feature).filter(|tap| known.contains(tap));
                tap.ok_or_else(|| Error::NoSuchTap {
                    teacher: teacher.name.clone(),
                    tap: name.clone(),
                    known: known.iter().map(Tap::to_string).collect(),
                })
            })
            .collect(),
    }
}
