//! Building a cache: shard by shard, each complete or not there, so that it can be stopped and
//! killed at any time and goes on where it was.

use faculty_data::View;
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_files as files;

use super::classifier::write_classifier;
use super::collate::Collator;
use super::kind::Kind;
use super::plan::{BATCH, CachePlan, SetPlan, TeacherPlan};
use super::shard::{ShardWriter, shard_path};
use crate::error::{Result, TeacherError};
use crate::measure::measure_teachers;
use crate::precision::precision_of;
use crate::source::Teacher;
use crate::source::{TeacherBatch, TeacherSource};
use faculty_contract::ClassSpace;
use faculty_files::{FolderLock, failed};
use faculty_nets::Tap;

/// Values of one kind that are gathered before they are written.
const GATHERED_BYTES: usize = 64 << 20;

/// What a build tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum CacheEvent<'a> {
    /// Some images went through a teacher.
    Images {
        /// The teacher.
        teacher: &'a str,
        /// Images done in this build.
        done: u64,
        /// Images that this build has to do.
        total: u64,
    },
}

/// What a build did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Built {
    /// Shards written now.
    pub shards: usize,
    /// Images that went through a teacher now.
    pub images: u64,
    /// After the build of a share: those that still have something to build, `3/8`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_shares: Vec<String>,
}

impl CachePlan<'_> {
    /// Builds what is missing. First the plain images, so that a teacher near chance is reported
    /// before the long part; then the views.
    ///
    /// `stop` ends the build after the current batch; finished shards are kept. Of a
    /// [share](CachePlan::with_share) its shards alone are built; what teachers are worth is measured
    /// by whoever finds all plain images there.
    ///
    /// # Errors
    /// When another process builds this cache, a teacher is near chance or gives values that do
    /// not fit the type, the build is stopped, or a file cannot be written.
    pub fn build(
        self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(CacheEvent<'_>),
    ) -> Result<Built> {
        if self.is_complete() {
            return Ok(Built::default());
        }
        if !self.share.is_whole() {
            return self.build_share(stop, observe);
        }
        let folder = self.folder.clone();
        let _lock = FolderLock::take(&folder, WHAT)?;
        // What another process finished before the lock was ours is there now.
        let plan = self.again()?;
        plan.check_kernels()?;
        plan.write_manifest()?;
        plan.remove_partial();
        let mut build = Build::new(&plan, stop)?;
        build.plain(observe)?;
        plan.check_quality()?;
        build.views(observe)?;
        Ok(build.built)
    }

    /// The same of one share, while others build theirs.
    fn build_share(
        self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(CacheEvent<'_>),
    ) -> Result<Built> {
        let (share, folder) = (self.share, self.folder.clone());
        let lock = FolderLock::take_part(&folder, [share.index() + 1, share.count()], WHAT)?;
        let plan = {
            // Of two recipes with other teachers, the second sees those of the first.
            let _alone = lock.wait_among_parts(&folder)?;
            let plan = self.again()?;
            plan.check_kernels()?;
            plan.write_manifest()?;
            plan
        };
        let mut build = Build::new(&plan, stop)?;
        build.plain(observe)?;
        // Whoever comes last sees all plain images.
        if plan.again()?.has_all_plain() {
            plan.check_quality()?;
        }
        build.views(observe)?;
        let mut built = build.built;
        let after = plan.again()?;
        built.missing_shares = after.missing_shares().iter().map(ToString::to_string).collect();
        drop(lock);
        if after.is_complete()
            && let Ok(_lock) = FolderLock::take(&folder, WHAT)
        {
            // What shares that were killed left.
            after.remove_partial();
        }
        Ok(built)
    }

    /// As the folder is now.
    fn again(&self) -> Result<Self> {
        let plan = Self::new(self.recipe, self.needs.clone(), self.dataset, self.data.clone())?;
        Ok(plan.with_share(self.share))
    }

    fn write_manifest(&self) -> Result<()> {
        if !self.written {
            self.samples.write(&self.folder)?;
            self.manifest.write(&self.folder)?;
        }
        Ok(())
    }

    /// Whether all records of plain images are there.
    fn has_all_plain(&self) -> bool {
        let mut sets = self.teachers.iter().flat_map(|teacher| &teacher.sets);
        sets.all(|set| set.kind != Kind::Plain || set.missing.is_empty())
    }

    /// Removes what a builder that was killed had begun; for whoever has the folder alone.
    fn remove_partial(&self) {
        for teacher in &self.teachers {
            for set in &teacher.sets {
                files::remove_partial(&self.set_folder(&teacher.name, set.kind));
            }
            files::remove_partial(&self.teacher_folder(&teacher.name));
        }
    }

    /// Records of one teacher come from one kind of kernels.
    fn check_kernels(&self) -> Result<()> {
        for teacher in &self.teachers {
            let here = precision_of(teacher.identity.precision).kernels();
            let there = &self.manifest.teachers[&teacher.name].kernels;
            if there != here && self.images(teacher) > 0 {
                return Err(TeacherError::CacheMismatch {
                    path: self.folder.clone(),
                    field: format!("the kernels that compute teacher `{}`", teacher.name),
                    cache: there.clone(),
                    recipe: format!("{here} on this machine"),
                });
            }
        }
        Ok(())
    }

    /// Stops at a teacher that knows next to nothing, as a run would.
    fn check_quality(&self) -> Result<()> {
        if self.needs.class_space == ClassSpace::Teacher {
            return Ok(());
        }
        let mut teachers: Vec<Teacher> = self.sources().into_iter().map(|(own, _)| own).collect();
        measure_teachers(self.recipe, self.dataset.classes(), &self.data, &mut teachers)?;
        Ok(())
    }
}

/// What two processes would both do in the folder.
const WHAT: &str = "builds";

/// A build at work.
struct Build<'p> {
    plan: &'p CachePlan<'p>,
    collator: Collator,
    stop: &'p AtomicBool,
    built: Built,
    total: u64,
}

