//! Several methods, or several settings of one recipe, on the same seeds and texts, with an honest verdict.
//!
//! ```text
//! ComparedRecipes (methods, or settings) → CheckedLanguageComparison → run → LanguageComparison
//! OUT/NAME/seedN        one run folder a student
//! ```
//! At one seed all have the student's first weights and the windows of the training text in common.
//! Students of the first seed come first: what is there after an interruption can be compared. Starting
//! again goes on: a finished run of the same recipe is kept, one that was interrupted goes on from its
//! checkpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_comm::Share;
use faculty_files::{FolderLock, LockError};
use faculty_recipe::LanguageRecipe;
use faculty_records::comparison::{MethodNote, Single};
use faculty_records::language_comparison::LanguageComparison;
use faculty_records::language_run::{LanguageCard, LanguageModelEntry};

use crate::run::{
    CheckedLanguageRun, FoundRun, LanguageEvent, LanguageStart, Measurements, clear_run, find_run,
    is_written, train_language,
};
use crate::run_error::RunError;

mod methods;
mod table;

pub use self::methods::ComparedRecipes;

/// What the owner of the lock does here.
const WHAT: &str = "compares in";

/// How recipes are compared.
#[derive(Clone, Debug)]
pub struct LanguageComparisonPlan {
    /// Folder for the run folders.
    pub folder: PathBuf,
    /// What is compared.
    pub recipes: ComparedRecipes,
    /// Seeds: that of the recipe and the ones after it.
    pub seeds: usize,
    /// What the others are compared with, if not what [`ComparedRecipes::reference`] says.
    pub against: Option<String>,
    /// Chance of any wrong verdict, when nothing differs.
    pub level: f64,
    /// Begin anew: remove the planned runs that are there.
    pub overwrite: bool,
}

/// A run of a comparison that is not finished.
#[derive(Clone, Debug)]
pub struct MissingLanguageRun {
    /// `NAME/seedN`.
    pub name: String,
    /// What it trains.
    pub recipe: LanguageRecipe,
    /// Its run folder.
    pub folder: PathBuf,
    /// Whether it goes on from a checkpoint.
    pub begun: bool,
}

/// What a process leaves that trained a share of a comparison's runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareOfLanguageRuns {
    /// Runs of this share; all are finished.
    pub own: usize,
    /// Runs of all shares that are not finished.
    pub missing: Vec<String>,
    /// The shares that those belong to.
    pub missing_shares: Vec<Share>,
}

/// One that takes part.
#[derive(Debug)]
struct Compared {
    name: String,
    recipe: LanguageRecipe,
    /// What its run of the first seed depends on.
    identity: BTreeMap<String, String>,
}

/// A comparison in which every recipe can run; nothing has been written yet.
#[derive(Debug)]
pub struct CheckedLanguageComparison {
    plan: LanguageComparisonPlan,
    compared: Vec<Compared>,
    left_out: Vec<MethodNote>,
    single: Option<Single>,
    reference: String,
    /// The teachers of all recipes, measured.
    teachers: Vec<LanguageModelEntry>,
    measurements: Measurements,
    notes: Vec<String>,
    share: Share,
    lock: Option<FolderLock>,
}

impl CheckedLanguageComparison {
    /// Checks everything that can be checked before the first run: recipes, texts, models, the reference,
    /// and what is already in the folder.
    ///
    /// # Errors
    /// When a recipe cannot run, there is nothing to compare by, the folder holds other runs, or as
    /// [`CheckedLanguageRun::new`].
    pub fn new(plan: LanguageComparisonPlan) -> Result<Self, RunError> {
        let reference = plan.recipes.reference(plan.against.as_deref())?;
        let measurements = Measurements::read(&plan.folder);
        let ComparedRecipes { recipes, left_out, single } = plan.recipes.clone();
        if recipes.len() < 2 {
            return Err(RunError::NothingToCompare { reference });
        }
        let mut own = Self {
            plan,
            compared: Vec::new(),
            left_out,
            single,
            reference,
            teachers: Vec::new(),
            measurements,
            notes: Vec::new(),
            share: Share::WHOLE,
            lock: None,
        };
        for (name, recipe) in recipes {
            let run = CheckedLanguageRun::with_measurements(&recipe, &own.measurements)?;
            if run.card().tokens[1..] == [0, 0] {
                return Err(RunError::Recipe {
                    what: "there is neither a validation nor a test split to compare by".to_owned(),
                    hint: "give `data.test` a share above 0",
                });
            }
            own.notes.extend(run.notes().iter().cloned());
            let identity = run.identity()?;
            own.compared.push(Compared { name, recipe, identity });
            for entry in run.teachers_on_all_splits()? {
                if own.teachers.iter().all(|known| known.name != entry.name) {
                    own.teachers.push(entry);
                }
            }
        }
        own.notes.dedup();
        if !own.plan.overwrite {
            for (at, seed) in own.order() {
                own.found(at, seed)?;
            }
        }
        Ok(own)
    }

