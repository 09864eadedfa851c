//! Which view of a sample a network sees.

/// Which view of a sample a network sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// The augmented view of this number, from 0: a function of seed, sample and number alone.
    Train(u32),
    /// The sample as it is, for evaluation.
    Plain,
    /// A changed sample that is no view of it at all, to try how a network would do on it. What
    /// keeps outputs by sample and view must compute these anew and not keep them.
    Probe,
}
