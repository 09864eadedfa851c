//! Students one after another, each an ordinary run in a folder of its own.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use faculty_data::Dataset;
use faculty_files::failed;
use faculty_nets::{Network, graph_of};

use faculty_records::plan::{Ensemble, PlannedStudent};

use super::event::PlanEvent;
use super::students::{ensemble, input, numbered};
use crate::earlier_run::{Found, check_same_recipe, find_run};
use crate::error::{Error, Result};
use crate::methods;
use crate::recipe::{Method, Plan, PlanKind, Recipe, Teacher};
use crate::record::RunCard;
use crate::run::{CheckedRun, check_untrained};
use crate::run_folder::{RunFolder, Start};
use crate::train::train;
use faculty_teachers::RunData;

/// Born-again generations, or assistants and a student.
pub(super) struct Chain<'a> {
    recipe: Recipe,
    kind: PlanKind,
    dataset: &'a Dataset,
    stages: Vec<Stage>,
    /// The first run, checked, as long as it has not begun.
    first: Option<CheckedRun>,
}

struct Stage {
    name: String,
    /// Of an ordinary run. From the second stage on its teacher has no weights yet.
    recipe: Recipe,
}

impl<'a> Chain<'a> {
    pub(super) fn new(recipe: &Recipe, plan: &Plan, dataset: &'a Dataset) -> Result<Self> {
        let stages = stages(recipe, plan);
        // The first one has its teachers, so all of it can be checked; of the others whatever does
        // not depend on weights.
        let first = CheckedRun::new(&stages[0].recipe, dataset)?;
        let sizes = sizes(&stages, first.data(), dataset)?;
        if plan.kind == PlanKind::Assistants {
            check_sizes(&stages, &sizes)?;
        }
        for stage in &stages[1..] {
            check_untrained(&stage.recipe, first.data(), dataset)?;
        }
        let (recipe, kind) = (recipe.clone(), plan.kind);
        Ok(Self { recipe, kind, dataset, stages, first: Some(first) })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.stages.iter().map(|stage| stage.name.clone()).collect()
    }

    pub(super) fn run(
        mut self,
        folder: &Path,
        start: Start,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, PlanEvent<'_>),
    ) -> Result<(RunCard, Vec<PlannedStudent>, Option<Ensemble>)> {
        let folder = RunFolder::open(folder, start)?;
        if start == Start::Resume {
            check_same_recipe(&folder, &self.recipe)?;
        } else {
            folder.write_recipe(&self.recipe.to_toml()?)?;
        }
        let data = self.first.as_ref().map(|first| first.data().clone());
        let data = data.expect("a chain is run once, with its first run");
        let mut cards: Vec<RunCard> = Vec::new();
        for at in 0..self.stages.len() {
            let name = self.stages[at].name.clone();
            let trained = self.stage(at, &folder, start, stop, &mut |event| observe(&name, event));
            cards.push(trained.map_err(|source| Error::StudentOfPlan {
                student: name,
                source: Box::new(source),
            })?);
        }
        let students: Vec<PlannedStudent> = self
            .stages
            .iter()
            .zip(&cards)
            .map(|(stage, card)| {
                let weights = format!("stages/{}/student.safetensors", stage.name);
                PlannedStudent::new(&stage.name, weights, card)
            })
            .collect();
        let ensemble = match self.kind {
            PlanKind::BornAgain => Some(ensemble(&self.networks(&folder, &data)?, &data)?),
            _ => None,
        };
        let last = folder.stage(&self.stages[self.stages.len() - 1].name);
        for (from, to) in [(last.metrics(), folder.metrics()), (last.student(), folder.student())] {
            let bytes = std::fs::read(&from).map_err(failed("read", &from))?;
            faculty_files::write_atomically(&to, &bytes).map_err(failed("write", &to))?;
        }
        let card = cards.pop().expect("a chain has stages");
        Ok((card, students, ensemble))
    }

