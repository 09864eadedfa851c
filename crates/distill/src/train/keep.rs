//! What a training keeps for the case that it ends early, and how it resumes from there.

use std::path::{Path, PathBuf};
use std::time::Instant;

use faculty_files as files;
use faculty_files::failed;
use faculty_records::run::Change;

use super::checks::{OUTPUTS, broken_student, broken_weight};
use super::cohort::Cohort;
use super::event::{Event, Observer};
use super::member::Member;
use super::student_file::write_or_remove_best;
use super::teacher_fault::TeacherFault;
use crate::checkpoint::{Checkpoint, PeerProgress, Progress, Saved};
use crate::earlier_run::check_same_run;
use crate::error::{Error, Result};
use crate::run_folder::{RunFolder, Start};
use crate::weight_file::TOKENIZER_FILE;

impl Cohort<'_> {
    /// Folder and members as they have to be before the next batch; with [`Start::Resume`] from the
    /// newest checkpoint that is whole, without one from the start.
    ///
    /// # Errors
    /// When the checkpoint is of another run, but for the `allowed` keys of its recipe, or a file
    /// cannot be read or written.
    pub(crate) fn begin(
        &mut self,
        start: Start,
        allowed: Option<&[String]>,
        observe: Observer<'_>,
    ) -> Result<()> {
        if self.members.len() > 1 {
            let peers = self.folder.peer_folder();
            files::create_inside(self.folder.path(), &peers).map_err(failed("create", &peers))?;
        }
        if start == Start::Resume {
            self.resume(allowed, observe)?;
        }
        let student = &self.members[0].learner.student.network;
        if let (Some(encoder), Some(tokenizer)) = (student.graph().encoder(), &self.data.tokenizer)
        {
            let config = encoder.to_json(&self.members[0].card.classes);
            let tokenizer = tokenizer.to_json(&self.folder.path().join(TOKENIZER_FILE))?;
            self.folder.write_encoder(&config, &tokenizer)?;
        }
        self.folder.write_recipe(&self.settings.recipe)
    }

    fn resume(&mut self, allowed: Option<&[String]>, observe: Observer<'_>) -> Result<()> {
        let student = self.members[0].name.clone();
        let tell = &mut |event: Event<'_>| observe(&student, event);
        let found = self.folder.checkpoints().read()?;
        // Only when all have read it may one that is damaged be set aside.
        self.settings.group.barrier()?;
        let Some(checkpoint) = adopt(found, &self.folder, &self.progress, allowed, tell)? else {
            let folder = self.folder.path().display();
            tell(Event::Warning(format!(
                "`{folder}` holds no checkpoint to resume from: the run begins again"
            )));
            // Lines of an epoch whose checkpoint was never written.
            return (0..self.members.len())
                .try_for_each(|at| self.files(at).cut_metrics(0).map(drop));
        };
        for at in 0..self.members.len() {
            let files = self.files(at);
            let member = &mut self.members[at];
            let optimizer = &self.settings.optimizer;
            member.best = checkpoint.restore(&member.prefix, &mut member.learner, optimizer)?;
            let Progress { part, best, metrics_bytes, peers, changes, .. } = &checkpoint.progress;
            member.done = match at {
                0 => {
                    PeerProgress { part: part.clone(), best: *best, metrics_bytes: *metrics_bytes }
                }
                peer => peers.get(peer - 1).cloned().unwrap_or_default(),
            };
            member.card.changes.clone_from(changes);
            let best = member.best.as_ref().zip(member.done.best);
            write_or_remove_best(&files, best, &member.card)?;
            if !files.cut_metrics(member.done.metrics_bytes)? {
                member.done.metrics_bytes = files.metrics.metadata().map_or(0, |own| own.len());
                tell(Event::Warning(format!(
                    "`{}` lost lines of earlier epochs; the run itself is not touched",
                    files.metrics.display()
                )));
            }
        }
        self.progress = checkpoint.progress;
        Ok(())
    }

    /// Writes a checkpoint of what is done so far.
    pub(super) fn save(&mut self) -> Result<()> {
        self.check_weights()?;
        for at in 0..self.members.len() {
            for network in self.members[at].networks() {
                if let Some(value) = broken_student(network, &self.data)? {
                    return Err(self.not_finite(at, OUTPUTS.to_owned(), value));
                }
            }
        }
        let PeerProgress { part, best, metrics_bytes } = self.members[0].done.clone();
        self.progress.part = part;
        self.progress.best = best;
        self.progress.metrics_bytes = metrics_bytes;
        self.progress.peers = self.members[1..].iter().map(|own| own.done.clone()).collect();
        let students: Vec<Saved<'_>> = self.members.iter().map(Member::saved).collect();
        let optimizer = &self.settings.optimizer;
        if !self.folder.looks_on() {
            self.folder.checkpoints().save(&students, optimizer, &self.progress)?;
        }
        self.saved = Instant::now();
        Ok(())
    }

    /// After an error that came before the batch touched anything: keeps the batches before it.
    pub(super) fn keep_after(&mut self, error: Error, observe: Observer<'_>) -> Error {
        let (epoch, batch) = (self.progress.epoch + 1, self.batch());
        if batch > 0 && self.save().is_ok() {
            let warning = format!(
                "epoch {epoch} is kept up to batch {batch}: once the following is fixed, \
                 `--resume` resumes from there"
            );
            observe(&self.members[0].name, Event::Warning(warning));
        }
        error
    }

    /// A number of a member that broke down in the batch in work.
    pub(super) fn not_finite(&self, at: usize, what: String, value: f64) -> Error {
        let (epoch, batch) = (self.progress.epoch + 1, self.batch());
        let error = Error::NotFinite { what, value, epoch, batch, kept: self.kept() };
        self.of_member(at, error)
    }

    /// An error with the name of the member that it is about, where there are several.
    pub(super) fn of_member(&self, at: usize, error: Error) -> Error {
        match self.members.len() {
            1 => error,
            _ => Error::StudentOfPlan {
                student: self.members[at].name.clone(),
                source: Box::new(error),
            },
        }
    }

    /// Values of a teacher that broke down in the batch in work.
    pub(super) fn teacher_broke(&self, fault: TeacherFault) -> Error {
        let TeacherFault { teacher, what, value } = fault;
        let (epoch, batch) = (self.progress.epoch + 1, self.batch());
        Error::TeacherBroke { teacher, what, value, epoch, batch, kept: self.kept() }
    }

    /// Stops at a weight that broke down, before it is written anywhere.
    pub(super) fn check_weights(&self) -> Result<()> {
        for (at, member) in self.members.iter().enumerate() {
            if let Some(value) = member.networks().find_map(broken_weight) {
                return Err(self.not_finite(at, "a weight of the student".to_owned(), value));
            }
        }
        Ok(())
    }

    /// The newest checkpoint, if there is one.
    pub(super) fn kept(&self) -> Option<PathBuf> {
        self.folder.newest_checkpoint().map(Path::to_owned)
    }
}

