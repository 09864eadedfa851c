//! What a recipe needs of its cache, and what of it is missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use faculty_data::{
    Augmentation, DataError, Dataset, ImageViews, Normalisation, SampleId, View, ViewKind,
    WordChanges,
};
use faculty_nets::MapShape;
use serde::Serialize;

use super::classifier::{classifier_hash, read_classifier};
use super::collate::Collator;
use super::kind::{FORMAT, Kind, WITHOUT_ORIGIN};
use super::manifest::{
    DataEntry, Manifest, Samples, SamplesEntry, TeacherEntry, TextsEntry, ViewsEntry,
};
use super::shard::{Layout, Shard, ShardReader, find, of_another, shard_path};
use super::source::CachedTeacher;
use crate::error::{Result, TeacherError};
use crate::identity::TeacherIdentity;
use crate::open::{identity_of, load_teacher, taps_there};
use crate::precision::precision_of;
use crate::run_data::RunData;
use crate::source::Teacher;
use crate::source::{TeacherBatch, TeacherSource};
use faculty_comm::Share;
use faculty_contract::ClassSpace;
use faculty_nets::FrozenClassifier;
use faculty_nets::Tap;
use faculty_recipe::{self as recipe, CacheDtype, Recipe};
use faculty_records::run::TeacherCard;

/// Files that all readers of a run keep open together, at most: half of what systems allow a
/// process at least.
const OPEN_FILES: usize = 512;

/// Images of one run of a teacher.
pub(super) const BATCH: usize = 128;

/// A recipe's cache: what it shall hold, and what is missing.
pub struct CachePlan<'a> {
    pub(super) recipe: &'a Recipe,
    /// What its methods read.
    pub(super) needs: CacheNeeds,
    pub(super) dataset: &'a Dataset,
    pub(super) data: RunData,
    pub(super) folder: PathBuf,
    /// With this recipe's teachers and maps.
    pub(super) manifest: Manifest,
    pub(super) samples: Samples,
    /// Whether the folder holds this manifest already.
    pub(super) written: bool,
    pub(super) teachers: Vec<TeacherPlan>,
    /// What was read from the classifier files, or will be written there.
    pub(super) classifiers: Vec<Option<FrozenClassifier>>,
    /// Shards that no manifest speaks of, with records of something else.
    of_another: usize,
    /// What of it this process builds.
    pub(super) share: Share,
}

/// What methods read of their teachers from a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheNeeds {
    /// What the logits are over; a cache holds one of the two.
    pub class_space: ClassSpace,
    /// Taps to keep beside the logits.
    pub taps: Vec<Tap>,
}

/// One teacher of a plan.
pub(super) struct TeacherPlan {
    pub(super) name: String,
    /// Place in the recipe.
    pub(super) index: usize,
    pub(super) identity: TeacherIdentity,
    pub(super) classes: usize,
    pub(super) sets: Vec<SetPlan>,
    pub(super) classifier_missing: bool,
}

/// One set of shards of a plan.
pub(super) struct SetPlan {
    pub(super) kind: Kind,
    pub(super) layout: Layout,
    pub(super) missing: Vec<usize>,
}

/// Size of one set of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CacheSize {
    /// Teacher.
    pub teacher: String,
    /// `logits`, `plain`, or the name of a tap.
    pub records: String,
    /// Shape of one record.
    pub shape: Vec<usize>,
    /// All of them.
    pub bytes: u64,
    /// Those that are not there yet.
    pub missing_bytes: u64,
}

/// What building a cache takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Of the complete cache, as far as this recipe needs it.
    pub bytes: u64,
    /// Still to be written by this process.
    pub missing_bytes: u64,
    /// Images that still have to go through a teacher.
    pub images: u64,
    /// Time for that, measured on a batch of each teacher.
    pub seconds: f64,
}