    /// Trains one student, unless it is finished.
    fn stage(
        &mut self,
        at: usize,
        folder: &RunFolder,
        start: Start,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(PlanEvent<'_>),
    ) -> Result<RunCard> {
        let stage = &self.stages[at];
        let own = folder.stage(&stage.name);
        let checked = match self.first.take() {
            Some(first) => first,
            None => {
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted { epoch: 1, batch: 0, kept: None });
                }
                let mut recipe = stage.recipe.clone();
                let before = folder.stage(&self.stages[at - 1].name).student();
                recipe.teachers[0].weights = Some(before);
                CheckedRun::new(&recipe, self.dataset)?
            }
        };
        let found = match start {
            Start::Resume => find_run(&own, &checked.identity, stage.recipe.train.epochs)?,
            _ => Found::Nothing,
        };
        let start = match found {
            Found::Finished(card) => {
                observe(PlanEvent::Kept(&card));
                return Ok(*card);
            }
            Found::Split => Start::Resume,
            Found::Nothing => Start::Overwrite,
        };
        observe(PlanEvent::Student { card: checked.card(), data: checked.data() });
        let card =
            train(checked, own.path(), start, stop, &mut |event| observe(PlanEvent::Run(event)))?;
        // As it is written, so that a plan that goes on reads the same digits.
        Ok(own.card()?.unwrap_or(card))
    }

    /// The students as they were delivered.
    fn networks(&self, folder: &RunFolder, data: &RunData) -> Result<Vec<Network>> {
        let classes = self.dataset.classes().len();
        let load = |stage: &Stage| {
            let path = folder.stage(&stage.name).student();
            Ok(Network::load(&stage.recipe.student.network, input(data)?, classes, &path)?)
        };
        self.stages.iter().map(load).collect()
    }
}

/// The recipes of all students.
fn stages(recipe: &Recipe, plan: &Plan) -> Vec<Stage> {
    let student = &recipe.student.network;
    let networks: Vec<&String> = match plan.kind {
        PlanKind::BornAgain => vec![student; plan.generations],
        _ => plan.networks.iter().chain([student]).collect(),
    };
    let last = networks.len() - 1;
    let mut stages: Vec<Stage> = Vec::new();
    for (at, network) in networks.into_iter().enumerate() {
        let name = numbered(at, network);
        let mut own = Recipe { plan: None, output: None, ..recipe.clone() };
        own.student.network.clone_from(network);
        if plan.kind == PlanKind::BornAgain {
            // Another seed for each generation, as in the paper; the data stay the same.
            own.seed = recipe.seed.saturating_add(at as u64);
            if own.data.label_noise > 0.0 {
                own.data.label_noise_seed.get_or_insert(recipe.seed);
            }
        } else if at < last {
            own.student.weights = None;
            own.student.weights_key = None;
            own.student.freeze.clear();
            (own.student.onnx, own.student.file, own.student.fresh) = (None, None, None);
        }
        if let Some(before) = stages.last() {
            own.teachers = vec![Teacher {
                name: before.name.clone(),
                network: Some(before.recipe.student.network.clone()),
                weights: Some("student.safetensors".into()),
                // As fast to ask as it was to train; nobody could say so in the recipe either.
                precision: recipe.train.precision,
                // Nobody could say so in the recipe.
                allow_weak: true,
                ..Teacher::default()
            }];
        } else if recipe.teachers.is_empty() {
            let labels = methods::all().into_iter().find(|own| own.spec.max_teachers == Some(0));
            let labels = labels.expect("there is a method of labels alone");
            own.method = Method::with_defaults(&labels.spec);
        }
        stages.push(Stage { name, recipe: own });
    }
    stages
}

/// Trainable values of each student.
fn sizes(stages: &[Stage], data: &RunData, dataset: &Dataset) -> Result<Vec<usize>> {
    let count = |stage: &Stage| {
        let classes = dataset.classes().len();
        Ok(graph_of(&stage.recipe.student.network, input(data)?, classes)?.parameter_count())
    };
    stages.iter().map(count).collect()
}

fn check_sizes(stages: &[Stage], sizes: &[usize]) -> Result<()> {
    let network = |at: usize| stages[at].recipe.student.network.clone();
    match (1..sizes.len()).find(|&at| sizes[at - 1] <= sizes[at]) {
        None => Ok(()),
        Some(at) => Err(Error::AssistantSizes {
            before: network(at - 1),
            after: network(at),
            sizes: [sizes[at - 1], sizes[at]],
        }),
    }
}
