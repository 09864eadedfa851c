//! Which classes a teacher's logits are over.

/// Which classes a teacher's logits are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassSpace {
    /// The classes of the data set, in their order.
    Dataset,
    /// The teacher's own classes, whatever they are.
    Teacher,
}