impl<'a> CachePlan<'a> {
    /// Looks at the recipe, its data and its cache folder; nothing is written. `needs` is what the
    /// methods that shall find their records there read of the teachers.
    ///
    /// # Errors
    /// When the recipe has no cache, the folder holds the cache of something else or is damaged, or
    /// a teacher cannot be loaded.
    pub fn new(
        recipe: &'a Recipe,
        needs: CacheNeeds,
        dataset: &'a Dataset,
        data: RunData,
    ) -> Result<Self> {
        let (Some(cache), Some(views)) = (&recipe.cache, recipe.data.views) else {
            return Err(TeacherError::NoCache);
        };
        let folder = cache.path.clone().unwrap_or_else(|| PathBuf::from("cache"));
        let plain = match (&data.validation, &data.test) {
            (Some(part), _) | (None, Some(part)) => part.ids(),
            (None, None) => Vec::new(),
        };
        let samples = Samples::new(data.train.ids(), plain);
        let own = manifest(dataset, &data, &samples, cache, views)?;
        let found = Manifest::read(&folder)?;
        let written = found.is_some();
        let (manifest, samples) = match found {
            None => (own, samples),
            Some(found) => {
                found.check_against(&own, &folder)?;
                let stored = Samples::read(&folder, &found.samples)?;
                check_samples(&folder, &stored, &samples)?;
                (found, stored)
            }
        };
        let mut plan = Self {
            recipe,
            needs,
            dataset,
            data,
            folder,
            manifest,
            samples,
            written,
            teachers: Vec::new(),
            classifiers: Vec::new(),
            of_another: 0,
            share: Share::WHOLE,
        };
        let taps = plan.needs.taps.clone();
        for (index, spec) in recipe.teachers.iter().enumerate() {
            let taps = taps_there(spec, &plan.data, &taps)?;
            plan.add_teacher(index, spec, &taps)?;
        }
        Ok(plan)
    }

