//! What a method reads in one epoch.

use faculty_nets::Tap;

/// What a method reads in one epoch. The trainer computes nothing that is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Teacher logits.
    pub teacher_logits: bool,
    /// Teacher logits over each teacher's own classes, see [`Setup::class_space`](crate::Setup::class_space).
    pub native_logits: bool,
    /// Each teacher's classifier.
    pub teacher_classifiers: bool,
    /// Each teacher's values at these places.
    pub teacher_taps: Vec<Tap>,
    /// The student's values at these places, beside its logits.
    pub student_taps: Vec<Tap>,
    /// The student's places that its projectors read.
    pub projector_taps: Vec<Tap>,
    /// Whether [`Parts::projectors`](crate::Parts::projectors) and [`Parts::parameters`](crate::Parts::parameters) take part and are trained.
    pub trained_parts: bool,
    /// Whether [`Method::map_terms`](crate::Method::map_terms) reads the projectors' results and the teachers' maps; then
    /// [`Step`](crate::Step) has neither.
    pub map_terms: bool,
    /// Whether [`Step`](crate::Step) has projectors' results and teachers' maps all the same.
    pub maps_on_tape: bool,
    /// Whether [`Parts::parameters`](crate::Parts::parameters) stay as they are this epoch; [`Parts::projectors`](crate::Parts::projectors) go on.
    pub frozen_parameters: bool,
    /// Whether every batch must be full: trained parts are as wide as the batch.
    pub full_batches: bool,
    /// Whether [`Step::sample_numbers`](crate::Step::sample_numbers) are filled in.
    pub sample_numbers: bool,
    /// Whether the teachers are trained too: networks of the learner, not sources that say what they
    /// always say.
    pub learning_teachers: bool,
    /// Fewest samples of a batch; 2 or more where samples are compared with each other.
    pub min_batch: usize,
}

impl Needs {
    /// Whether [`Step`](crate::Step) has the maps.
    #[must_use]
    pub fn on_tape(&self) -> bool {
        !self.map_terms || self.maps_on_tape
    }

    /// Both together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let both = |mut taps: Vec<Tap>, other: Vec<Tap>| {
            taps.extend(other);
            taps.sort_unstable();
            taps.dedup();
            taps
        };
        Self {
            teacher_logits: self.teacher_logits || other.teacher_logits,
            native_logits: self.native_logits || other.native_logits,
            teacher_classifiers: self.teacher_classifiers || other.teacher_classifiers,
            teacher_taps: both(self.teacher_taps, other.teacher_taps),
            student_taps: both(self.student_taps, other.student_taps),
            projector_taps: both(self.projector_taps, other.projector_taps),
            trained_parts: self.trained_parts || other.trained_parts,
            map_terms: self.map_terms || other.map_terms,
            maps_on_tape: self.maps_on_tape || other.maps_on_tape,
            frozen_parameters: self.frozen_parameters || other.frozen_parameters,
            full_batches: self.full_batches || other.full_batches,
            sample_numbers: self.sample_numbers || other.sample_numbers,
            learning_teachers: self.learning_teachers || other.learning_teachers,
            min_batch: self.min_batch.max(other.min_batch),
        }
    }

    /// Whether teachers are run at all.
    #[must_use]
    pub fn teachers(&self) -> bool {
        self.teacher_logits || self.native_logits || !self.teacher_taps.is_empty()
    }
}
