//! What a method would weigh its teachers on images that are not trained on.

use faculty_contract::losses::maps::MapValues;
use faculty_contract::{LearnerBatch, Needs};
use faculty_nets::{Inference, TeacherOutputs};

use super::Learner;
use super::step::CHECKED;
use super::tape::{Leaves, tensor1, tensor2, tensor4, values};

/// Student and projectors as they are now, in inference mode, behind the method's own weights.
#[derive(Debug)]
pub struct WeightProbe<'a> {
    learner: &'a Learner,
    needs: Needs,
    student: Inference,
    projectors: Vec<Inference>,
}

impl Learner {
    /// A look at the teacher weights of `epoch`; none where the method does not use teachers, or
    /// where its weights depend on maps of the teachers, which nobody keeps for plain images.
    ///
    /// # Panics
    /// When the student lacks a tap that the method asks for; a checked run has them all.
    #[must_use]
    pub fn weight_probe(&self, epoch: usize) -> Option<WeightProbe<'_>> {
        let needs = self.method.needs(epoch);
        let reads_maps = !needs.teacher_taps.is_empty() && self.method.setup().weights_read_maps;
        // Memories go by the numbers of training samples, which these are not.
        let by_number = needs.sample_numbers || !self.memory.read().is_empty();
        if !needs.teacher_logits || reads_maps || by_number {
            return None;
        }
        let network = &self.student.network;
        let graph = network.graph();
        let taps = needs.student_taps.iter().chain(self.projectors.iter().map(|(tap, _)| tap));
        let values: Vec<_> = taps.map(|tap| tap.value(graph).expect(CHECKED)).collect();
        let projectors = self.projectors.iter().filter(|_| needs.trained_parts);
        Some(WeightProbe {
            learner: self,
            student: Inference::new(network, &values),
            projectors: projectors
                .map(|(_, trained)| Inference::new(&trained.network, &[]))
                .collect(),
            needs,
        })
    }
}

impl WeightProbe<'_> {
    /// Weights `[teachers, batch]` at each level. The batch's teachers need only have logits. Empty
    /// for a batch that the method cannot work on: too small or not full.
    ///
    /// # Panics
    /// When the batch does not fit the networks.
    pub fn weights(
        &mut self,
        batch: &LearnerBatch<'_>,
        full: usize,
    ) -> Vec<(&'static str, Vec<f64>)> {
        let size = batch.labels.len();
        if size < self.needs.min_batch || (self.needs.full_batches && size != full) {
            return Vec::new();
        }
        let Self { learner, needs, student, projectors } = self;
        let graph = learner.student.network.graph();
        student.run(batch.inputs, size);
        for ((tap, _), plan) in learner.projectors.iter().zip(projectors.iter_mut()) {
            plan.run(student.value(tap.value(graph).expect(CHECKED)), size);
        }
        // Maps stand in where the method reads them for its loss alone.
        let blank = |(teacher, shapes): (&TeacherOutputs, &faculty_contract::TapShapes)| {
            let length = |tap| size * shapes[tap].channels * shapes[tap].positions();
            let maps = needs.teacher_taps.iter().map(|tap| vec![0.0; length(tap)]).collect();
            TeacherOutputs { logits: teacher.logits.clone(), maps }
        };
        let teachers: Vec<TeacherOutputs> =
            batch.teachers.iter().zip(&learner.shapes.teachers).map(blank).collect();
        let batch = LearnerBatch { teachers: &teachers, ..*batch };
        let leaves = leaves(learner, needs, student, projectors, size);
        let loss = learner.method.loss(&learner.step(&batch, needs, &leaves));
        let mut weights: Vec<(&'static str, Vec<f64>)> = loss
            .teacher_weights
            .into_iter()
            .map(|shown| (shown.level, values(shown.weights).into_iter().map(f64::from).collect()))
            .collect();
        if needs.map_terms {
            let projected = projectors.iter().map(|plan| MapValues {
                values: plan.value(plan.graph().output()),
                shape: plan.graph().shape(plan.graph().output()),
            });
            let step = learner.map_step(&batch, projected.collect());
            let terms = learner.method.map_terms(&step, &mut Vec::new()).into_iter();
            let weighed = terms.filter(|term| !term.teacher_weights.is_empty());
            weights.extend(weighed.map(|term| (term.name, term.teacher_weights)));
        }
        weights
    }
}

/// What the method sees, without gradients.
fn leaves(
    learner: &Learner,
    needs: &Needs,
    student: &Inference,
    projectors: &[Inference],
    size: usize,
) -> Leaves {
    let device = &learner.device;
    let graph = student.graph();
    let tensor = |plan: &Inference, value| {
        tensor4(plan.value(value), size, plan.graph().shape(value), device)
    };
    let (mut projected, mut parameters) = (Vec::new(), Vec::new());
    if needs.trained_parts {
        let plans = projectors.iter().filter(|_| needs.on_tape());
        projected = plans.map(|plan| tensor(plan, plan.graph().output())).collect();
        let values = learner.parameters.iter().flat_map(|trained| trained.network.parameters());
        parameters = values.map(|array| tensor1(array, device)).collect();
    }
    let taps = needs.student_taps.iter();
    Leaves {
        logits: tensor2(
            student.value(graph.output()),
            [size, learner.student.network.classes()],
            device,
        ),
        maps: taps.map(|tap| tensor(student, tap.value(graph).expect(CHECKED))).collect(),
        projected,
        parameters,
    }
}
