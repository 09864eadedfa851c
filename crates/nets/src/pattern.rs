//! Which way ReLU and max pooling decide.

/// What a training run's forward passes do with the activation pattern: where ReLU passes a value on, and
/// which value of its window max pooling takes.
///
/// With the pattern of a point held, a network is smooth in its parameters, and differences of its gradients
/// around that point converge to the Hessian-vector product of automatic differentiation, which
/// differentiates no decision either. Without, they see the jump of the gradient at every kink between
/// both points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ActivationPattern {
    /// Every pass decides for itself.
    #[default]
    Free,
    /// The same, and what it decided is kept.
    Recorded,
    /// As the last recorded pass decided, forward and backward. Batches must have its size.
    Held,
}
