//! What a plan tells while it goes on.

use faculty_teachers::RunData;

use crate::record::RunCard;
use crate::train::Event;

/// What a plan tells while it goes on.
#[derive(Debug)]
pub enum PlanEvent<'a> {
    /// A student is about to be trained, or in mutual learning all of them.
    Student {
        /// What is known before its first epoch.
        card: &'a RunCard,
        /// The data.
        data: &'a RunData,
    },
    /// A student was finished by an earlier call.
    Kept(&'a RunCard),
    /// From the training.
    Run(Event<'a>),
}
