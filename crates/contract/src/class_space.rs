//! Which classes a teacher's logits are over.

use crate::method::Method;

/// Which classes a teacher's logits are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassSpace {
    /// The classes of the data set, in their order.
    Dataset,
    /// The teacher's own classes, whatever they are.
    Teacher,
}

impl ClassSpace {
    /// What a method reads its teachers' logits over.
    #[must_use]
    pub fn of(method: &dyn Method) -> Self {
        if method.own_classes() { Self::Teacher } else { Self::Dataset }
    }
}
