//! Whether a run fits into memory, known before it starts: data and teachers are there already, the
//! rest follows from the networks and the batch size.

use std::fs;

use faculty_nets::TrainingRun;

use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::settings::Settings;

/// Batches that the loader holds, and copies of what losses read: as leaves of the tape, their
/// gradients, and one more while the tape runs.
const BATCHES_AHEAD: usize = 5;
const TAPE_COPIES: usize = 3;

/// Memory that a run takes from its first step on, beside data and teachers, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Values and gradients of student and projectors for one batch; batches that wait.
    pub batch: u64,
    /// Parameters, their gradients, the optimiser's memory, the best student, a checkpoint.
    pub parameters: u64,
    /// Teacher outputs that are kept.
    pub outputs: u64,
    /// What the teachers say of a batch, and what the loss makes of it.
    pub losses: u64,
}

impl MemoryNeed {
    pub(super) fn of(learner: &Learner, settings: &Settings, outputs: usize) -> Self {
        let batch = settings.batch_size;
        let mut need = Self { outputs: outputs as u64, ..Self::default() };
        let floats = |count: usize| (count as u64).saturating_mul(4);
        need.losses = floats(learner.loss_floats(TAPE_COPIES));
        let slots = settings.optimizer.slot_names().len();
        for (_, trained) in learner.trained() {
            let graph = trained.network.graph();
            let count = graph.parameter_count();
            // Values, gradients, slots; then a checkpoint of values and slots, as arrays and bytes.
            need.parameters += floats(count * (2 + slots + 2 * (1 + slots)));
            if settings.accumulate > 1 {
                // Sums of gradients, in a checkpoint too.
                need.parameters += floats(3 * count);
            }
            need.batch += TrainingRun::bytes_needed(graph, batch) as u64;
            let read =
                graph.features().iter().copied().chain(graph.map()).map(|id| graph.shape(id));
            let read: usize = read.map(|shape| shape.elements()).sum();
            need.batch += floats(TAPE_COPIES * batch * read);
        }
        let student = learner.student.network.graph();
        need.parameters += floats(2 * student.parameter_count());
        if learner.average().is_some() {
            need.parameters += floats(3 * student.parameter_count());
        }
        need.batch += floats(BATCHES_AHEAD * batch * student.input_shape().elements());
        need
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.batch, self.parameters, self.outputs, self.losses]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// Refuses a run that cannot fit into `available` bytes.
    pub(super) fn check(&self, available: Option<u64>) -> Result<()> {
        match available {
            Some(available) if self.total() > available => Err(Error::Memory {
                needed: gib(self.total()),
                available: gib(available),
                outputs: self.outputs > self.batch.max(self.parameters).max(self.losses),
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
    let read = |path: &str| fs::read_to_string(path).ok();
    let whole = in_meminfo(&read("/proc/meminfo")?)?;
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let of_groups = group_folders(&groups).into_iter().filter_map(|(folder, files)| {
        let number = |name: &str| read(&format!("{folder}/{name}"))?.trim().parse().ok();
        let (limit, used): (u64, u64) = number(files.limit).zip(number(files.used))?;
        // Pages of files can be taken back.
        let stat = read(&format!("{folder}/memory.stat")).unwrap_or_default();
        let cached = stat
            .lines()
            .find_map(|line| line.strip_prefix(files.cached)?.strip_prefix(' ')?.parse().ok());
        Some(limit.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
    });
    let address_space = address_space(&read("/proc/self/limits")?, &read("/proc/self/status")?);
    of_groups.chain(address_space).chain([whole]).min()
}

/// Names of a control group's files in one version of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GroupFiles {
    limit: &'static str,
    used: &'static str,
    /// Pages of files, in `memory.stat`.
    cached: &'static str,
}

const V1: GroupFiles = GroupFiles {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: "total_cache",
};
const V2: GroupFiles = GroupFiles { limit: "memory.max", used: "memory.current", cached: "file" };

/// The folders of the process's control group and all above it, by `/proc/self/cgroup`: each of them
/// limits it. Inside a container some may not be there, and its root stands for its own group.
fn group_folders(text: &str) -> Vec<(String, GroupFiles)> {
    let mut folders = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (root, files) = match controllers {
            "" => ("/sys/fs/cgroup", V2),
            own if own.split(',').any(|own| own == "memory") => ("/sys/fs/cgroup/memory", V1),
            _ => continue,
        };
        let above = std::path::Path::new(path).ancestors();
        folders.extend(above.map(|path| {
            (format!("{root}{}", path.display().to_string().trim_end_matches('/')), files)
        }));
    }
    folders
}

/// What is left of the process's limit on addresses (`ulimit -v`), if it has one.
fn address_space(limits: &str, status: &str) -> Option<u64> {
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let limit: u64 = limit.split_whitespace().next()?.parse().ok()?;
    let used = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    let used: u64 = used.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(limit.saturating_sub(used.saturating_mul(1024)))
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
        let need = MemoryNeed { batch: 3 << 30, parameters: 1 << 28, outputs: 0, losses: 1 << 28 };
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
    fn every_group_of_the_process_and_its_limit_on_addresses_count() {
        let text = "4:cpu,cpuacct:/slurm\n3:memory:/slurm/job_7/step_0\n0::/user.slice/run.scope\n";
        let folders = group_folders(text);
        let paths: Vec<&str> = folders.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/sys/fs/cgroup/memory/slurm/job_7/step_0",
                "/sys/fs/cgroup/memory/slurm/job_7",
                "/sys/fs/cgroup/memory/slurm",
                "/sys/fs/cgroup/memory",
                "/sys/fs/cgroup/user.slice/run.scope",
                "/sys/fs/cgroup/user.slice",
                "/sys/fs/cgroup",
            ]
        );
        assert_eq!((folders[0].1, folders[6].1), (V1, V2));
        assert!(group_folders("").is_empty() && group_folders("nonsense\n1:memory").is_empty());

        let limits = "Limit  Soft  Hard  Units\nMax address space   4194304  8388608  bytes\n";
        assert_eq!(address_space(limits, "VmSize:\t    1024 kB\n"), Some(3 << 20));
        assert_eq!(address_space(limits, "VmSize:\t 99999999 kB\n"), Some(0));
        let none = "Max address space         unlimited            unlimited            bytes\n";
        assert_eq!(address_space(none, "VmSize: 1024 kB\n"), None);
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
