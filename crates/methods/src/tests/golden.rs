//! Every method against reference numbers computed independently in float64.
//!
//! `FACULTY_GOLDEN` names another folder of such files; the default is the project's own copy.

use std::path::Path;

use burn::Tensor;
use burn::tensor::{Device, Int, TensorData};
use faculty_nets::{MapShape, Network, TrainingRun};
use faculty_testkit::{Case, Reference, Tolerance, files, reference_folder};

use crate::method::amtml_kd::learnt_log_weights;
use crate::method::at::attention_difference;
use crate::method::ca_mkd::{feature_weights, inter_weights, map_errors, projector, weighted_sum};
use crate::method::ckd::{all_pairs_difference, one_hot, tuple_coefficients, tuple_difference};
use crate::method::dkd::decoupled;
use crate::method::rkd::{angle_difference, distance_difference};
use crate::method::sp::similarity_difference;
use crate::shared::features::rows;
use crate::weighting::{agreement_weights, logit_gradients};
use crate::{
    Aekd, Aver, CaMkd, CaMkdConfig, ClassifierTensors, Dih, DihConfig, Dist, DistConfig, Dkd,
    DkdConfig, Ebkd, Kd, KdConfig, Loss, Method, OutputConfig, Reduce, Scale, Step,
    entropic_transport, gradient_by_teacher_logits, gradient_by_weights, label_cost, minibatch_cka,
    prior_ratio, probe_step, reliability_weights, weighted_soft_cross_entropy,
};
use faculty_contract::losses::maps::{MapValues, weighted_errors};
use faculty_contract::losses::{
    cross_entropy, generalized_jensen_shannon, kl_from_log_target, log_mixture,
};
use faculty_nets::FrozenClassifier;

/// f32 against float64 references: 1e-4 of each value, and of the largest one for values near zero.
const TOLERANCE: Tolerance = Tolerance { relative: 1e-4, of_largest: 1e-6, absolute: 1e-8 };

/// Cases of other crates: the drafts of speculative distillation are accepted in `language`.
const ELSEWHERE: &[&str] = &["skd_accept"];