/// The checkpoint from which a run goes on as `expected`, with what may have changed since; none
/// if there is none.
fn adopt(
    found: Option<(Checkpoint, Option<String>)>,
    folder: &RunFolder,
    expected: &Progress,
    allowed: Option<&[String]>,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Checkpoint>> {
    let Some((mut checkpoint, warning)) = found else { return Ok(None) };
    let then = &mut checkpoint.progress;
    check_same_run(folder.path(), &then.identity, &expected.identity, allowed)?;
    for (what, then, now) in [
        ("another version of faculty", &mut then.faculty, &expected.faculty),
        ("other kernels", &mut then.kernels, &expected.kernels),
    ] {
        if then != now {
            tell(Event::Warning(format!(
                "the run resumes with {what} ({now}, before {then}): the result may \
                 differ in the last digits"
            )));
            then.clone_from(now);
        }
    }
    if let Some(warning) = warning {
        if !folder.looks_on() {
            folder.checkpoints().set_aside()?;
        }
        tell(Event::Warning(warning));
    }
    if then.processes != expected.processes {
        tell(Event::Warning(format!(
            "the run resumes with {} processes, before {}: the result may differ in the last digits",
            expected.processes, then.processes
        )));
        then.processes = expected.processes;
    }
    let (epoch, batch) = (then.epoch, then.batch());
    let changes = then.identity.changes(&expected.identity).into_iter();
    then.changes.extend(changes.map(|own| Change { epoch, batch, ..own }));
    then.identity.clone_from(&expected.identity);
    Ok(Some(checkpoint))
}