    /// Of which only this part is built here; other processes build the others at the same time or at
    /// another, in the same folder.
    #[must_use]
    pub fn with_share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }

    /// What of the missing shards of a set belongs to a share: blocks are dealt out in turn, with
    /// another first one for each teacher, whoever else has built what.
    fn missing_of(
        share: Share,
        teacher: &TeacherPlan,
        set: &SetPlan,
    ) -> impl Iterator<Item = usize> + Clone {
        // Plain images are the last blocks of a teacher's, whose number does not matter.
        let first = teacher.index + usize::from(set.kind == Kind::Plain);
        set.missing.iter().copied().filter(move |block| share.has(first + block))
    }

    /// The missing shards of a set that this process builds.
    pub(super) fn own_missing(
        &self,
        teacher: &TeacherPlan,
        set: &SetPlan,
    ) -> impl Iterator<Item = usize> + Clone {
        Self::missing_of(self.share, teacher, set)
    }

    /// Of the shares that this process has one of, those that have something to build.
    #[must_use]
    pub fn missing_shares(&self) -> Vec<Share> {
        let count = self.share.count();
        let all = (0..count).filter_map(|index| Share::new(index, count));
        let sets =
            || self.teachers.iter().flat_map(|own| own.sets.iter().map(move |set| (own, set)));
        all.filter(|&share| {
            sets().any(|(own, set)| Self::missing_of(share, own, set).next().is_some())
        })
        .collect()
    }

    /// Compares a teacher with the manifest, or adds it there, and finds its missing shards.
    fn add_teacher(&mut self, index: usize, spec: &recipe::Teacher, taps: &[Tap]) -> Result<()> {
        let identity =
            identity_of(spec, &self.data, self.dataset.classes(), self.needs.class_space)?;
        if let Some(entry) = self.manifest.teachers.get(&spec.name)
            && let Some((field, cache, recipe)) = entry.identity.difference(&identity)
        {
            return Err(TeacherError::CacheMismatch {
                path: self.folder.clone(),
                field: format!("teacher `{}`: {field}", spec.name),
                cache,
                recipe,
            });
        }
        let known = self.manifest.teachers.get(&spec.name).cloned();
        let has =
            |entry: &TeacherEntry| taps.iter().all(|tap| entry.maps.contains_key(&tap.to_string()));
        let mut classifier = None;
        if !known.as_ref().is_some_and(has) {
            // Only now is the network needed: for the shapes of its values.
            let source = self.load(index, taps)?.source;
            classifier = source.classifier();
            let mut entry = known.clone().unwrap_or_else(|| TeacherEntry {
                identity: identity.clone(),
                kernels: precision_of(spec.precision).kernels().to_owned(),
                classes: source.classes(),
                maps: std::collections::BTreeMap::new(),
                classifier: classifier.as_ref().map(classifier_hash),
            });
            for &tap in taps {
                if let Some(shape) = source.tap_shape(tap) {
                    let shape = [shape.channels, shape.height, shape.width];
                    entry.maps.insert(tap.to_string(), shape);
                }
            }
            if known.as_ref() != Some(&entry) {
                self.manifest.teachers.insert(spec.name.clone(), entry);
                self.written = false;
            }
        }
        let entry = &self.manifest.teachers[&spec.name];
        let taps = taps.iter().filter(|tap| entry.maps.contains_key(&tap.to_string()));
        let kinds = [Kind::Plain, Kind::Logits].into_iter().chain(taps.map(|&tap| Kind::Tap(tap)));
        let (mut sets, mut of_another_origin) = (Vec::new(), 0);
        for kind in kinds {
            let layout = self.layout(entry, kind);
            let folder = self.set_folder(&spec.name, kind);
            let mut missing = Vec::new();
            for (block, ids) in self.ids(kind).chunks(self.manifest.samples.block).enumerate() {
                let path = shard_path(&folder, block);
                match find(&path, &layout, ids.len())? {
                    Shard::There => continue,
                    Shard::Missing => {}
                    Shard::OfAnother if known.is_some() => return Err(of_another(&path)),
                    Shard::OfAnother => of_another_origin += 1,
                }
                missing.push(block);
            }
            sets.push(SetPlan { kind, layout, missing });
        }
        let classifier_path = self.classifier_path(&spec.name);
        let mut classifier_missing = false;
        if let Some(expected) = &entry.classifier {
            if classifier_path.exists() {
                match read_classifier(&classifier_path, expected) {
                    Ok(own) => classifier = Some(own),
                    Err(error) if known.is_some() => return Err(error),
                    Err(_) => {
                        of_another_origin += 1;
                        classifier_missing = true;
                    }
                }
            } else {
                classifier_missing = true;
            }
        }
        self.of_another += of_another_origin;
        self.classifiers.push(classifier);
        self.teachers.push(TeacherPlan {
            name: spec.name.clone(),
            index,
            identity,
            classes: entry.classes,
            sets,
            classifier_missing,
        });
        Ok(())
    }

    fn layout(&self, entry: &TeacherEntry, kind: Kind) -> Layout {
        let (name, shape, views) = match kind {
            Kind::Plain => ("logits".to_owned(), vec![entry.classes], 1),
            Kind::Logits => {
                ("logits".to_owned(), vec![entry.classes], self.manifest.views.count as usize)
            }
            Kind::Tap(tap) => {
                let name = tap.to_string();
                let shape = entry.maps[&name].to_vec();
                (name, shape, self.manifest.views.count as usize)
            }
        };
        let dtype = self.recipe.cache.as_ref().map_or_else(CacheDtype::default, |c| c.dtype);
        let origin = self.manifest.origin(entry, &kind.folder());
        Layout { name, shape, views, dtype, origin }
    }

    pub(super) fn ids(&self, kind: Kind) -> &Arc<[SampleId]> {
        match kind {
            Kind::Plain => &self.samples.plain,
            Kind::Logits | Kind::Tap(_) => &self.samples.train,
        }
    }

    /// The ids of one shard.
    pub(super) fn block(&self, kind: Kind, block: usize) -> &[SampleId] {
        let size = self.manifest.samples.block;
        let ids = self.ids(kind);
        &ids[block * size..ids.len().min((block + 1) * size)]
    }

    pub(super) fn teacher_folder(&self, name: &str) -> PathBuf {
        self.folder.join("teachers").join(name)
    }

    pub(super) fn set_folder(&self, teacher: &str, kind: Kind) -> PathBuf {
        self.teacher_folder(teacher).join(kind.folder())
    }

    pub(super) fn classifier_path(&self, teacher: &str) -> PathBuf {
        self.teacher_folder(teacher).join("classifier.safetensors")
    }

    /// The teacher at a place of the recipe, as the network that it is.
    pub(super) fn load(&self, index: usize, taps: &[Tap]) -> Result<Teacher> {
        let spec = &self.recipe.teachers[index];
        Ok(load_teacher(spec, &self.data, self.dataset.classes(), taps, self.needs.class_space)?.0)
    }

    /// The data as the recipe uses it.
    #[must_use]
    pub fn data(&self) -> &RunData {
        &self.data
    }

    /// The teachers of a complete cache, in the order of the recipe; no network is loaded.
    ///
    /// # Errors
    /// [`TeacherError::CacheIncomplete`].
    pub fn teachers(&self) -> Result<Vec<Teacher>> {
        Ok(self.open()?.into_iter().map(|(teacher, _)| teacher).collect())
    }

    /// The folder of the cache.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the cache is made from, this recipe's teachers included.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What its user should know of the folder as it was found.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let folder = self.folder.display();
        let mut warnings = Vec::new();
        if self.manifest.format == WITHOUT_ORIGIN {
            warnings.push(format!(
                "cache `{folder}` is of an earlier version: which teacher its records are of is \
                 known from its `manifest.json` alone; to build it anew, delete the folder"
            ));
        }
        if self.of_another > 0 {
            warnings.push(format!(
                "{} files in cache `{folder}` hold records of something else than its teachers \
                 here, and no `manifest.json` says of what: they are computed again",
                self.of_another
            ));
        }
        warnings
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let complete = |teacher: &TeacherPlan| {
            !teacher.classifier_missing && teacher.sets.iter().all(|set| set.missing.is_empty())
        };
        self.written && self.teachers.iter().all(complete)
    }

    /// The size of every set of records that this recipe needs.
    #[must_use]
    pub fn sizes(&self) -> Vec<CacheSize> {
        let mut sizes = Vec::new();
        for teacher in &self.teachers {
            for set in &teacher.sets {
                let blocks = self.ids(set.kind).len().div_ceil(self.manifest.samples.block);
                let bytes = |block| set.layout.file_bytes(self.block(set.kind, block).len());
                sizes.push(CacheSize {
                    teacher: teacher.name.clone(),
                    records: set.kind.folder(),
                    shape: set.layout.shape.clone(),
                    bytes: (0..blocks).map(bytes).sum(),
                    missing_bytes: self.own_missing(teacher, set).map(bytes).sum(),
                });
            }
        }
        sizes
    }

    /// Space and time of what is missing; runs a batch through each teacher that has work to do.
    ///
    /// # Errors
    /// When a teacher cannot be loaded or run.
    pub fn estimate(&self) -> Result<Estimate> {
        let sizes = self.sizes();
        let mut estimate = Estimate {
            bytes: sizes.iter().map(|size| size.bytes).sum(),
            missing_bytes: sizes.iter().map(|size| size.missing_bytes).sum(),
            images: 0,
            seconds: 0.0,
        };
        for teacher in &self.teachers {
            let images = self.images(teacher);
            let ids = &self.samples.train[..self.samples.train.len().min(BATCH)];
            if images == 0 || ids.is_empty() {
                continue;
            }
            let taps: Vec<Tap> = teacher
                .sets
                .iter()
                .filter(|set| self.own_missing(teacher, set).next().is_some())
                .filter_map(|set| match set.kind {
                    Kind::Tap(tap) => Some(tap),
                    Kind::Plain | Kind::Logits => None,
                })
                .collect();
            let mut source = self.load(teacher.index, &taps)?.source;
            let view = View::Train(0);
            let inputs = self.collator()?.collate(ids, view)?;
            let batch = TeacherBatch { ids, view, inputs: inputs.view() };
            // The first run allocates.
            source.outputs(&batch, &taps)?;
            let started = Instant::now();
            source.outputs(&batch, &taps)?;
            let seconds = started.elapsed().as_secs_f64();
            estimate.images += images;
            estimate.seconds += seconds / ids.len() as f64 * images as f64;
        }
        Ok(estimate)
    }

    /// What makes inputs of its samples.
    pub(super) fn collator(&self) -> Result<Collator> {
        // The manifest was compared with these.
        Collator::new(self.dataset, &self.data.views)
    }

    /// Images that have to go through a teacher here.
    pub(super) fn images(&self, teacher: &TeacherPlan) -> u64 {
        let mut blocks: Vec<(bool, usize)> = teacher
            .sets
            .iter()
            .flat_map(|set| {
                self.own_missing(teacher, set).map(move |block| (set.kind == Kind::Plain, block))
            })
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        let images = |&(plain, block): &(bool, usize)| {
            let (kind, views) =
                if plain { (Kind::Plain, 1) } else { (Kind::Logits, self.manifest.views.count) };
            self.block(kind, block).len() as u64 * u64::from(views)
        };
        blocks.iter().map(images).sum()
    }

    /// A reader of one set of a teacher.
    pub(super) fn reader(&self, teacher: &TeacherPlan, set: &SetPlan) -> ShardReader {
        let sets: usize = self.teachers.iter().map(|teacher| teacher.sets.len()).sum();
        ShardReader::new(
            self.set_folder(&teacher.name, set.kind),
            set.layout.clone(),
            Arc::clone(self.ids(set.kind)),
            self.manifest.samples.block,
        )
        .with_most_open(OPEN_FILES / sets.max(1))
    }

    /// The teachers as read from the cache, and their cards. Of records that are missing the
    /// reading fails.
    pub(super) fn sources(&self) -> Vec<(Teacher, TeacherCard)> {
        let source = |(teacher, classifier): (&TeacherPlan, &Option<FrozenClassifier>)| {
            let reader = |kind: Kind| {
                let set = teacher.sets.iter().find(|set| set.kind == kind);
                self.reader(teacher, set.expect("every teacher has both sets of logits"))
            };
            let taps =
                teacher.sets.iter().filter_map(|set| match (set.kind, &set.layout.shape[..]) {
                    (Kind::Tap(tap), &[channels, height, width]) => {
                        let shape = MapShape::new(channels, height, width);
                        Some((tap, shape, self.reader(teacher, set)))
                    }
                    _ => None,
                });
            let source = CachedTeacher {
                classes: teacher.classes,
                classifier: classifier.clone(),
                plain: reader(Kind::Plain),
                logits: reader(Kind::Logits),
                taps: taps.collect(),
            };
            let name = teacher.name.clone();
            (Teacher { name, source: Box::new(source) }, teacher.identity.card(&teacher.name))
        };
        self.teachers.iter().zip(&self.classifiers).map(source).collect()
    }

    /// [`CachePlan::teachers`] with their cards.
    ///
    /// # Errors
    /// [`TeacherError::CacheIncomplete`].
    pub fn open(&self) -> Result<Vec<(Teacher, TeacherCard)>> {
        if self.is_complete() {
            return Ok(self.sources());
        }
        let missing: Vec<String> = self
            .teachers
            .iter()
            .filter(|teacher| {
                teacher.classifier_missing || teacher.sets.iter().any(|s| !s.missing.is_empty())
            })
            .map(|teacher| format!("`{}`", teacher.name))
            .collect();
        let what = if missing.is_empty() {
            "the manifest".to_owned()
        } else {
            format!("records of teacher {}", missing.join(", "))
        };
        Err(TeacherError::CacheIncomplete { path: self.folder.clone(), what })
    }
}

