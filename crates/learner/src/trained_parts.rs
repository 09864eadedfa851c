//! Which parts of a learner are trained in an epoch.

use faculty_contract::Needs;

/// Whether this part of the learner is trained in an epoch with these needs.
pub(crate) fn takes_part(needs: &Needs, name: &str) -> bool {
    match name {
        "student" => true,
        "method" => needs.trained_parts && !needs.frozen_parameters,
        // Between steps, by an optimiser of their own.
        teacher if teacher.starts_with("teacher.") => false,
        _ => needs.trained_parts,
    }
}
