//! What a frozen network gives of a batch, and its classifier, as plain values.

/// What a teacher says about a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TeacherOutputs {
    /// `[batch, classes]`, raw.
    pub logits: Vec<f32>,
    /// One `[batch, channels, height, width]` for each tap that was asked for, in that order.
    pub maps: Vec<Vec<f32>>,
}

/// A frozen classifier behind global average pooling, owned.
#[derive(Clone, Debug, PartialEq)]
pub struct FrozenClassifier {
    /// Row-major `[classes, channels]`.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
}