/// What a new cache of this recipe would say of itself, but for the teachers.
fn manifest(
    dataset: &Dataset,
    data: &RunData,
    samples: &Samples,
    cache: &recipe::Cache,
    views: u32,
) -> Result<Manifest> {
    let (shape, augmentation, normalisation, texts) = match &data.views.kind {
        ViewKind::Images(ImageViews { augmentation, normalisation, .. }) => {
            (dataset.shape()?, *augmentation, normalisation.clone(), None)
        }
        ViewKind::Texts(own) => {
            let WordChanges { deletion, swap } = own.words;
            let texts = TextsEntry { word_deletion: deletion, word_swap: swap };
            let normalisation = Normalisation { mean: Vec::new(), std: Vec::new() };
            ([0; 3], Augmentation::NONE, normalisation, Some(texts))
        }
        _ => return Err(TeacherError::Data(DataError::NotImages)),
    };
    Ok(Manifest {
        format: FORMAT,
        data: DataEntry {
            fingerprint: dataset.fingerprint(),
            classes: dataset.classes().to_vec(),
            shape,
        },
        views: ViewsEntry {
            count: views,
            seed: data.views.seed,
            crop_padding: augmentation.pad,
            flip: augmentation.flip,
        },
        normalisation,
        augmentation: data.views.images().ok().and_then(ImageViews::beside_crop_and_flip),
        texts,
        dtype: cache.dtype.name().to_owned(),
        samples: SamplesEntry {
            train: samples.train.len(),
            plain: samples.plain.len(),
            block: cache.block.unwrap_or_else(|| samples.train.len().div_ceil(64).max(256)),
            ids: samples.hash(),
        },
        teachers: std::collections::BTreeMap::new(),
        checksum: String::new(),
    })
}

fn check_samples(folder: &Path, stored: &Samples, spec: &Samples) -> Result<()> {
    for (what, stored, spec) in
        [("training", &stored.train, &spec.train), ("measuring", &stored.plain, &spec.plain)]
    {
        let missing = Samples::missing(stored, spec);
        if missing > 0 {
            return Err(TeacherError::CacheMismatch {
                path: folder.to_owned(),
                field: format!("the samples for {what} (`data.train_samples`, `data.validation`)"),
                cache: stored.len().to_string(),
                recipe: format!("{}, {missing} of them not in the cache", spec.len()),
            });
        }
    }
    Ok(())
}