#[test]
fn golden_cases() {
    let folder =
        reference_folder("FACULTY_GOLDEN", Path::new("crates/methods/tests/golden")).unwrap();
    let (mut passed, mut elsewhere) = (0, 0);
    let mut problems = Vec::new();
    for path in files(&folder, "safetensors") {
        let case = Case::read(&path);
        let name = case.metadata.get("case").cloned().unwrap_or_default();
        let result = match name.as_str() {
            "kd" => kd(&case),
            "aver" => aver(&case),
            "ebkd" => ebkd(&case),
            "aekd" => aekd(&case),
            "dkd" => dkd(&case),
            "dist" => dist(&case),
            "feature_losses" => feature_losses(&case),
            "amtml_kd" => amtml_kd(&case),
            "ckd" => ckd(&case),
            "dih" => dih(&case),
            "dpk_ratio" => dpk_ratio(&case),
            "generalized_jsd" => jensen_shannon(&case),
            "mt_bert_distill" => mt_bert(&case),
            "sinkhorn" => sinkhorn(&case),
            "bilevel" => bilevel(&case),
            "ca_mkd_logits" => ca_mkd_logits(&case),
            "ca_mkd_inter" => ca_mkd_inter(&case),
            other if ELSEWHERE.contains(&other) => {
                elsewhere += 1;
                continue;
            }
            other => Err(format!("{}: unknown case `{other}`", case.name)),
        };
        match result {
            Ok(()) => passed += 1,
            Err(problem) => problems.push(problem),
        }
    }
    println!("golden: {passed} cases passed, {elsewhere} cases of other crates");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(passed > 0, "{}: no case of a known method", folder.display());
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn tensor<const D: usize>(reference: &Reference) -> Tensor<D> {
    let shape: [usize; D] = reference.shape.clone().try_into().expect("rank of the reference");
    Tensor::from_data(TensorData::new(reference.values.clone(), shape), &device())
}

fn int_tensor(reference: &Reference) -> Tensor<1, Int> {
    let values: Vec<i32> = reference.values.iter().map(|&v| v as i32).collect();
    Tensor::from_data(TensorData::new(values, [reference.values.len()]), &device())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

/// The case's logits as a method sees them; `teachers` is `[K, B, C]`.
fn step(case: &Case, teachers: Tensor<3>) -> Step {
    let student: Tensor<2> = tensor(case.tensor("in.student_logits"));
    let labels = case.tensors.get("in.labels").map_or_else(
        // The single-teacher KD case has no labels: its loss is the KL term alone.
        || Tensor::zeros([student.dims()[0]], &device()),
        int_tensor,
    );
    Step::of_logits(labels, student.require_grad(), teachers)
}

/// Compares a method's `kd` term and its gradient with the file's loss.
fn check_kd_term(case: &Case, step: &Step, loss: &Loss) -> Result<(), String> {
    let term = loss.terms.iter().find(|term| term.name == "kd").expect("a kd term");
    case.compare("out.loss", &values(term.value.clone()), TOLERANCE)?;
    let gradients = term.value.clone().backward();
    let gradient = step.student_logits.grad(&gradients).expect("the student has a gradient");
    case.compare("out.grad_student", &values(gradient), TOLERANCE)
}

fn temperature(case: &Case) -> f32 {
    case.param("tau") as f32
}

fn kd(case: &Case) -> Result<(), String> {
    let teacher: Tensor<2> = tensor(case.tensor("in.teacher_logits"));
    let step = step(case, teacher.unsqueeze::<3>());
    let method = Kd::new(KdConfig { temperature: temperature(case), ..KdConfig::default() });
    check_kd_term(case, &step, &method.loss(&step))
}

fn aver(case: &Case) -> Result<(), String> {
    let step = step(case, tensor(case.tensor("in.teacher_logits")));
    let config = OutputConfig { temperature: temperature(case), ..OutputConfig::default() };
    check_kd_term(case, &step, &Aver::new(config).loss(&step))
}

fn ebkd(case: &Case) -> Result<(), String> {
    let step = step(case, tensor(case.tensor("in.teacher_logits")));
    let config = OutputConfig { temperature: temperature(case), ..OutputConfig::default() };
    let loss = Ebkd::new(config, Scale::Unit).loss(&step);
    case.compare("out.weights", &values(loss.teacher_weights[0].weights.clone()), TOLERANCE)?;
    check_kd_term(case, &step, &loss)?;
    compare_official(case, &Ebkd::new(config, Scale::Official).loss(&step))
}

/// The official factor is the term's weight.
fn compare_official(case: &Case, loss: &Loss) -> Result<(), String> {
    let term = loss.terms.iter().find(|term| term.name == "kd").expect("a kd term");
    let scaled = term.value.clone() * term.weight;
    case.compare("out.loss_official", &values(scaled), TOLERANCE)
}

fn aekd(case: &Case) -> Result<(), String> {
    let teachers: Tensor<3> = tensor(case.tensor("in.teacher_logits"));
    let step = step(case, teachers.clone());
    let config = OutputConfig { temperature: temperature(case), ..OutputConfig::default() };
    let gradients = logit_gradients(&teachers, &step.student_logits, config.temperature);
    let flat: Vec<f32> = gradients.iter().flatten().map(|&g| g as f32).collect();
    case.compare("out.teacher_grads", &flat, TOLERANCE)?;
    let weights = agreement_weights(&gradients, case.param("cap"));
    let rounded: Vec<f32> = weights.iter().map(|&w| w as f32).collect();
    case.compare("out.weights", &rounded, TOLERANCE)?;
    let classes = teachers.dims()[2];
    let combined =
        (0..classes).map(|c| gradients.iter().zip(&weights).map(|(g, w)| w * g[c]).sum());
    let objective: f64 = combined.map(|v: f64| v * v).sum();
    case.compare("out.objective", &[objective as f32], TOLERANCE)?;
    check_kd_term(case, &step, &Aekd::new(config, case.param("cap")).loss(&step))
}

fn dkd(case: &Case) -> Result<(), String> {
    let teacher: Tensor<2> = tensor(case.tensor("in.teacher_logits"));
    let step = step(case, teacher.clone().unsqueeze::<3>());
    let student = step.student_logits.clone();
    let (target, others) = decoupled(teacher, student, &step.labels, temperature(case));
    case.compare("out.tckd", &values(target.mean()), TOLERANCE)?;
    case.compare("out.nckd", &values(others.mean()), TOLERANCE)?;
    let config = DkdConfig {
        temperature: temperature(case),
        alpha: case.param("alpha"),
        beta: case.param("beta"),
        warmup_epochs: 1,
    };
    check_distillation(case, &step, &Dkd::new(config).loss(&step))
}

fn dist(case: &Case) -> Result<(), String> {
    let teacher: Tensor<2> = tensor(case.tensor("in.teacher_logits"));
    let step = step(case, teacher.unsqueeze::<3>());
    let config = DistConfig {
        temperature: temperature(case),
        beta: case.param("beta"),
        gamma: case.param("gamma"),
    };
    check_distillation(case, &step, &Dist::new(config).loss(&step))
}

/// Compares all terms but the task with the file's loss.
fn check_distillation(case: &Case, step: &Step, loss: &Loss) -> Result<(), String> {
    let terms = loss.terms.iter().filter(|term| term.name != "task");
    let total = terms.map(|t| t.value.clone() * t.weight).reduce(|a, b| a + b).expect("terms");
    case.compare("out.loss", &values(total.clone()), TOLERANCE)?;
    let gradient = step.student_logits.grad(&total.backward()).expect("the student has a gradient");
    case.compare("out.grad_student", &values(gradient), TOLERANCE)
}

fn feature_losses(case: &Case) -> Result<(), String> {
    let pooled = |map: Tensor<4>| rows(map.mean_dims(&[2, 3]));
    type Term<'a> = Box<dyn Fn(Tensor<4>, Tensor<4>) -> Tensor<1> + 'a>;
    let terms: [(&str, Term<'_>); 4] = [
        ("at", Box::new(|s, t| attention_difference(s, t).mean())),
        ("sp", Box::new(|s, t| similarity_difference(s, t).mean())),
        ("rkd_distance", Box::new(|s, t| distance_difference(pooled(s), pooled(t)).mean())),
        ("rkd_angle", Box::new(|s, t| angle_difference(pooled(s), pooled(t)).mean())),
    ];
    for (name, term) in terms {
        let student: Tensor<4> = tensor(case.tensor("in.student_map")).require_grad();
        let value = term(student.clone(), tensor(case.tensor("in.teacher_map")));
        case.compare(&format!("out.{name}"), &values(value.clone()), TOLERANCE)?;
        let gradient = student.grad(&value.backward()).expect("the student has a gradient");
        case.compare(&format!("out.grad_{name}"), &values(gradient), TOLERANCE)?;
    }
    Ok(())
}

fn amtml_kd(case: &Case) -> Result<(), String> {
    let step = step(case, tensor(case.tensor("in.teacher_logits")));
    let theta: Tensor<2> = tensor(case.tensor("in.theta")).require_grad();
    let score: Tensor<2> = tensor(case.tensor("in.score")).require_grad();
    let pooled: Tensor<2> = tensor(case.tensor("in.student_embedding"));
    let width = score.dims()[0];
    let log_weights = learnt_log_weights(theta.clone(), score.clone().reshape([width]), pooled);
    case.compare("out.weights", &values(log_weights.clone().exp()), TOLERANCE)?;
    let target = log_mixture(step.given_logits().clone(), log_weights, temperature(case));
    case.compare("out.target", &values(target.clone().exp()), TOLERANCE)?;
    let student = step.student_logits.clone();
    let loss = kl_from_log_target(target, student.clone(), temperature(case)).mean();
    case.compare("out.loss", &values(loss.clone()), TOLERANCE)?;
    let gradients = loss.backward();
    for (name, leaf) in [("student", student), ("theta", theta), ("score", score)] {
        let gradient = values(leaf.grad(&gradients).expect("a gradient"));
        case.compare(&format!("out.grad_{name}"), &gradient, TOLERANCE)?;
    }
    Ok(())
}

fn ckd(case: &Case) -> Result<(), String> {
    let labels = int_tensor(case.tensor("in.labels"));
    let tuples: Vec<[usize; 3]> = case
        .values("in.tuples")
        .chunks_exact(3)
        .map(|t| [t[0] as usize, t[1] as usize, t[2] as usize])
        .collect();
    for name in ["pairs", "groups", "all_pairs"] {
        let student: Tensor<2> = tensor(case.tensor("in.student_logits")).require_grad();
        let [batch, classes] = student.dims();
        let of_teacher = student.clone() - tensor(case.tensor("in.teacher_logits"));
        let (key, loss) = if name == "all_pairs" {
            (name.to_owned(), all_pairs_difference(of_teacher))
        } else {
            let matrix = tuple_coefficients(&tuples, batch, name == "groups");
            let shape = [tuples.len(), batch];
            let matrix = Tensor::from_data(TensorData::new(matrix, shape), &device());
            let of_labels = student.clone() - one_hot(&labels, classes);
            let loss = tuple_difference(&matrix, of_labels) + tuple_difference(&matrix, of_teacher);
            (format!("loss_{name}"), loss)
        };
        case.compare(&format!("out.{key}"), &values(loss.clone()), TOLERANCE)?;
        let gradient = student.grad(&loss.backward()).expect("the student has a gradient");
        case.compare(&format!("out.grad_{name}"), &values(gradient), TOLERANCE)?;
    }
    Ok(())
}

fn dih(case: &Case) -> Result<(), String> {
    for (reduce, key) in [(Reduce::Mean, "out.loss_mean"), (Reduce::Sum, "out.loss_sum")] {
        let step = step(case, tensor(case.tensor("in.teacher_logits")));
        let temperature = temperature(case);
        let config = DihConfig { temperature, alpha: case.param("alpha"), reduce };
        let terms = Dih::new(config).loss(&step).terms;
        let loss = terms.into_iter().map(|t| t.value * t.weight).reduce(|a, b| a + b).unwrap();
        case.compare(key, &values(loss.clone()), TOLERANCE)?;
        if reduce == Reduce::Sum {
            let gradients = loss.backward();
            let gradient = step.student_logits.grad(&gradients).expect("the student's gradient");
            case.compare("out.grad_student", &values(gradient), TOLERANCE)?;
        }
    }
    Ok(())
}

fn dpk_ratio(case: &Case) -> Result<(), String> {
    let batch = case.tensor("in.student_features").shape[0];
    let (student, teacher) =
        (case.values("in.student_features"), case.values("in.teacher_features"));
    case.compare("out.cka", &[minibatch_cka(student, teacher, batch) as f32], TOLERANCE)?;
    case.compare("out.ratio", &[prior_ratio(student, teacher, batch) as f32], TOLERANCE)
}

fn jensen_shannon(case: &Case) -> Result<(), String> {
    let student: Tensor<2> = tensor(case.tensor("in.student_logits")).require_grad();
    let teacher = tensor(case.tensor("in.teacher_logits"));
    let loss = generalized_jensen_shannon(teacher, student.clone(), case.param("beta")).mean();
    case.compare("out.loss", &values(loss.clone()), TOLERANCE)?;
    let gradient = student.grad(&loss.backward()).expect("the student has a gradient");
    case.compare("out.grad_student", &values(gradient), TOLERANCE)
}

fn mt_bert(case: &Case) -> Result<(), String> {
    let step = step(case, tensor(case.tensor("in.teacher_logits")));
    let (teachers, student) = (step.given_logits(), &step.student_logits);
    let weights = reliability_weights(teachers, |logits| cross_entropy(logits, &step.labels));
    case.compare("out.weights", &values(weights.clone()), TOLERANCE)?;
    let loss = weighted_soft_cross_entropy(teachers, student, &weights, temperature(case));
    case.compare("out.loss", &values(loss.clone()), TOLERANCE)?;
    let gradient = student.grad(&loss.backward()).expect("the student has a gradient");
    case.compare("out.grad_student", &values(gradient), TOLERANCE)
}

fn sinkhorn(case: &Case) -> Result<(), String> {
    let probabilities = |name: &str| -> Vec<Vec<f64>> {
        let logits = case.tensor(name);
        logits
            .values
            .chunks_exact(logits.shape[1])
            .map(|row| {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let powers: Vec<f64> = row.iter().map(|z| f64::from(z - largest).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.iter().map(|p| p / sum).collect()
            })
            .collect()
    };
    let (teachers, students) =
        (probabilities("in.teacher_logits"), probabilities("in.student_logits"));
    let cost: Vec<f64> = case.values("in.cost").iter().map(|&m| f64::from(m)).collect();
    let (mut costs, mut plans, mut duals, mut gradients, mut label_costs) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let labels = case.values("in.labels");
    for ((p, q), &label) in teachers.iter().zip(&students).zip(labels) {
        let found = entropic_transport(p, q, &cost, case.param("epsilon"), 100_000);
        costs.push(found.cost as f32);
        plans.extend(found.plan.iter().map(|&p| p as f32));
        duals.extend(found.student_potential.iter().map(|&g| g as f32));
        label_costs.push(label_cost(p, &cost, q.len(), label as usize) as f32);
        // The softmax's gradient, with the potential held constant.
        let mean: f64 = q.iter().zip(&found.student_potential).map(|(q, g)| q * g).sum();
        let by_logit = q.iter().zip(&found.student_potential).map(|(q, g)| q * (g - mean));
        gradients.extend(by_logit.map(|g| (g / students.len() as f64) as f32));
    }
    case.compare("out.transport_cost", &costs, TOLERANCE)?;
    case.compare("out.plan", &plans, TOLERANCE)?;
    case.compare("out.dual_student", &duals, TOLERANCE)?;
    case.compare("out.grad_student", &gradients, TOLERANCE)?;
    case.compare("out.label_cost", &label_costs, TOLERANCE)
}

fn ca_mkd_logits(case: &Case) -> Result<(), String> {
    let step = step(case, tensor(case.tensor("in.teacher_logits")));
    let config = CaMkdConfig {
        temperature: temperature(case),
        intermediate: false,
        ..CaMkdConfig::default()
    };
    let loss = CaMkd::new(config).loss(&step);
    case.compare("out.weights", &values(loss.teacher_weights[0].weights.clone()), TOLERANCE)?;
    check_kd_term(case, &step, &loss)?;
    compare_official(
        case,
        &CaMkd::new(CaMkdConfig { scale: Scale::Official, ..config }).loss(&step),
    )
}

fn ca_mkd_inter(case: &Case) -> Result<(), String> {
    for detach in [false, true] {
        ca_mkd_inter_with(case, detach)?;
    }
    Ok(())
}

fn ca_mkd_inter_with(case: &Case, detach: bool) -> Result<(), String> {
    let map_shape = |name: &str| {
        let shape = &case.tensor(name).shape;
        MapShape::new(shape[1], shape[2], shape[3])
    };
    let student = case.tensor("in.student_map");
    let batch = student.shape[0];
    let teachers = case.param("teachers") as usize;
    let mut projectors: Vec<(Network, TrainingRun)> = (0..teachers)
        .map(|k| {
            let teacher = map_shape(&format!("in.teacher_map.{k}"));
            let graph = projector(map_shape("in.student_map"), teacher);
            let mut network = Network::from_graph("connector", graph, 1);
            let own = ["weight", "bias", "gamma", "beta"];
            for (parameter, name) in network.parameters_mut().iter_mut().zip(own) {
                parameter.clone_from(&case.tensor(&format!("in.connector.{k}.{name}")).values);
            }
            let mut run = TrainingRun::new();
            run.forward(&mut network, &student.values, batch);
            (network, run)
        })
        .collect();
    let (loss, weights, mse, gradients) = if detach {
        inter_off_tape(case, &projectors)
    } else {
        inter_on_tape(case, &projectors, batch)
    };
    case.compare("out.loss", &[loss], TOLERANCE)?;
    case.compare("out.loss_official", &[loss / teachers as f32], TOLERANCE)?;
    case.compare("out.weights", &weights, TOLERANCE)?;
    case.compare("out.mse", &mse, TOLERANCE)?;

    let mut by_map = vec![0.0_f32; student.values.len()];
    let suffix = if detach { "_detached" } else { "" };
    for (k, ((network, run), gradient)) in projectors.iter_mut().zip(gradients).enumerate() {
        let output = network.graph().output();
        let own = run.backward(network, [(output, gradient)], true).expect("asked for");
        by_map.iter_mut().zip(own).for_each(|(sum, g)| *sum += g);
        let name = format!("out.grad_connector.{k}.weight_detached");
        if detach && case.tensors.contains_key(&name) {
            case.compare(&name, &run.gradients()[0], TOLERANCE)?;
        }
    }
    case.compare(&format!("out.grad_student_map{suffix}"), &by_map, TOLERANCE)
}

/// Loss, weights, errors, and gradients by the projected maps.
type Inter = (f32, Vec<f32>, Vec<f32>, Vec<Vec<f32>>);

fn inter_off_tape(case: &Case, projectors: &[(Network, TrainingRun)]) -> Inter {
    let maps: Vec<MapValues<'_>> = projectors
        .iter()
        .map(|(network, run)| {
            let output = network.graph().output();
            MapValues { values: run.value(output), shape: network.graph().shape(output) }
        })
        .collect();
    let values = |name: String| case.tensor(&name).values.clone();
    let heads: Vec<FrozenClassifier> = (0..maps.len())
        .map(|k| FrozenClassifier {
            weight: values(format!("in.head.{k}.weight")),
            bias: values(format!("in.head.{k}.bias")),
        })
        .collect();
    let targets: Vec<Vec<f32>> =
        (0..maps.len()).map(|k| values(format!("in.teacher_map.{k}"))).collect();
    let targets: Vec<&[f32]> = targets.iter().map(Vec::as_slice).collect();
    let labels: Vec<u32> = values("in.labels".to_owned()).iter().map(|&v| v as u32).collect();
    let weights = inter_weights(&maps, &heads, &labels, None);
    let errors = weighted_errors(&maps, &targets, &weights, 1.0, &mut Vec::new());
    let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect();
    (errors.value as f32, narrow(&weights), narrow(&errors.errors), errors.gradients)
}

fn inter_on_tape(case: &Case, projectors: &[(Network, TrainingRun)], batch: usize) -> Inter {
    let leaves: Vec<Tensor<4>> = projectors
        .iter()
        .map(|(network, run)| {
            let output = network.graph().output();
            let shape = network.graph().shape(output);
            let dims = [batch, shape.channels, shape.height, shape.width];
            let data = TensorData::new(run.value(output).to_vec(), dims);
            Tensor::from_data(data, &device()).require_grad()
        })
        .collect();
    let teachers = leaves.len();
    let maps: Vec<Tensor<4>> =
        (0..teachers).map(|k| tensor(case.tensor(&format!("in.teacher_map.{k}")))).collect();
    let classifiers: Vec<ClassifierTensors> = (0..teachers)
        .map(|k| ClassifierTensors {
            weight: tensor(case.tensor(&format!("in.head.{k}.weight"))),
            bias: tensor(case.tensor(&format!("in.head.{k}.bias"))),
        })
        .collect();
    let labels = int_tensor(case.tensor("in.labels"));
    let weights = feature_weights(&leaves, &classifiers, |logits| cross_entropy(logits, &labels));
    let errors = map_errors(&leaves, &maps);
    let loss = weighted_sum(&weights, &errors);
    let value = values(loss.clone())[0];
    let gradients = loss.backward();
    let gradients = leaves
        .iter()
        .map(|leaf| values(leaf.grad(&gradients).expect("every projector has a gradient")))
        .collect();
    (value, values(weights), values(errors), gradients)
}

/// A linear student in f64: `z = x Wᵀ`.
struct LinearStudent {
    weight: Vec<f64>,
    classes: usize,
}

impl LinearStudent {
    /// Log-probabilities at this temperature, one row a sample.
    fn log_probabilities(&self, x: &[f64], temperature: f64) -> Vec<Vec<f64>> {
        let width = self.weight.len() / self.classes;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        x.chunks_exact(width)
            .map(|x| self.weight.chunks_exact(width).map(|w| dot(w, x)).collect::<Vec<f64>>())
            .map(|logits| log_probabilities(&logits, temperature))
            .collect()
    }

    /// `Σ_b d[b,c] x[b,·]`: the gradient by W from that by the logits.
    fn gradient(&self, x: &[f64], by_logits: &[Vec<f64>]) -> Vec<f64> {
        let width = self.weight.len() / self.classes;
        let mut gradient = vec![0.0; self.weight.len()];
        for (x, row) in x.chunks_exact(width).zip(by_logits) {
            for (gradient, d) in gradient.chunks_exact_mut(width).zip(row) {
                gradient.iter_mut().zip(x).for_each(|(g, x)| *g += d * x);
            }
        }
        gradient
    }

    fn moved(&self, direction: &[f64], step: f64) -> Self {
        let weight = self.weight.iter().zip(direction).map(|(w, d)| w + step * d).collect();
        Self { weight, classes: self.classes }
    }
}

fn log_probabilities(logits: &[f64], temperature: f64) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|z| ((z - largest) / temperature).exp()).sum();
    logits.iter().map(|z| (z - largest) / temperature - sum.ln()).collect()
}

/// Gradients through one step of a linear student; differences are good to about a percent.
fn bilevel(case: &Case) -> Result<(), String> {
    let loose = Tolerance { relative: 1e-2, of_largest: 1e-3, absolute: 1e-8 };
    let wide = |name: &str| -> Vec<f64> { case.values(name).iter().map(|&v| v.into()).collect() };
    let (eta, tau) = (case.param("eta"), case.param("tau"));
    let (x, x_meta) = (wide("in.x"), wide("in.x_meta"));
    let (labels, labels_meta) = (case.values("in.labels"), case.values("in.labels_meta"));
    let weights = wide("in.weights");
    let shape = &case.tensor("in.teacher_logits").shape;
    let [count, batch, classes] = [shape[0], shape[1], shape[2]];
    let teachers: Vec<Vec<f64>> = wide("in.teacher_logits")
        .chunks_exact(classes)
        .map(|row| log_probabilities(row, tau))
        .collect();
    let student = LinearStudent { weight: wide("in.student_weight"), classes };

    // Gradient of the inner loss by the logits: of CE, then of τ² KL.
    let ce_gradient = |log_q: &[f64], label: f32, batch: usize| -> Vec<f64> {
        let is_label = |c: usize| f64::from(u8::from(c == label as usize));
        (0..classes).map(|c| (log_q[c].exp() - is_label(c)) / batch as f64).collect()
    };
    let plain = student.log_probabilities(&x, 1.0);
    let soft = student.log_probabilities(&x, tau);
    let inner: Vec<Vec<f64>> = (0..batch)
        .map(|b| {
            let mut row = ce_gradient(&plain[b], labels[b], batch);
            for k in 0..count {
                let (p, w) = (&teachers[k * batch + b], weights[k * batch + b]);
                for c in 0..classes {
                    row[c] += w * tau * (soft[b][c].exp() - p[c].exp()) / batch as f64;
                }
            }
            row
        })
        .collect();
    let updated = student.moved(&student.gradient(&x, &inner), -eta);
    let rounded: Vec<f32> = updated.weight.iter().map(|&w| w as f32).collect();
    case.compare("out.updated_weight", &rounded, TOLERANCE)?;
    let after = updated.log_probabilities(&x_meta, 1.0);
    let meta: Vec<Vec<f64>> = after
        .iter()
        .zip(labels_meta)
        .map(|(row, &label)| ce_gradient(row, label, labels_meta.len()))
        .collect();
    let direction = updated.gradient(&x_meta, &meta);

    // MMKD probes along the meta loss's gradient by that of the step, IKD along that by the student.
    let by_step: Vec<f64> = direction.iter().map(|v| -eta * v).collect();
    let probes = |direction: &[f64]| {
        let rounded: Vec<f32> = direction.iter().map(|&v| v as f32).collect();
        let step = probe_step(&rounded);
        let at = |by: f64| student.moved(direction, by).log_probabilities(&x, tau);
        (step, [at(step), at(-step)])
    };
    let divergences = |log_q: &[Vec<f64>]| -> Vec<f64> {
        let terms = teachers.iter().enumerate().map(|(at, log_p)| {
            let own = log_p.iter().zip(&log_q[at % batch]);
            tau * tau * own.map(|(p, q)| p.exp() * (p - q)).sum::<f64>()
        });
        terms.collect()
    };
    let (step, [above, below]) = probes(&by_step);
    let by_weights = gradient_by_weights(&divergences(&above), &divergences(&below), batch, step);
    let by_weights: Vec<f32> = by_weights.iter().map(|&g| g as f32).collect();
    case.compare("out.grad_weights", &by_weights, loose)?;
    let (step, probes) = probes(&direction);
    let mut by_logits = Vec::new();
    for (at, log_p) in teachers.iter().enumerate() {
        let p: Vec<f64> = log_p.iter().map(|p| p.exp()).collect();
        let [above, below] = [&probes[0][at % batch], &probes[1][at % batch]];
        let change: Vec<f64> = above.iter().zip(below).map(|(a, b)| a - b).collect();
        let own = gradient_by_teacher_logits(&p, &change, weights[at], tau, batch, eta, step);
        by_logits.extend(own.iter().map(|&g| g as f32));
    }
    case.compare("out.grad_teacher_logits", &by_logits, loose)
}