    /// Of which this process trains only some runs; others train theirs at the same time or at another, in
    /// the same folder. The runs are dealt out in turn.
    #[must_use]
    pub fn with_share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }

    /// What is compared, in the order of the table.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.compared.iter().map(|own| own.name.as_str()).collect()
    }

    /// In a comparison of all methods, those that cannot run here.
    #[must_use]
    pub fn left_out(&self) -> &[MethodNote] {
        &self.left_out
    }

    /// Methods of one teacher in a comparison with several: they learn from the recipe's first.
    #[must_use]
    pub fn single(&self) -> Option<&Single> {
        self.single.as_ref()
    }

    /// What the others are compared with.
    #[must_use]
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// What is allowed, but worth knowing.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Makes the folder this process's own, or its share of the runs there, until the comparison is done.
    ///
    /// # Errors
    /// [`RunError::Lock`], and when it cannot be written.
    pub fn lock(&mut self) -> Result<(), RunError> {
        let (folder, share) = (&self.plan.folder, self.share);
        if self.lock.is_none() {
            self.lock = Some(match share.is_whole() {
                true => FolderLock::take(folder, WHAT)?,
                false => FolderLock::take_part(folder, [share.index() + 1, share.count()], WHAT)?,
            });
            self.measurements.write(folder)?;
        }
        Ok(())
    }

    /// The runs of this process whose folders other programs are writing.
    ///
    /// # Errors
    /// When a lock cannot be looked at.
    pub fn written_by_others(&self) -> Result<Vec<String>, RunError> {
        let mut names = Vec::new();
        for (at, seed) in self.own_order() {
            match is_written(&self.run_folder(at, seed)) {
                Ok(()) => {}
                Err(LockError::Held { .. }) => names.push(self.run_name(at, seed)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(names)
    }

    /// Number of runs of this process, and how many of them are finished already.
    ///
    /// # Errors
    /// When a run folder holds another run or is damaged.
    pub fn runs(&self) -> Result<(usize, usize), RunError> {
        let order = self.own_order();
        let mut finished = 0;
        for &(at, seed) in order.iter().filter(|_| !self.plan.overwrite) {
            finished += usize::from(matches!(self.found(at, seed)?, FoundRun::Finished(_)));
        }
        Ok((order.len(), finished))
    }

    /// Removes earlier runs, if they are to be replaced; they are not removed a second time.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn clear(&mut self) -> Result<(), RunError> {
        if std::mem::take(&mut self.plan.overwrite) {
            for (at, seed) in self.own_order() {
                clear_run(&self.run_folder(at, seed))?;
            }
        }
        Ok(())
    }

    /// The runs of this process that are not finished, for programs that train several at a time: each is
    /// an ordinary run of its recipe in its folder, which has the measurements of the teachers, and
    /// [`CheckedLanguageComparison::run`] finds it finished.
    ///
    /// # Errors
    /// When a run folder holds another run or is damaged, or cannot be written.
    pub fn missing(&self) -> Result<Vec<MissingLanguageRun>, RunError> {
        let mut missing = Vec::new();
        for (at, seed) in self.own_order() {
            let begun = match self.found(at, seed)? {
                FoundRun::Finished(_) => continue,
                found => matches!(found, FoundRun::Begun),
            };
            missing.push(MissingLanguageRun {
                name: self.run_name(at, seed),
                recipe: self.recipe(at, seed),
                folder: self.run_folder(at, seed),
                begun,
            });
        }
        Ok(missing)
    }

    /// Trains what is missing and compares; `observe` gets each run's name with its events.
    ///
    /// # Errors
    /// [`RunError::ComparisonStopped`] when `stop` was set; [`RunError::OfComparison`]; [`RunError::Lock`].
    pub fn run(
        mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, LanguageEvent<'_>),
    ) -> Result<LanguageComparison, RunError> {
        self.share = Share::WHOLE;
        let cards = self.train_own(stop, observe)?;
        Ok(self.summary(&cards))
    }

    /// Trains what is missing of this process's share, and says what others still have to train; the
    /// comparison itself is made by [`CheckedLanguageComparison::run`] when all is there.
    ///
    /// # Errors
    /// As [`CheckedLanguageComparison::run`].
    pub fn run_share(
        mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, LanguageEvent<'_>),
    ) -> Result<ShareOfLanguageRuns, RunError> {
        self.train_own(stop, observe)?;
        let (mut missing, mut missing_shares) = (Vec::new(), Vec::new());
        for (number, (at, seed)) in self.order().into_iter().enumerate() {
            if !matches!(self.found(at, seed)?, FoundRun::Finished(_)) {
                missing.push(self.run_name(at, seed));
                missing_shares.extend(self.share.owner(number));
            }
        }
        missing_shares.sort_unstable_by_key(|share: &Share| share.index());
        missing_shares.dedup();
        Ok(ShareOfLanguageRuns { own: self.own_order().len(), missing, missing_shares })
    }

    /// Trains what is missing of this process's runs; the cards of all of them, by name.
    fn train_own(
        &mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, LanguageEvent<'_>),
    ) -> Result<Vec<Vec<LanguageCard>>, RunError> {
        self.lock()?;
        self.clear()?;
        let mut cards: Vec<Vec<LanguageCard>> = self.compared.iter().map(|_| Vec::new()).collect();
        let order = self.own_order();
        let runs = order.len();
        for (done, (at, seed)) in order.into_iter().enumerate() {
            let path = self.plan.folder.clone();
            if stop.load(Ordering::Relaxed) {
                return Err(RunError::ComparisonStopped { path, done, runs });
            }
            let start = match self.found(at, seed)? {
                FoundRun::Finished(card) => {
                    cards[at].push(*card);
                    continue;
                }
                FoundRun::Begun => LanguageStart::Resume,
                FoundRun::Nothing => LanguageStart::Overwrite,
            };
            let (run, folder) = (self.run_name(at, seed), self.run_folder(at, seed));
            let recipe = self.recipe(at, seed);
            let trained = CheckedLanguageRun::with_measurements(&recipe, &self.measurements)
                .and_then(|checked| {
                    train_language(checked, &folder, start, stop, &mut |event| observe(&run, event))
                });
            match trained {
                Ok(card) => cards[at].push(card),
                Err(RunError::Interrupted { .. }) => {
                    return Err(RunError::ComparisonStopped { path, done, runs });
                }
                Err(source) => {
                    return Err(RunError::OfComparison { run, source: Box::new(source) });
                }
            }
        }
        Ok(cards)
    }

    /// All runs as number and seed, in the order in which they are trained.
    fn order(&self) -> Vec<(usize, u64)> {
        let first = self.compared.first().map_or(0, |own| own.recipe.seed);
        (0..self.plan.seeds as u64)
            .flat_map(|k| (0..self.compared.len()).map(move |at| (at, first + k)))
            .collect()
    }

    /// Those of this process.
    fn own_order(&self) -> Vec<(usize, u64)> {
        let all = self.order().into_iter().enumerate();
        all.filter(|(number, _)| self.share.has(*number)).map(|(_, run)| run).collect()
    }

    fn run_name(&self, at: usize, seed: u64) -> String {
        format!("{}/seed{seed}", self.compared[at].name)
    }

    fn run_folder(&self, at: usize, seed: u64) -> PathBuf {
        let folder: &Path = &self.plan.folder;
        folder.join(&self.compared[at].name).join(format!("seed{seed}"))
    }

    /// The recipe of one run.
    fn recipe(&self, at: usize, seed: u64) -> LanguageRecipe {
        let output = Some(self.run_folder(at, seed));
        LanguageRecipe { seed, output, ..self.compared[at].recipe.clone() }
    }

    fn found(&self, at: usize, seed: u64) -> Result<FoundRun, RunError> {
        let recipe = self.recipe(at, seed);
        let mut identity = self.compared[at].identity.clone();
        CheckedLanguageRun::identify(&mut identity, &recipe)?;
        find_run(&self.run_folder(at, seed), &identity, recipe.train.steps as u64)
    }
}