impl<'p> Build<'p> {
    fn new(plan: &'p CachePlan<'p>, stop: &'p AtomicBool) -> Result<Self> {
        Ok(Self {
            total: plan.teachers.iter().map(|teacher| plan.images(teacher)).sum(),
            collator: plan.collator()?,
            plan,
            stop,
            built: Built::default(),
        })
    }

    /// Folders and classifiers, and the records of plain images.
    fn plain(&mut self, observe: &mut dyn FnMut(CacheEvent<'_>)) -> Result<()> {
        let plan = self.plan;
        plan.teachers.iter().try_for_each(|teacher| {
            self.prepare(teacher)?;
            self.sets(teacher, true, observe)
        })
    }

    /// The records of views.
    fn views(&mut self, observe: &mut dyn FnMut(CacheEvent<'_>)) -> Result<()> {
        let plan = self.plan;
        plan.teachers.iter().try_for_each(|teacher| self.sets(teacher, false, observe))
    }

    /// Folders and classifier of a teacher.
    fn prepare(&self, teacher: &TeacherPlan) -> Result<()> {
        for set in &teacher.sets {
            let folder = self.plan.set_folder(&teacher.name, set.kind);
            files::create_inside(&self.plan.folder, &folder).map_err(failed("create", &folder))?;
        }
        if teacher.classifier_missing
            && let Some(classifier) = self.plan.load(teacher.index, &[])?.source.classifier()
        {
            write_classifier(&self.plan.classifier_path(&teacher.name), &classifier)?;
        }
        Ok(())
    }

    /// The missing shards of one teacher: those of plain images, or those of views.
    fn sets(
        &mut self,
        teacher: &TeacherPlan,
        plain: bool,
        observe: &mut dyn FnMut(CacheEvent<'_>),
    ) -> Result<()> {
        let sets: Vec<&SetPlan> = teacher
            .sets
            .iter()
            .filter(|set| (set.kind == Kind::Plain) == plain)
            .filter(|set| self.plan.own_missing(teacher, set).next().is_some())
            .collect();
        let mut blocks: Vec<usize> =
            sets.iter().flat_map(|set| self.plan.own_missing(teacher, set)).collect();
        blocks.sort_unstable();
        blocks.dedup();
        if blocks.is_empty() {
            return Ok(());
        }
        let taps: Vec<Tap> = sets.iter().filter_map(|set| tap_of(set)).collect();
        let mut source = self.plan.load(teacher.index, &taps)?.source;
        for block in blocks {
            let sets: Vec<&SetPlan> =
                sets.iter().copied().filter(|set| set.missing.contains(&block)).collect();
            self.shards(teacher, source.as_mut(), &sets, block, observe)?;
        }
        Ok(())
    }

    /// One block: a shard of each of `sets`.
    fn shards(
        &mut self,
        teacher: &TeacherPlan,
        source: &mut dyn TeacherSource,
        sets: &[&SetPlan],
        block: usize,
        observe: &mut dyn FnMut(CacheEvent<'_>),
    ) -> Result<()> {
        let plan = self.plan;
        let Some(first) = sets.first() else { return Ok(()) };
        let plain = first.kind == Kind::Plain;
        let views = first.layout.views;
        let ids = plan.block(first.kind, block);
        let taps: Vec<Tap> = sets.iter().filter_map(|set| tap_of(set)).collect();
        let mut writers = Vec::new();
        for set in sets {
            let path = shard_path(&plan.set_folder(&teacher.name, set.kind), block);
            writers.push(ShardWriter::create(path, &set.layout, ids)?);
        }
        let largest = sets.iter().map(|set| set.layout.values() * views * size_of::<f32>()).max();
        let samples = (GATHERED_BYTES / largest.unwrap_or(1).max(1)).clamp(1, BATCH);
        let mut gathered = vec![Vec::new(); sets.len()];
        for ids in ids.chunks(samples) {
            for view in 0..views {
                if self.stop.load(Ordering::Relaxed) {
                    return Err(TeacherError::CacheStopped { path: plan.folder.clone() });
                }
                let seen = if plain { View::Plain } else { View::Train(view as u32) };
                let inputs = self.collator.collate(ids, seen)?;
                let batch = TeacherBatch { ids, view: seen, inputs: inputs.view() };
                let outputs = source.outputs(&batch, &taps)?;
                let mut maps = outputs.maps.iter();
                for (set, gathered) in sets.iter().zip(&mut gathered) {
                    let values = match tap_of(set) {
                        Some(_) => maps.next().expect("one map for each tap"),
                        None => &outputs.logits,
                    };
                    scatter(values, set.layout.values(), view, views, gathered);
                }
                self.built.images += ids.len() as u64;
                observe(CacheEvent::Images {
                    teacher: &teacher.name,
                    done: self.built.images,
                    total: self.total,
                });
            }
            for (writer, gathered) in writers.iter_mut().zip(&gathered) {
                writer.push(&teacher.name, gathered)?;
            }
        }
        for writer in writers {
            writer.finish()?;
            self.built.shards += 1;
        }
        Ok(())
    }
}

fn tap_of(set: &SetPlan) -> Option<Tap> {
    match set.kind {
        Kind::Tap(tap) => Some(tap),
        Kind::Plain | Kind::Logits => None,
    }
}

/// Puts `[samples, values]` of one view into `[samples, views, values]`.
fn scatter(from: &[f32], values: usize, view: usize, views: usize, to: &mut Vec<f32>) {
    to.resize(from.len() * views, 0.0);
    for (from, to) in from.chunks_exact(values).zip(to.chunks_exact_mut(values * views)) {
        to[view * values..(view + 1) * values].copy_from_slice(from);
    }
}
