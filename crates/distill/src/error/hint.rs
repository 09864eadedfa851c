//! How to fix what can stop a run.

use std::path::PathBuf;

use super::{Error, quoted};
use faculty_learner::LearnerError;
use faculty_methods::MethodError;
use faculty_records::run::Change;

use crate::changeable::unchangeable;

impl Error {
    /// How to fix it, if there is a way worth naming.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let kept_hint = |kept: &Option<PathBuf>, first: &str| match kept {
            Some(path) => {
                format!("{first}`{}` is kept: continue from it with `--resume`", path.display())
            }
            None => format!("{first}there is no checkpoint yet: `--resume` begins again"),
        };
        match self {
            // Each recipe problem carries its own hint.
            Self::Recipe(_) => None,
            Self::ClassCost(error) => error.hint(),
            Self::Data(error) => error.hint(),
            Self::Network(error) => error.hint(),
            Self::Teacher(error) => error.hint(),
            Self::Student { hint, .. } => Some((*hint).to_owned()),
            Self::ExportDiffers { relative, .. } if relative.is_finite() => Some(
                "use `--safetensors`, and report it with the network's name: at most 1e-4 is \
                 rounding"
                    .to_owned(),
            ),
            Self::ExportDiffers { .. } => {
                Some("the student's logits are not finite: that training run broke down".to_owned())
            }
            Self::Int8LosesTooMuch { .. } => Some(
                "calibrate on more images with `--int8-images`, allow more with `--int8-loss`, or \
                 export without `--int8`; gates and swish lose most in 8 bits, plain ReLU networks \
                 least"
                    .to_owned(),
            ),
            Self::SecondRuntime { .. } => {
                Some("use `--safetensors`, and report it with the network's name".to_owned())
            }
            Self::MissingPart { method, who, .. } => {
                let options = crate::methods::find(method).map_or(&[][..], |info| info.spec.options);
                let without = match options.iter().any(|option| option.key == "intermediate") {
                    true => "`method.intermediate = false`",
                    false => "options of the method that do without it (`faculty explain`)",
                };
                let heads = if who.contains("a head") { "no `heads`, " } else { "" };
                Some(format!(
                    "choose {heads}networks that have it (`faculty networks`), {without}, or a \
                     method of the output layer such as `aver`"
                ))
            }
            Self::NoSuchTap { .. } => Some("`faculty networks` lists them".to_owned()),
            Self::NoPlaceForHeads { .. } => Some(
                "add a teacher with `network` and `weights`, or use another `method.name`"
                    .to_owned(),
            ),
            Self::HeadMissing { .. } => Some(
                "`faculty distill` trains it before the run, the library with `heads::mount`"
                    .to_owned(),
            ),
            Self::HeadNotFinite { .. } => Some("lower `heads.learning_rate`".to_owned()),
            Self::HeadsStopped { .. } => Some(
                "heads of finished teachers are kept: the same command continues with the others"
                    .to_owned(),
            ),
            Self::TeacherBroke { kept, .. } => {
                let on = kept_hint(kept, "");
                Some(format!(
                    "the learning rate is not to blame: check that teacher (`faculty teachers`), or \
                     leave the batch out with `--set train.skip_bad_batches=…`; {on}"
                ))
            }
            Self::NeedsValidation { .. } => {
                Some("set `data.validation` above 0 or to a split, or choose another `method.name`".to_owned())
            }
            Self::NothingToLeaveOut { .. } => Some(
                "add `[[teachers]]`, or choose another `method.name`; one teacher alone compares \
                 with `--set method.name=ce`"
                    .to_owned(),
            ),
            Self::Method(MethodError::Unknown { near, .. }) => Some(match near {
                Some(near) => format!("did you mean `{near}`? `faculty methods` lists them"),
                None => "`faculty methods` lists them".to_owned(),
            }),
            Self::Method(MethodError::Combination { .. }) => {
                Some("remove that `[[method.terms]]`, or choose another method".to_owned())
            }
            Self::FixedTeacher { fix, .. } => Some(fix.clone()),
            Self::Batches { fix, .. } => Some(format!("set `{fix}`")),
            Self::NeedsLabels { .. } => Some(
                "leave `data.unlabelled` at `\"drop\"`, or choose another `method.name` \
                 (`faculty methods` says which read labels)"
                    .to_owned(),
            ),
            Self::ImagesOnly { .. } => {
                Some("choose another `method.name` (`faculty methods` lists them)".to_owned())
            }
            Self::Folds { .. } => {
                Some("give at least 2 folds, and two samples for each".to_owned())
            }
            Self::NoEffect { .. } => Some("remove it".to_owned()),
            Self::TextsOnCpu { .. } => Some("set `train.device = \"cpu\"`".to_owned()),
            Self::OtherFamily { found, .. } => {
                Some(format!("write `student.network = \"{found}\"`"))
            }
            Self::FixedByWeights { key, .. } => Some(format!(
                "remove `{key}`, or `student.weights`: only layers can be left out of weights"
            )),
            Self::FromLayers { layers, own, .. } => Some(format!(
                "give {layers} numbers from 0 to {}, one for each layer of the student",
                own.saturating_sub(1)
            )),
            Self::NothingFrozen { near, parts, .. } => {
                let near = near.as_ref().map_or_else(String::new, |near| {
                    format!("did you mean `{near}`? ")
                });
                Some(format!("{near}its parts are {}, and those below them", quoted(parts)))
            }
            Self::AllFrozen { .. } => {
                Some("leave the classifier out of `student.freeze` at least".to_owned())
            }
            Self::ClassWeights { classes, .. } => Some(format!(
                "give {classes} numbers in the order of the labels (`faculty datasets`), or \
                 `\"balanced\"`"
            )),
            Self::NoTaskLoss { key, .. } | Self::OneLabel { key, .. } => {
                Some(format!("remove `{key}`, or choose another `method.name`"))
            }
            Self::NoSecondTraining { first, .. } => Some(format!(
                "set `train.epochs` above {first}, which counts both trainings, or lower \
                 `method.learn_epochs`"
            )),
            Self::Memory { outputs: true, .. } => Some(
                "add `[cache]`, which keeps the teachers' outputs in files, or lower `data.views`"
                    .to_owned(),
            ),
            Self::Memory { outputs: false, .. } => Some(
                "lower `train.batch_size`, choose a smaller student, or end other programs"
                    .to_owned(),
            ),
            Self::Learner(LearnerError::DeviceNotBuilt { device }) => Some(format!(
                "build it with `--features {device}`, or leave `train.device` out to use the CPU"
            )),
            Self::FolderInUse { finished: true, .. } => Some(
                "choose another folder with `--output`, or replace it with `--overwrite`"
                    .to_owned(),
            ),
            Self::FolderInUse { finished: false, .. } => {
                Some("continue it with `--resume`, or replace it with `--overwrite`".to_owned())
            }
            Self::NothingToResume { .. } => Some("start it without `--resume`".to_owned()),
            Self::Checkpoint { .. } => Some("start the run again with `--overwrite`".to_owned()),
            Self::OtherRun { changes, can_allow, .. } => {
                let keys: Vec<String> =
                    changes.iter().map(|change| change.key.clone()).collect();
                let ways = "undo the change, or start a new run with `--output` or `--overwrite`";
                let may = *can_allow && unchangeable(&keys).is_none();
                Some(match changes.as_slice() {
                    [Change { key, now, .. }, ..] if may => {
                        format!("{ways}; `--resume-with {key}={now}` resumes with the change")
                    }
                    _ => ways.to_owned(),
                })
            }
            Self::CacheMaps { .. } => {
                Some("set `cache.maps = \"auto\"`, or use a method that reads logits".to_owned())
            }
            Self::CacheLabels { .. } => {
                Some("compare them without `[cache]`, or with caches of their own".to_owned())
            }
            Self::NoClassCost { teacher } => Some(format!(
                "give `class_cost = \"FILE.safetensors\"` to teacher `{teacher}`, with costs or \
                 with embeddings of both lists of classes"
            )),
            Self::CannotChange { .. } => Some(
                "keys of `train` and `method` can change, but neither the method, the optimiser \
                 nor the length of a first training; start a new run for anything else"
                    .to_owned(),
            ),
            Self::NotFinite { kept: Some(kept), .. } => Some(format!(
                "`{}` is kept: resume from it with a lower rate, `--resume-with \
                 train.learning_rate=…`, or without the batch, `--resume --set \
                 train.skip_bad_batches=…`",
                kept.display()
            )),
            Self::NotFinite { kept: None, .. } => Some(
                "lower `train.learning_rate` or the loss weights, and start again with \
                 `--overwrite`"
                    .to_owned(),
            ),
            Self::NoAnswer { .. } => {
                Some("train it again with a lower `train.learning_rate`".to_owned())
            }
            Self::Folder(error) => Some(error.hint().to_owned()),
            Self::File(error) => Some(error.hint().to_owned()),
            Self::Method(_) | Self::Learner(_) => None,
            Self::Interrupted { kept, .. } => Some(kept_hint(kept, "")),
            Self::NothingToCompare { .. } => {
                Some("name some in `--methods`; `faculty methods` lists them".to_owned())
            }
            Self::UnknownReference { methods, .. } => {
                Some(format!("name it in `--methods` too, or give one of {}", methods.join(", ")))
            }
            Self::NothingToSweep { .. } => Some(
                "name values to try, for example `--sweep train.learning_rate=0.02,0.05,0.1`"
                    .to_owned(),
            ),
            Self::SweptKey { .. } => Some(
                "vary options of the method and of `[train]`; for several methods use `--methods`"
                    .to_owned(),
            ),
            Self::RunOfComparison { source, .. } => match **source {
                Self::NotFinite { .. } => Some(
                    "lower `train.learning_rate`, or leave the method out of `--methods`; finished \
                     runs are kept"
                        .to_owned(),
                ),
                _ => source.hint(),
            },
            Self::Comm(error) => Some(error.hint().to_owned()),
            Self::OneProcess { .. } => Some(
                "start it as one process, with more threads; `docs/scale.md` lists what several \
                 processes can share"
                    .to_owned(),
            ),
            Self::ProcessesDiffer { .. } => Some(
                "give all processes the same program on the same kind of machine (`FACULTY_ISA` \
                 names one kind of kernels for all)"
                    .to_owned(),
            ),
            Self::Planned { .. } => {
                Some("use `faculty distill`, or remove `[plan]`".to_owned())
            }
            Self::AssistantSizes { .. } => Some(
                "name larger networks first in `plan.networks`; equal ones are \
                 `plan.kind = \"born-again\"`"
                    .to_owned(),
            ),
            Self::StudentOfPlan { source, .. } => match **source {
                Self::Interrupted { .. } => Some(
                    "what is done is kept, finished students too: resume with `--resume`"
                        .to_owned(),
                ),
                Self::NotFinite { .. } => Some(
                    "lower `train.learning_rate` or the loss weights; finished students are kept"
                        .to_owned(),
                ),
                _ => source.hint(),
            },
            Self::ComparisonStopped { .. } => Some(
                "what is done is kept, finished runs too: the same command resumes from there"
                    .to_owned(),
            ),
        }
    }
}
