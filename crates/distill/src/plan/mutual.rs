//! Mutual learning: several networks in step, on the same batches, each with the others' logits.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use faculty_data::Dataset;
use faculty_nets::Network;
use faculty_records::plan::{Ensemble, PlannedStudent};

use super::event::PlanEvent;
use super::students::{ensemble, input, numbered};
use crate::checkpoint::Identity;
use crate::compute::Compute;
use crate::error::Result;
use crate::learner::{Learner, TeacherTraits};
use crate::methods::Dml;
use crate::objective;
use crate::optimizer::RuleConfig;
use crate::recipe::{Plan, Recipe};
use crate::record::RunCard;
use crate::run::CheckedRun;
use crate::run_folder::Start;
use crate::settings::Settings;
use crate::train::{Cohort, Event, Member};
use faculty_teachers::RunData;

/// The named student's name; its peers are `1-resnet14`, `2-resnet8`, …
const STUDENT: &str = "student";

/// The student and its peers, checked.
pub(super) struct Mutual {
    members: Vec<Member>,
    data: RunData,
    settings: Settings,
    identity: Identity,
}

impl Mutual {
    pub(super) fn new(recipe: &Recipe, plan: &Plan, dataset: &Dataset) -> Result<Self> {
        let alone = Recipe { plan: None, ..recipe.clone() };
        let run = CheckedRun::new(&alone, dataset)?;
        let compute = Compute::of(recipe.train.device)?;
        let classes = dataset.classes().len();
        let mut networks = vec![(STUDENT.to_owned(), run.learner.student.network.clone())];
        for (at, name) in plan.networks.iter().enumerate() {
            // A seed for each, so that equal networks do not start, and stay, equal.
            let seed = recipe.seed.saturating_add(1 + at as u64);
            let network = Network::new(name, input(&run.data)?, classes, seed)?;
            networks.push((numbered(at, name), network));
        }
        let names: Vec<String> = networks.iter().map(|(name, _)| name.clone()).collect();
        let traits: Vec<TeacherTraits> =
            plan.networks.iter().map(|_| TeacherTraits::of_logits()).collect();
        let rules = RuleConfig { classifier_rate_factor: 1.0, ..run.settings.rules };
        let of_peers = Settings { rules, ..run.settings.clone() };
        let members = networks.into_iter().map(|(name, network)| {
            let card = RunCard {
                method: "dml".to_owned(),
                objective: objective::of_run(
                    &Dml,
                    plan.networks.len(),
                    &run.settings.task,
                    dataset.classes(),
                ),
                student: network.name().to_owned(),
                student_parameters: network.graph().parameter_count(),
                student_notes: match name.as_str() {
                    STUDENT => run.card.student_notes.clone(),
                    _ => Vec::new(),
                },
                ..run.card.clone()
            };
            let (batch_size, seed) = (recipe.train.batch_size, recipe.seed);
            let learner = Learner::new(network, Box::new(Dml), &traits, batch_size, seed, &compute);
            // What `[student]` says of the classifier is about the student alone.
            let settings = match name.as_str() {
                STUDENT => &run.settings,
                _ => &of_peers,
            };
            let learner = settings.equip(learner);
            let peers = names.iter().filter(|other| **other != name).cloned().collect();
            let prefix = if name == STUDENT { String::new() } else { format!("{name}/") };
            Member::new(&name, learner, peers, card).with_prefix(prefix)
        });
        Ok(Self {
            members: members.collect(),
            data: run.data,
            settings: Settings { recipe: recipe.to_toml()?, ..run.settings },
            identity: Identity::of(recipe, &[], dataset.fingerprint())?,
        })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.members.iter().map(|member| member.name.clone()).collect()
    }

    pub(super) fn run(
        self,
        folder: &Path,
        start: Start,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, PlanEvent<'_>),
    ) -> Result<(RunCard, Vec<PlannedStudent>, Option<Ensemble>)> {
        let Self { members, data, settings, identity } = self;
        let none = Vec::new();
        let mut cohort =
            Cohort::open(members, none, data, settings, identity, folder, stop, start)?;
        let tell = &mut |name: &str, event: Event<'_>| observe(name, PlanEvent::Run(event));
        cohort.begin(start, None, tell)?;
        let card = &cohort.members[0].card;
        observe(STUDENT, PlanEvent::Student { card, data: &cohort.data });
        cohort.train(&mut |name, event| observe(name, PlanEvent::Run(event)))?;
        finish(cohort)
    }
}

/// Final numbers and weights of all networks.
fn finish(mut cohort: Cohort<'_>) -> Result<(RunCard, Vec<PlannedStudent>, Option<Ensemble>)> {
    let (mut students, mut networks) = (Vec::new(), Vec::new());
    for at in 0..cohort.members.len() {
        networks.push(cohort.deliver(at)?);
        let weights = cohort.files(at).weights;
        let below = weights.strip_prefix(cohort.folder.path()).unwrap_or(&weights);
        let Member { name, card, .. } = &cohort.members[at];
        students.push(PlannedStudent::new(name, below.display().to_string(), card));
        cohort.check_delivered(at)?;
    }
    let together = ensemble(&networks, &cohort.data)?;
    Ok((cohort.members.swap_remove(0).card, students, Some(together)))
}
