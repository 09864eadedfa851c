//! Whether a run fits into memory, known before it starts: data and teachers are there already, the
//! rest follows from the networks and the batch size.

use std::fs;

use faculty_nets::TrainingRun;

use super::Settings;
use crate::error::{Error, Result};
use crate::learner::Learner;

/// Batches that the loader holds, and copies of what losses read: as leaves of the tape, their
/// gradients, and one more while the tape runs.
const BATCHES_AHEAD: usize = 5;
const TAPE_COPIES: usize = 3;

/// Memory that a run takes from its first step on, beside data and teachers, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Values and gradients of student and connectors for one batch; batches that wait.
    pub batch: u64,
    /// Parameters, their gradients, the optimiser's memory, the best student, a checkpoint.
    pub parameters: u64,
    /// Teacher outputs that are kept.
    pub outputs: u64,
}

impl MemoryNeed {
    pub(super) fn of(learner: &Learner, settings: &Settings, outputs: usize) -> Self {
        let batch = settings.batch_size;
        let mut need = Self { outputs: outputs as u64, ..Self::default() };
        let floats = |count: usize| 4 * count as u64;
        let slots = settings.optimizer.slot_names().len();
        for (_, trained) in learner.trained() {
            let graph = trained.network.graph();
            let count = graph.parameter_count();
            // Values, gradients, slots; then a checkpoint of values and slots, as arrays and bytes.
            need.parameters += floats(count * (2 + slots + 2 * (1 + slots)));
            need.batch += TrainingRun::bytes_needed(graph, batch) as u64;
            let read =
                graph.features().iter().copied().chain(graph.map()).map(|id| graph.shape(id));
            let read: usize = read.map(|shape| shape.elements()).sum();
            need.batch += floats(TAPE_COPIES * batch * read);
        }
        let student = learner.student.network.graph();
        need.parameters += floats(2 * student.parameter_count());
        need.batch += floats(BATCHES_AHEAD * batch * student.input_shape().elements());
        need
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.batch.saturating_add(self.parameters).saturating_add(self.outputs)
    }

    /// Refuses a run that cannot fit into `available` bytes.
    pub(super) fn check(&self, available: Option<u64>) -> Result<()> {
        match available {
            Some(available) if self.total() > available => Err(Error::Memory {
                needed: gib(self.total()),
                available: gib(available),
                outputs: self.outputs > self.batch.max(self.parameters),
            }),
            _ => Ok(()),
        }
    }

    /// What to tell when it is close, though it may fit.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let available = available()?;
        (self.total() > available / 5 * 4).then(|| {
            format!(
                "the run needs about {:.1} GiB more memory, and {:.1} GiB are available; lower \
                 `train.batch_size` if it is killed",
                gib(self.total()),
                gib(available)
            )
        })
    }
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1_u64 << 30) as f64
}

/// Memory that this process can still get, swap included; unknown on other systems than Linux.
pub(super) fn available() -> Option<u64> {
    let whole = in_meminfo(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse().ok()
    };
    // A container's own limit, where there is one; pages of files in it can be taken back.
    let own = number("memory.max").zip(number("memory.current")).map(|(limit, used)| {
        let files = fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
        let files = files.lines().find_map(|line| line.strip_prefix("file ")?.parse().ok());
        limit.saturating_sub(used.saturating_sub(files.unwrap_or(0)))
    });
    Some(own.map_or(whole, |own| own.min(whole)))
}

/// `MemAvailable` and `SwapFree`.
fn in_meminfo(text: &str) -> Option<u64> {
    let kib = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches("kB").trim().parse().ok()
    };
    Some(1024 * (kib("MemAvailable:")? + kib("SwapFree:").unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_cannot_fit_is_refused_with_both_sizes() {
        let need = MemoryNeed { batch: 3 << 30, parameters: 1 << 29, outputs: 0 };
        need.check(None).unwrap();
        need.check(Some(need.total())).unwrap();
        let error = need.check(Some(1 << 30)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("3.5 GiB") && text.contains("1.0 GiB"), "{text}");
        assert!(error.hint().unwrap().contains("train.batch_size"));
        let kept = MemoryNeed { outputs: 9 << 30, ..need };
        assert!(kept.check(Some(1)).unwrap_err().hint().unwrap().contains("[cache]"));
    }

    #[test]
    fn the_systems_numbers_are_read() {
        let text = "MemTotal: 10 kB\nMemAvailable:    5 kB\nSwapFree: 2 kB\n";
        assert_eq!(in_meminfo(text), Some(7 * 1024));
        assert_eq!(in_meminfo("MemTotal: 10 kB\n"), None);
        if cfg!(target_os = "linux") {
            assert!(available().unwrap() > 1 << 20);
        }
    }
}
