//! Teachers that several runs share, one run after another: each is loaded and measured once, and
//! with `data.views` what it said of a view is known to all of them.

use std::sync::{Arc, Mutex, MutexGuard};

use faculty_nets::MapShape;

use faculty_contract::ClassSpace;

use crate::run_data::RunData;

use crate::error::Result;
use crate::memory_cached::{MemoryCachedTeacher, bytes_needed};
use crate::preflight::Report;
use crate::source::Teacher;
use crate::source::{TeacherBatch, TeacherSource};
use faculty_nets::Tap;
use faculty_nets::{FrozenClassifier, TeacherOutputs};
use faculty_records::run::TeacherCard;

/// Teacher outputs are kept in memory when a run repeats its views and they take no more than this.
pub const KEEP_IN_MEMORY_BYTES: usize = 2 << 30;

/// Teachers of runs that share data, normalisation and views.
#[derive(Default)]
pub struct TeacherPool {
    /// What the runs read of the teachers, all of them together.
    taps: Vec<Tap>,
    loaded: Vec<(TeacherCard, ClassSpace, Shared)>,
    reports: Vec<(Vec<String>, Option<Report>)>,
}

impl TeacherPool {
    /// A pool of runs that read these taps beside those of the first run.
    pub fn of_taps(taps: Vec<Tap>) -> Self {
        Self { taps, ..Self::default() }
    }

    /// Adds to what the runs read.
    pub fn taps(&mut self, taps: &[Tap]) -> &[Tap] {
        self.taps.extend(taps);
        self.taps.sort_unstable();
        self.taps.dedup();
        &self.taps
    }

    /// A teacher that an earlier run loaded.
    pub fn get(&self, name: &str, class_space: ClassSpace) -> Option<(Teacher, TeacherCard)> {
        let same =
            |own: &&(TeacherCard, ClassSpace, Shared)| own.0.name == name && own.1 == class_space;
        let (card, _, source) = self.loaded.iter().find(same)?;
        let source = Box::new(source.clone());
        Some((Teacher { name: name.to_owned(), source }, card.clone()))
    }

    /// What is known of these teachers: they are measured by the first run that has them.
    ///
    /// # Errors
    /// What `measure` gives.
    pub fn report(
        &mut self,
        names: &[String],
        measure: impl FnOnce() -> Result<Option<Report>>,
    ) -> Result<Option<Report>> {
        if let Some((_, report)) = self.reports.iter().find(|(known, _)| known == names) {
            return Ok(report.clone());
        }
        let report = measure()?;
        self.reports.push((names.to_vec(), report.clone()));
        Ok(report)
    }

    /// Takes over what another pool knows of the same teachers.
    pub fn take_reports(&mut self, other: &mut Self) {
        self.reports.append(&mut other.reports);
    }

    /// The report of these teachers; of most teachers, where no run had just these.
    pub fn report_of(&self, names: &[String]) -> Option<&Report> {
        let just = self.reports.iter().find(|(known, _)| known == names);
        let widest = || self.reports.iter().max_by_key(|(known, _)| known.len());
        just.or_else(widest).and_then(|(_, report)| report.as_ref())
    }

    /// Keeps the teachers of a run for the next ones; with a number of views each view of each
    /// sample is computed once, where memory allows. Also gives the bytes that this can take.
    pub fn keep(
        &mut self,
        teachers: Vec<Teacher>,
        cards: &[TeacherCard],
        data: &RunData,
        views: Option<u32>,
        class_space: ClassSpace,
    ) -> (Vec<Teacher>, usize) {
        let samples = views.map(|views| data.train.len().saturating_mul(views as usize));
        let bytes = |teacher: &Teacher| {
            samples.map_or(0, |samples| bytes_needed(&*teacher.source, &self.taps, samples))
        };
        let all = teachers.iter().map(bytes).fold(0, usize::saturating_add);
        let in_memory = samples.is_some() && all <= KEEP_IN_MEMORY_BYTES;
        let (mut kept, mut new) = (Vec::new(), 0);
        for (teacher, card) in teachers.into_iter().zip(cards) {
            if let Some((known, _)) = self.get(&teacher.name, class_space) {
                kept.push(known);
                continue;
            }
            new += if in_memory { bytes(&teacher) } else { 0 };
            let Teacher { name, source } = teacher;
            let source: Box<dyn TeacherSource> = if in_memory {
                Box::new(MemoryCachedTeacher::new(source).with_taps(self.taps.clone()))
            } else {
                source
            };
            let own = Shared(Arc::new(Mutex::new(source)));
            self.loaded.push((card.clone(), class_space, own.clone()));
            kept.push(Teacher { name, source: Box::new(own) });
        }
        (kept, new)
    }
}

/// One source for several runs, one after another.
#[derive(Clone)]
struct Shared(Arc<Mutex<Box<dyn TeacherSource>>>);

impl Shared {
    fn source(&self) -> MutexGuard<'_, Box<dyn TeacherSource>> {
        self.0.lock().expect("a run that panicked is not followed by another")
    }
}

impl TeacherSource for Shared {
    fn classes(&self) -> usize {
        self.source().classes()
    }

    fn tap_shape(&self, tap: Tap) -> Option<MapShape> {
        self.source().tap_shape(tap)
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        self.source().classifier()
    }

    fn is_lookup(&self) -> bool {
        self.source().is_lookup()
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, taps: &[Tap]) -> Result<TeacherOutputs> {
        self.source().outputs(batch, taps)
    }
}
