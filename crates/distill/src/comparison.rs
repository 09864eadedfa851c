//! Several methods on the same seeds, data, views and budget, with an honest verdict.
//!
//! ```text
//! Recipe -> CheckedComparison -> (cache) -> run -> Comparison
//! OUT/METHOD/seedN        one run folder a student
//! ```
//! At one seed all methods share the student's first weights, the order of the samples and the
//! views. With `data.views` all seeds share the views too (`data.view_seed` becomes the recipe's
//! seed), so that each teacher runs once over each view, for all students together.
//!
//! Students of seed 1 come first, then those of seed 2: what is there after an interruption can be
//! compared. Starting again goes on: a finished run of the same recipe is kept, the one that was
//! interrupted goes on from its checkpoint.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_data::Dataset;

use crate::cache::{self, check_maps, taps_of_methods};
use crate::checkpoint::Identity;
use crate::earlier_run::{Found, find_run};
use crate::error::{Error, Result};
use crate::heads::{self, HeadsEvent, HeadsPlan};
use crate::methods::{self, all as all_methods};
use crate::recipe::{self, CacheDtype, Method, Recipe, method_warm_ups};
use crate::record::{RunCard, TeacherCard};
use crate::run::CheckedRun;
use crate::run_folder::{RunFolder, Start};
use crate::train::{Event, train};
use faculty_comm::Share;
use faculty_contract::{ClassSpace, needs_of_run};
use faculty_files::{FolderLock, LockError};
use faculty_teachers::TeacherPool;
use faculty_teachers::cache::CachePlan;

mod table;

pub use faculty_records::comparison::{
    ComparedRun, Comparison, ComparisonRow, MethodNote, Sequential, Single, Spread, TeacherRow,
};
pub use faculty_records::statistics::SIGNIFICANCE;

/// What two processes would both do in the folder.
const WHAT: &str = "compares in";

/// The student alone: in every comparison.
const ALONE: &str = "ce";
/// The reference, where it takes part: teachers, and no judgement about them.
const AVERAGE: &str = "aver";

/// How methods are compared.
#[derive(Clone, Debug)]
pub struct ComparisonPlan {
    /// Folder for the run folders.
    pub folder: PathBuf,
    /// Names of methods; none means all that fit. `ce` takes part in any case.
    pub methods: Option<Vec<String>>,
    /// Seeds: that of the recipe and the ones after it.
    pub seeds: usize,
    /// What the others are compared with; `aver` if it takes part, otherwise `ce`.
    pub against: Option<String>,
    /// Chance of any wrong verdict, when no method differs: [`SIGNIFICANCE`], or what one of several looks
    /// may spend of it (`statistics::Look`).
    pub level: f64,
    /// Begin anew: remove the planned runs that are there.
    pub overwrite: bool,
}

/// A run of a comparison that is not finished.
#[derive(Clone, Debug)]
pub struct MissingRun {
    /// `METHOD/seedN`.
    pub name: String,
    /// What it trains.
    pub recipe: Recipe,
    /// Its run folder.
    pub folder: PathBuf,
    /// Whether it goes on from a checkpoint.
    pub begun: bool,
}

/// A comparison in which every method can run; nothing has been written yet.
pub struct CheckedComparison<'a> {
    recipe: Recipe,
    /// The same with the teachers of all methods together.
    widest: Recipe,
    dataset: &'a Dataset,
    plan: ComparisonPlan,
    methods: Vec<Compared>,
    left_out: Vec<MethodNote>,
    reference: String,
    pool: TeacherPool,
    /// Which of its runs this process trains.
    share: Share,
    /// Of its folder, once it was asked for.
    lock: Option<FolderLock>,
}

/// What a process leaves that trained a share of a comparison's runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareOfRuns {
    /// Runs of this share; all are finished.
    pub own: usize,
    /// Runs of all shares that are not finished.
    pub missing: Vec<String>,
    /// The shares that those belong to.
    pub missing_shares: Vec<Share>,
}

