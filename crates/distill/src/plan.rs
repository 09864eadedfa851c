//! Several students of one recipe: born-again generations, assistants, mutual learning.
//!
//! ```text
//! born-again    teachers or labels -> student 1 -> student 2 -> ... -> student G      one network
//! assistants    teachers -> large assistant -> ... -> small assistant -> student
//! mutual        student <-> peer 1 <-> peer 2 ...                                     together
//! ```
//! The first two are sequences of ordinary runs (`stages/NAME/`), each with the student before it
//! as its only teacher, by the method of the recipe; the last one's result is that of the plan.
//! The third is one loop over several networks with the loss of [`crate::methods::Dml`].
//!
//! Born-again networks: Furlanello et al., ICML 2018, <https://arxiv.org/abs/1805.04770>. Teacher
//! assistants: Mirzadeh et al., AAAI 2020, <https://arxiv.org/abs/1902.03393>. Mutual learning:
//! Zhang et al., CVPR 2018, <https://arxiv.org/abs/1706.00384>.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use faculty_data::Dataset;
use faculty_records::plan::PlanCard;

use crate::error::Result;
use crate::recipe::{Plan, PlanKind, Recipe};
use crate::record::RunCard;
use crate::run_folder::{RunFolder, Start};

mod chain;
mod event;
mod mutual;
mod students;

use chain::Chain;
pub use event::PlanEvent;
use mutual::Mutual;

/// A plan in which every student can be trained; nothing has been written yet.
pub struct CheckedPlan<'a> {
    kind: PlanKind,
    way: Course<'a>,
}

enum Course<'a> {
    Chain(Box<Chain<'a>>),
    Mutual(Box<Mutual>),
}

impl<'a> CheckedPlan<'a> {
    /// Checks all students of the recipe's plan, those too whose teachers are still to be trained.
    ///
    /// # Errors
    /// As [`crate::CheckedRun::new`]; [`crate::Error::AssistantSizes`].
    pub fn new(recipe: &Recipe, plan: &Plan, dataset: &'a Dataset) -> Result<Self> {
        recipe.check(&crate::methods::specs())?;
        let way = match plan.kind {
            PlanKind::Mutual => Course::Mutual(Box::new(Mutual::new(recipe, plan, dataset)?)),
            _ => Course::Chain(Box::new(Chain::new(recipe, plan, dataset)?)),
        };
        Ok(Self { kind: plan.kind, way })
    }

    /// Names of the students, in the order of [`PlanCard::students`].
    #[must_use]
    pub fn students(&self) -> Vec<String> {
        match &self.way {
            Course::Chain(chain) => chain.names(),
            Course::Mutual(cohort) => cohort.names(),
        }
    }

    /// Trains all students, those that an earlier call finished apart; `observe` gets each
    /// student's name with what it tells.
    ///
    /// # Errors
    /// As [`crate::train`], in a [`crate::Error::StudentOfPlan`] where several are trained one
    /// after another.
    pub fn run(
        self,
        folder: &Path,
        start: Start,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, PlanEvent<'_>),
    ) -> Result<(RunCard, PlanCard)> {
        let kind = self.kind.name().to_owned();
        let (card, students, ensemble) = match self.way {
            Course::Chain(chain) => chain.run(folder, start, stop, observe)?,
            Course::Mutual(cohort) => cohort.run(folder, start, stop, observe)?,
        };
        let plan = PlanCard { format: 1, kind, students, ensemble };
        let folder = RunFolder::at(folder);
        folder.write_plan_card(&plan)?;
        // Last, for it says that the run is finished.
        folder.write_card(&card)?;
        Ok((card, plan))
    }
}
