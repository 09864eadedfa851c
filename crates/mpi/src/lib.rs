//! The ranks of a training as processes of MPI.
//!
//! ```text
//! World        this process among those that `mpirun` or `srun` started     feature `mpi`
//! launched     how many processes a launcher says it started
//! ```
//! A crate of its own, so that what is above [`faculty_comm`] is built once, with MPI or without.

#[cfg(feature = "mpi")]
mod world;

#[cfg(feature = "mpi")]
pub use world::World;

/// Whether this program can be one of several ranks.
pub const BUILT_WITH_MPI: bool = cfg!(feature = "mpi");

/// Variables by which launchers tell a process how many they started.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"];

/// How many processes the launcher of this one says it started for one MPI program; none without a
/// launcher.
#[must_use]
pub fn launched() -> Option<usize> {
    launched_by(|name| std::env::var(name).ok())
}

fn launched_by(variable: impl Fn(&str) -> Option<String>) -> Option<usize> {
    SIZES.iter().find_map(|name| variable(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_known_by_their_variables() {
        let by = |name: &'static str, value: &'static str| {
            launched_by(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(by("OMPI_COMM_WORLD_SIZE", "4"), Some(4));
        assert_eq!(by("PMI_SIZE", " 2 "), Some(2));
        assert_eq!(by("PMI_SIZE", "two"), None);
        assert_eq!(by("PATH", "4"), None);
    }
}