/// A method that takes part.
struct Compared {
    method: Method,
    /// The recipe's teachers with the heads that this method mounts.
    mounted: Vec<recipe::Teacher>,
    /// Its teachers as they were loaded.
    teachers: Vec<TeacherCard>,
    /// Why it cannot learn from the cache of the others, if there is one and it cannot.
    live: Option<String>,
}

impl<'a> CheckedComparison<'a> {
    /// Checks everything that can be checked before the first run: methods, teachers, networks,
    /// batches, the reference, and what is already in the folder.
    ///
    /// # Errors
    /// When a named method is unknown or cannot run, the folder holds runs of another recipe, or as
    /// [`CheckedRun::new`].
    pub fn new(recipe: &Recipe, dataset: &'a Dataset, plan: ComparisonPlan) -> Result<Self> {
        if let Some(plan) = &recipe.plan {
            return Err(Error::Planned { kind: plan.kind.name() });
        }
        let mut recipe = recipe.clone();
        if recipe.data.views.is_some() && recipe.data.view_seed.is_none() {
            recipe.data.view_seed = Some(recipe.seed);
        }
        let all = plan.methods.is_none();
        let mut methods = candidates(&recipe, plan.methods.as_deref());
        let mut left_out = Vec::new();
        let mut fit = |method: &Method| -> Result<bool> {
            let checked = with_method(&recipe, method, recipe.seed).check(&methods::specs());
            match checked {
                Err(error) if all && method.name != ALONE => {
                    let reason =
                        error.problems.first().map_or_else(String::new, |p| p.what.clone());
                    left_out.push(MethodNote { method: method.name.clone(), reason });
                    Ok(false)
                }
                checked => Ok(checked.map(|()| true)?),
            }
        };
        let mut known = Vec::new();
        for method in methods {
            if fit(&method)? {
                known.push(method);
            }
        }
        methods = known;
        let reference = reference(&plan, &methods)?;

        // Of the networks themselves, so that this does not wait for a cache.
        let mut pool = TeacherPool::of_taps(taps_of_methods(&methods, recipe.train.epochs)?);
        let mut compared = Vec::new();
        for method in methods {
            match check(&recipe, &method, dataset, &mut pool) {
                Ok((mounted, teachers)) => {
                    compared.push(Compared { method, mounted, teachers, live: None });
                }
                Err(error) if all && method.name != reference && is_incompatible(&error) => {
                    left_out.push(MethodNote { method: method.name, reason: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        if compared.len() < 2 {
            return Err(Error::NothingToCompare { reference });
        }
        if recipe.cache.is_some() {
            mark_live(&mut compared, recipe.train.epochs)?;
        }
        let mounted = compared.iter().map(|own| &own.mounted).max_by_key(|own| own.len());
        let teachers = mounted.cloned().unwrap_or_default();
        let widest = Recipe { teachers, ..recipe.clone() };
        let own = Self {
            recipe,
            widest,
            dataset,
            plan,
            methods: compared,
            left_out,
            reference,
            pool,
            share: Share::WHOLE,
            lock: None,
        };
        if !own.plan.overwrite {
            own.found()?;
        }
        Ok(own)
    }

    /// Of which this process trains only some runs; others train theirs at the same time or at another,
    /// in the same folder. The runs are dealt out in turn.
    #[must_use]
    pub fn with_share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }

    /// Names of the methods, in the order of the table.
    #[must_use]
    pub fn methods(&self) -> Vec<&str> {
        self.methods.iter().map(|own| own.method.name.as_str()).collect()
    }

    /// In a comparison of all methods, those that cannot run here.
    #[must_use]
    pub fn left_out(&self) -> &[MethodNote] {
        &self.left_out
    }

    /// Methods that cannot learn from the cache of the others: their teachers run beside them.
    #[must_use]
    pub fn live(&self) -> Vec<MethodNote> {
        let live = |own: &Compared| {
            let reason = own.live.clone()?;
            Some(MethodNote { method: own.method.name.clone(), reason })
        };
        self.methods.iter().filter_map(live).collect()
    }

    /// Methods that never come to their full strength, since their published warm-up is as long as the
    /// runs; also those that do because the recipe has a shorter one.
    #[must_use]
    pub fn warming_up(&self) -> Vec<MethodNote> {
        let notes = |own: &Compared| {
            let recipe = with_method(&self.recipe, &own.method, self.recipe.seed);
            let method = own.method.name.clone();
            method_warm_ups(&recipe, &methods::specs())
                .into_iter()
                .filter_map(|warm_up| warm_up.too_long_as_published())
                .map(move |reason| MethodNote { method: method.clone(), reason })
        };
        self.methods.iter().flat_map(notes).collect()
    }

    /// Methods of one teacher in a comparison with several: they learn from the recipe's first.
    #[must_use]
    pub fn single(&self) -> Option<Single> {
        let [first, _, ..] = self.recipe.teachers.as_slice() else { return None };
        let own = self.methods.iter().filter(|own| single_teacher(&own.method));
        let methods: Vec<String> = own.map(|own| own.method.name.clone()).collect();
        (!methods.is_empty()).then(|| Single { teacher: first.name.clone(), methods })
    }

    /// What the others are compared with.
    #[must_use]
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Makes the folder this process's own, or its share of the runs there, until the comparison is done.
    ///
    /// # Errors
    /// [`Error::Folder`], and when it cannot be written.
    pub fn lock(&mut self) -> Result<()> {
        let (folder, share) = (&self.plan.folder, self.share);
        if self.lock.is_none() {
            self.lock = Some(match share.is_whole() {
                true => FolderLock::take(folder, WHAT)?,
                false => FolderLock::take_part(folder, [share.index() + 1, share.count()], WHAT)?,
            });
        }
        Ok(())
    }

    /// The runs of this process whose folders other programs are writing.
    ///
    /// # Errors
    /// When a lock cannot be looked at.
    pub fn written_by_others(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for (at, seed) in self.own_order() {
            match RunFolder::at(&self.run_folder(at, seed)).check_lock() {
                Ok(()) => {}
                Err(Error::Folder(LockError::Held { .. })) => {
                    names.push(self.run_name(at, seed));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(names)
    }

    /// Number of runs of this process, and how many of them are finished already.
    ///
    /// # Errors
    /// When a run folder holds another run or is damaged.
    pub fn runs(&self) -> Result<(usize, usize)> {
        let order = self.own_order();
        if self.plan.overwrite {
            return Ok((order.len(), 0));
        }
        let mut finished = 0;
        for &(at, seed) in &order {
            finished += usize::from(matches!(self.found_at(at, seed)?, Found::Finished(_)));
        }
        Ok((order.len(), finished))
    }

    /// The cache of all methods and seeds, if the recipe has one, of which this process builds its
    /// share; it must be complete before
    /// [`CheckedComparison::run`].
    ///
    /// # Errors
    /// As [`cache::plan_for_methods`].
    pub fn cache(&self) -> Result<Option<CachePlan<'_>>> {
        let cached = |own: &&Compared| !own.teachers.is_empty() && own.live.is_none();
        let methods = self.methods.iter().filter(cached).map(|own| own.method.clone());
        let methods: Vec<Method> = methods.collect();
        if self.recipe.cache.is_none() || methods.is_empty() {
            return Ok(None);
        }
        let plan = cache::plan_for_methods(&self.widest, &methods, self.dataset)?;
        Ok(Some(plan.with_share(self.share)))
    }

    /// Removes earlier runs, if they are to be replaced; they are not removed a second time.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn clear(&mut self) -> Result<()> {
        if std::mem::take(&mut self.plan.overwrite) {
            for (at, seed) in self.own_order() {
                RunFolder::open(&self.run_folder(at, seed), Start::Overwrite)?;
            }
        }
        Ok(())
    }

    /// The runs of this process that are not finished, for programs that train several at a time: each one is an
    /// ordinary run of its recipe in its folder, and [`CheckedComparison::run`] finds it finished.
    ///
    /// # Errors
    /// When a run folder holds another run or is damaged.
    pub fn missing(&self) -> Result<Vec<MissingRun>> {
        let mut missing = Vec::new();
        for (at, seed) in self.own_order() {
            let begun = match self.found_at(at, seed)? {
                Found::Finished(_) => continue,
                found => matches!(found, Found::Split),
            };
            missing.push(MissingRun {
                name: self.run_name(at, seed),
                recipe: self.own(at, seed),
                folder: self.run_folder(at, seed),
                begun,
            });
        }
        Ok(missing)
    }

    /// Trains what is missing and compares; `observe` gets each run's name with its events.
    ///
    /// # Errors
    /// [`Error::ComparisonStopped`] when `stop` was set; [`Error::RunOfComparison`];
    /// [`Error::Folder`].
    pub fn run(
        mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, Event<'_>),
    ) -> Result<Comparison> {
        // Without the heads that some methods mount on them.
        let names: Vec<String> = self.recipe.teachers.iter().map(|own| own.name.clone()).collect();
        let report = self.pool.report_of(&names).cloned();
        self.share = Share::WHOLE;
        let cards = self.train_own(stop, observe)?;
        Ok(self.summary(&cards, report.as_ref()))
    }

    /// Trains what is missing of this process's share, and says what others still have to train; the
    /// comparison itself is made by [`CheckedComparison::run`] when all is there.
    ///
    /// # Errors
    /// As [`CheckedComparison::run`].
    pub fn run_share(
        mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, Event<'_>),
    ) -> Result<ShareOfRuns> {
        self.train_own(stop, observe)?;
        let (mut missing, mut missing_shares) = (Vec::new(), Vec::new());
        for (number, (at, seed)) in self.order().into_iter().enumerate() {
            if !matches!(self.found_at(at, seed)?, Found::Finished(_)) {
                missing.push(self.run_name(at, seed));
                missing_shares.extend(self.share.owner(number));
            }
        }
        missing_shares.sort_unstable_by_key(|share: &Share| share.index());
        missing_shares.dedup();
        Ok(ShareOfRuns { own: self.own_order().len(), missing, missing_shares })
    }

    /// Trains what is missing of this process's runs; the cards of all of them, by method.
    fn train_own(
        &mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, Event<'_>),
    ) -> Result<Vec<Vec<RunCard>>> {
        self.lock()?;
        self.clear()?;
        let rounded = self.recipe.cache.as_ref().is_some_and(|own| own.dtype == CacheDtype::F16);
        let of = |live: bool| {
            let own = self.methods.iter().filter(|own| own.live.is_some() == live);
            let methods: Vec<Method> = own.map(|own| own.method.clone()).collect();
            let taps = taps_of_methods(&methods, self.recipe.train.epochs)?;
            Ok::<_, Error>(TeacherPool::of_taps(taps))
        };
        // Apart, since a cache may round what its teachers say.
        let (mut pool, mut live) = (of(false)?, of(true)?);
        if !rounded {
            // What a cache of whole precision keeps was measured already.
            pool.take_reports(&mut self.pool);
        }
        // Lets go of the networks that a cache stands in for.
        self.pool = TeacherPool::default();

        let mut cards: Vec<Vec<RunCard>> = self.methods.iter().map(|_| Vec::new()).collect();
        let order = self.own_order();
        let runs = order.len();
        for (done, (at, seed)) in order.into_iter().enumerate() {
            let path = self.plan.folder.clone();
            if stop.load(Ordering::Relaxed) {
                return Err(Error::ComparisonStopped { path, done, runs });
            }
            let found = self.found_at(at, seed)?;
            let start = match found {
                Found::Finished(card) => {
                    cards[at].push(*card);
                    continue;
                }
                Found::Split => Start::Resume,
                Found::Nothing => Start::Overwrite,
            };
            let run = self.run_name(at, seed);
            let pool = if self.methods[at].live.is_some() { &mut live } else { &mut pool };
            let trained =
                CheckedRun::sharing(&self.own(at, seed), self.dataset, pool).and_then(|checked| {
                    let folder = self.run_folder(at, seed);
                    train(checked, &folder, start, stop, &mut |event| observe(&run, event))
                });
            match trained {
                // As it is written, so that a comparison that goes on reads the same digits.
                Ok(card) => {
                    let written = RunFolder::at(&self.run_folder(at, seed)).card()?;
                    cards[at].push(written.unwrap_or(card));
                }
                Err(Error::Interrupted { .. }) => {
                    return Err(Error::ComparisonStopped { path, done, runs });
                }
                Err(source) => {
                    return Err(Error::RunOfComparison { run, source: Box::new(source) });
                }
            }
        }
        Ok(cards)
    }

    /// All runs as method and seed, in the order in which they are trained.
    fn order(&self) -> Vec<(usize, u64)> {
        (0..self.plan.seeds as u64)
            .flat_map(|k| (0..self.methods.len()).map(move |at| (at, self.recipe.seed + k)))
            .collect()
    }

    /// Those of this process.
    fn own_order(&self) -> Vec<(usize, u64)> {
        let all = self.order().into_iter().enumerate();
        all.filter(|(number, _)| self.share.has(*number)).map(|(_, run)| run).collect()
    }

    fn run_name(&self, at: usize, seed: u64) -> String {
        format!("{}/seed{seed}", self.methods[at].method.name)
    }

    fn run_folder(&self, at: usize, seed: u64) -> PathBuf {
        let folder: &Path = &self.plan.folder;
        folder.join(&self.methods[at].method.name).join(format!("seed{seed}"))
    }

    /// The recipe of one run.
    fn own(&self, at: usize, seed: u64) -> Recipe {
        let Compared { method, mounted, live, .. } = &self.methods[at];
        let mut own = with_method(&self.recipe, method, seed);
        own.teachers.clone_from(mounted);
        if live.is_some() {
            own.cache = None;
        }
        own
    }

    fn found(&self) -> Result<Vec<Found>> {
        self.order().into_iter().map(|(at, seed)| self.found_at(at, seed)).collect()
    }

    fn found_at(&self, at: usize, seed: u64) -> Result<Found> {
        let own = self.own(at, seed);
        let identity = Identity::of(&own, &self.methods[at].teachers, self.dataset.fingerprint())?;
        find_run(&RunFolder::at(&self.run_folder(at, seed)), &identity, own.train.epochs)
    }
}

/// The methods that are asked for, `ce` first, each once. The recipe's own method keeps its options.
fn candidates(recipe: &Recipe, named: Option<&[String]>) -> Vec<Method> {
    let all = || all_methods().into_iter().map(|info| info.spec.name.to_owned()).collect();
    let mut names: Vec<String> = named.map_or_else(all, <[String]>::to_vec);
    names.insert(0, ALONE.to_owned());
    let mut methods: Vec<Method> = Vec::new();
    for name in names {
        if methods.iter().any(|own| own.name == name) {
            continue;
        }
        methods.push(match methods::find(&name) {
            _ if name == recipe.method.name => recipe.method.clone(),
            Some(info) => Method::for_student(&info.spec, &recipe.student.network),
            // The recipe's check tells the nearest name.
            None => Method { name, ..Method::default() },
        });
    }
    methods
}

fn reference(plan: &ComparisonPlan, methods: &[Method]) -> Result<String> {
    let names = || methods.iter().map(|own| own.name.clone());
    match &plan.against {
        Some(name) if names().any(|own| own == *name) => Ok(name.clone()),
        Some(name) => {
            Err(Error::UnknownReference { name: name.clone(), methods: names().collect() })
        }
        None if names().any(|own| own == AVERAGE) => Ok(AVERAGE.to_owned()),
        None => Ok(ALONE.to_owned()),
    }
}

/// A method of one teacher gets the recipe's first.
fn with_method(recipe: &Recipe, method: &Method, seed: u64) -> Recipe {
    let mut own = Recipe { seed, method: method.clone(), ..recipe.clone() };
    if single_teacher(method) {
        own.teachers.truncate(1);
    }
    own
}

fn single_teacher(method: &Method) -> bool {
    let info = methods::find(&method.name);
    info.is_some_and(|info| info.spec.max_teachers == Some(1))
}

/// Says of those methods that cannot learn from the cache of the others why.
fn mark_live(compared: &mut [Compared], epochs: usize) -> Result<()> {
    let kind = |own: &Compared| {
        let method = methods::build(&own.method)?;
        let learns = needs_of_run(method.as_ref(), epochs).learning_teachers;
        Ok((own.teachers.is_empty(), learns, method.setup().class_space))
    };
    let kinds = compared.iter().map(kind).collect::<Result<Vec<_>>>()?;
    let shared = kinds.contains(&(false, false, ClassSpace::Dataset));
    for (own, kind) in compared.iter_mut().zip(kinds) {
        own.live = match kind {
            (false, true, _) => Some("it trains its teachers".to_owned()),
            (false, false, ClassSpace::Teacher) if shared => {
                Some("it reads the teachers' logits over their own classes".to_owned())
            }
            _ => None,
        };
    }
    Ok(())
}

/// Trains the heads that the methods of a comparison mount, before it is checked. What cannot be
/// mounted is reported by [`CheckedComparison::new`].
///
/// # Errors
/// As [`heads::mount`].
pub fn mount_heads(
    recipe: &Recipe,
    dataset: &Dataset,
    plan: &ComparisonPlan,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(HeadsEvent<'_>),
) -> Result<()> {
    for method in candidates(recipe, plan.methods.as_deref()) {
        let own = with_method(recipe, &method, recipe.seed);
        if let Ok(plan) = HeadsPlan::new(&own, dataset) {
            plan.train(stop, observe)?;
        }
    }
    Ok(())
}

/// Builds one run of a method and gives its teachers, as recipes say them and as they were loaded.
fn check(
    recipe: &Recipe,
    method: &Method,
    dataset: &Dataset,
    pool: &mut TeacherPool,
) -> Result<(Vec<recipe::Teacher>, Vec<TeacherCard>)> {
    if let Some(recipe::Cache { maps, .. }) = &recipe.cache {
        check_maps(method, recipe.train.epochs, *maps)?;
    }
    let mut own = with_method(recipe, method, recipe.seed);
    // Before the views are left out, on which heads depend.
    own = heads::mounted(&own, dataset)?;
    let mounted = own.teachers.clone();
    own.cache = None;
    own.data.views = None;
    Ok((mounted, CheckedRun::sharing(&own, dataset, pool)?.card().teachers.clone()))
}

/// Whether the method cannot run with these networks and settings, and another one may.
fn is_incompatible(error: &Error) -> bool {
    matches!(
        error,
        Error::MissingPart { .. }
            | Error::Batches { .. }
            | Error::Method(_)
            | Error::FixedTeacher { .. }
            | Error::NoTaskLoss { .. }
            | Error::OneLabel { .. }
            | Error::NeedsValidation { .. }
            | Error::NeedsLabels { .. }
            | Error::ImagesOnly { .. }
            | Error::NoSecondTraining { .. }
            | Error::NoPlaceForHeads { .. }
            | Error::NoClassCost { .. }
            | Error::HeadMissing { .. }
            | Error::CacheMaps { .. }
    )
}
