//! A teacher in an ONNX file, run by `rten`.
//!
//! ```text
//! input   one tensor [batch, channels, height, width] or [batch, height, width, channels], of floats
//!         or bytes; a fixed batch is accepted
//! output  logits [batch, classes]: the only output, or the one named `output`; of a network that
//!         ends in a softmax or sigmoid what it is taken of, of other probabilities their logarithm
//! map     the input of the global average pooling in front of the last Gemm or MatMul, or `map`
//! ```
//! The classifier is the weight of that last layer. A trial run checks that it gives the logits when
//! it is put behind the mean of the map; if it does not, the teacher has logits and a map, but no
//! classifier.
//!
//! A file whose every node is one of our own operations becomes a network of this program, if that gives
//! the same logits ([`OnnxTeacher::as_network`]): whole batches on our kernels, and its stages as taps.
//!
//! In the runtime every sample is run by itself and on one thread, samples side by side, so that its outputs depend
//! neither on the batch around it nor on the number of threads. Only a file that insists on batches
//! of N samples (a reshape to a fixed size) is run N at a time, the last batch padded with zeros;
//! then rounding may depend on the place in the batch.
//!
//! The file is checked before the runtime sees it: its size, its nesting, the length of its paths
//! (`limits`), and that external data lies beside it. Then its operators are brought into those that
//! the runtime computes right (`lowering`). A panic of the runtime is an error of the file. A model is
//! a program, though: how long it computes and how much memory it takes is not bounded here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};

use faculty_nets::{Inference, MapShape, Network, OnnxNetwork};
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::Layout as _;

use self::activation::{are_probabilities, log_of};
use self::file::OnnxFile;
use self::image::Layout;
use self::limits::STACK_BYTES;
use crate::error::{Result, TeacherError};
use crate::source::{TeacherBatch, TeacherSource};
use faculty_nets::Tap;
use faculty_nets::onnx_file::Outcome;
use faculty_nets::{FrozenClassifier, TeacherInput, TeacherOutputs};

mod activation;
mod description;
mod file;
mod graph;
mod head;
mod image;
mod limits;
mod lowering;

pub use self::activation::Activation;
pub use self::description::OnnxDescription;
pub use self::file::OnnxChoice;

/// Largest difference between the logits and the classifier behind the mean of the map, as a share
/// of the largest logit.
const CLASSIFIER_TOLERANCE: f32 = 1e-3;

/// Largest difference between the logits of the runtime and of our own network of the same file, as a
/// share of the largest logit: what the order of sums in deep networks makes.
const NETWORK_TOLERANCE: f32 = 1e-4;

/// An ONNX file, ready to run.
pub struct OnnxTeacher {
    path: PathBuf,
    model: Model,
    input_id: NodeId,
    /// The logits, then the map if there is one.
    output_ids: Vec<NodeId>,
    /// Whether they are probabilities, whose logarithm stands for the logits.
    takes_logarithm: bool,
    /// What the file's own outputs are of the logits.
    activation: Activation,
    /// The tensor that the logits are.
    logits: String,
    /// Whether it reads images, and computes, as the file says.
    is_plain: bool,
    /// How the outputs are made logits, for identity; empty if they are what the file says.
    reading: String,
    notes: Vec<String>,
    input: TeacherInput,
    /// Samples of one run.
    group: usize,
    classes: usize,
    map: Option<MapShape>,
    classifier: Option<FrozenClassifier>,
    class_names: Option<Vec<String>>,
    files: Vec<PathBuf>,
    /// One thread each.
    pools: Vec<Arc<ThreadPool>>,
}

/// A tensor that the runtime gave: shape and values.
type Tensor = (Vec<usize>, Vec<f32>);

impl OnnxTeacher {
    /// Reads the file, chooses its tensors, and runs it once. `input` turns the student's images
    /// into its own. Samples are spread over as many threads as the current pool has.
    ///
    /// # Errors
    /// [`TeacherError::Onnx`] when the file cannot be read, is damaged, has an operator that is not
    /// supported, is for other images than `input` gives, has several outputs and none is chosen,
    /// lacks a tensor that is named, or fails in the trial run.
    pub fn load(path: &Path, choice: &OnnxChoice, input: TeacherInput) -> Result<Self> {
        // The threads are those of the pool that this was called in.
        let workers = rayon::current_num_threads().max(1);
        let load = || {
            let file = file::read(path, choice, input.shape())?;
            let alone = guarded(|| Self::prepare(path, &file, input.clone(), 1, workers));
            match (alone, file.image.batch) {
                // Perhaps a reshape inside knows only its own batch.
                (Err(_), Some(batch)) if batch > 1 => {
                    Self::prepare(path, &file, input.clone(), batch, workers)
                }
                (alone, _) => alone,
            }
        };
        on_deep_stack(load).map_err(unusable(path))
    }

    /// What the file says of itself.
    ///
    /// # Errors
    /// [`TeacherError::Onnx`] when it cannot be read or has not one input.
    pub fn describe(path: &Path) -> Result<OnnxDescription> {
        guarded(|| description::read(path)).map_err(unusable(path))
    }

    /// What to know of how its outputs are read.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How its outputs are computed and made logits, as far as not as the file says.
    pub(crate) fn reading(&self) -> String {
        self.reading.clone()
    }

    /// What turns its logits into the probabilities that the file itself gives.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The file as a network of this program, if it is one: every node is read, it gives these logits on
    /// made-up images of several contrasts, and it has the map and the classifier that were found.
    ///
    /// Such a network runs whole batches on our kernels, and has its stages as taps.
    pub(crate) fn as_network(&self) -> Option<Network> {
        if !self.is_plain || self.takes_logarithm || self.group != 1 {
            return None;
        }
        let onnx = OnnxNetwork::open(&self.path, Some(&self.logits)).ok()?;
        let (network, _) = onnx.network(self.input.shape(), None, 0).ok()?;
        let graph = network.graph();
        let map = graph.map().map(|map| graph.shape(map));
        let has_all = (self.map.is_none() || self.map == map)
            && (self.classifier.is_none() || network.classifier().is_some());
        if !has_all {
            return None;
        }
        let mut plan = Inference::new(&network, &[]);
        let agrees = self.trial_images().iter().all(|images| {
            let ids = &self.output_ids[..1];
            let Ok(values) = guarded(|| self.run(images, ids, &self.pools[0])) else {
                return false;
            };
            let Some((_, want)) = values.first() else { return false };
            let largest = want.iter().fold(0.0_f32, |largest, z| largest.max(z.abs()));
            let got = plan.run(images, 1);
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= NETWORK_TOLERANCE * largest;
            got.len() == want.len() && got.iter().zip(want).all(near)
        });
        agrees.then_some(network)
    }

    /// The class names in its metadata: `class_names`, a JSON list.
    #[must_use]
    pub fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    /// The files that it was read from: the ONNX file, then those with external data.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn prepare(
        path: &Path,
        file: &OnnxFile,
        input: TeacherInput,
        group: usize,
        workers: usize,
    ) -> Outcome<Self> {
        const EXPORT: &str = "`docs/teachers.md` says which operators are run; export it with others, \
                              or give its logits as a table (`logits = …`)";
        const NAMES: &str = "a viewer of graphs shows the names of tensors";
        let model = ModelOptions::with_all_ops()
            .prepack_weights(true)
            .load(file.model(group)?)
            .map_err(|error| (format!("it cannot be run: {error}"), EXPORT))?;
        let id = |name: &String| {
            model.find_node(name).ok_or_else(|| (format!("it has no tensor `{name}`"), NAMES))
        };
        let input_id = id(&file.image.name)?;
        let logits = file.before.as_ref().map_or(&file.output, |before| &before.logits);
        let output_ids =
            std::iter::once(logits).chain(&file.map).map(id).collect::<Outcome<_>>()?;
        let output_id = id(&file.output)?;
        let mut notes = Vec::new();
        if file.layout == Layout::ChannelsLast {
            notes.push("its images have channels last: they are transposed for it".to_owned());
        }
        if file.image.bytes {
            notes.push("its pixels are bytes: it is given 0 to 255, rounded".to_owned());
        }
        if !file.lowered.is_empty() {
            notes.push(format!("computed in float32: {}", file.lowered.join(", ")));
        }
        let mut teacher = Self {
            path: path.to_owned(),
            model,
            input_id,
            output_ids,
            takes_logarithm: false,
            activation: Activation::Softmax,
            logits: logits.clone(),
            is_plain: file.layout == Layout::ChannelsFirst
                && !file.image.bytes
                && file.lowered.is_empty(),
            reading: if file.lowered.is_empty() { "" } else { ", in float32" }.to_owned(),
            notes,
            input,
            group,
            classes: 0,
            map: None,
            classifier: None,
            class_names: file.class_names.clone(),
            files: file.files.clone(),
            pools: (0..workers).map(|_| Arc::new(ThreadPool::with_num_threads(1))).collect(),
        };
        teacher.choose_logits(file, output_id)?;
        teacher.try_out(file)?;
        Ok(teacher)
    }

    /// What of the outputs is taken for the logits: what stands in front of the last activation, if
    /// that activation of it is the output; else the output, or its logarithm.
    fn choose_logits(&mut self, file: &OnnxFile, output_id: NodeId) -> Outcome<()> {
        let rows = |images: &[f32], ids: &[NodeId]| -> Outcome<Vec<Tensor>> {
            self.run(images, ids, &self.pools[0])
        };
        let trials = self.trial_images();
        if let Some(before) = &file.before {
            let is_of = |images: &Vec<f32>| {
                let values = rows(images, &[self.output_ids[0], output_id])?;
                Ok(before.explain(&values[0].1, &values[1].1, self.group))
            };
            let of_logits: Outcome<Vec<bool>> = trials.iter().map(is_of).collect();
            if of_logits.is_ok_and(|all| all.iter().all(|&explained| explained)) {
                let name = before.activation.name();
                self.notes
                    .push(format!("it ends in a {name}: its logits are what that is taken of"));
                self.reading += &format!(", before {name}");
                self.activation = before.activation;
                return Ok(());
            }
        }
        let mut all_probabilities = true;
        for images in &trials {
            let outputs = &rows(images, &[output_id])?[0].1;
            all_probabilities &= are_probabilities(outputs, outputs.len() / self.group);
        }
        self.output_ids[0] = output_id;
        self.logits.clone_from(&file.output);
        if all_probabilities {
            self.takes_logarithm = true;
            self.reading += ", logarithm";
            self.notes.push(
                "its outputs are probabilities: their logarithm is taken for logits".to_owned(),
            );
        }
        Ok(())
    }

    /// Made-up pixels, a group of samples each, of several contrasts.
    fn trial_images(&self) -> [Vec<f32>; 3] {
        let pixels = self.group * self.input.shape().elements();
        [(0.37, 1.0), (0.11, 2.0), (1.7, 0.3)]
            .map(|(step, height)| (0..pixels).map(|i| (i as f32 * step).sin() * height).collect())
    }

    /// One run on made-up pixels: shapes, and whether the classifier is what it seems.
    fn try_out(&mut self, file: &OnnxFile) -> Outcome<()> {
        const NAME: &str = "name the tensor with the logits as `output`, the last map as `map`";
        const ONE: &str = "export it with a logit for each class; for a sigmoid of `z`, which says how \
                           likely the second of two classes is: `torch.cat([0 * z, z], 1)`";
        let [images, ..] = self.trial_images();
        let values = self.run(&images, &self.output_ids, &self.pools[0])?;
        let (shape, logits) = &values[0];
        let classes = logits.len() / self.group;
        let trailing = shape.iter().skip(2).all(|&size| size == 1);
        if shape.first() != Some(&self.group) || shape.get(1) != Some(&classes) || !trailing {
            let text = format!("`{}` is {shape:?}, [batch, classes] is expected", file.output);
            return Err((text, NAME));
        }
        if classes == 1 {
            return Err((format!("`{}` is one number for each image", file.output), ONE));
        }
        self.classes = classes;
        let (Some((shape, map)), Some(name)) = (values.get(1), &file.map) else { return Ok(()) };
        let channels_first = match shape.as_slice() {
            &[batch, channels, height, width] if batch == self.group && height * width > 0 => {
                MapShape::new(channels, height, width)
            }
            // A map that was only guessed at is done without.
            _ if !file.map_is_named => return self.without_map(),
            _ => {
                let text = format!(
                    "map `{name}` is {shape:?}, [batch, channels, height, width] is expected"
                );
                return Err((text, NAME));
            }
        };
        self.map = Some(channels_first);
        self.classifier = file.classifier.clone().filter(|classifier| {
            classifier.bias.len() == classes
                && classifier.weight.len() == classes * channels_first.channels
                && explains(classifier, &pooled(map, channels_first), logits)
        });
        Ok(())
    }

    fn without_map(&mut self) -> Outcome<()> {
        self.output_ids.truncate(1);
        Ok(())
    }

    /// Values of some tensors for one group of images.
    fn run(&self, images: &[f32], ids: &[NodeId], pool: &Arc<ThreadPool>) -> Outcome<Vec<Tensor>> {
        const ELSEWHERE: &str = "check that the file runs elsewhere on images of this size";
        let failed = |text: String| (format!("it cannot be run: {text}"), ELSEWHERE);
        let MapShape { channels, height, width } = self.input.shape();
        let shape = [self.group, channels, height, width];
        let image = Value::from_shape(shape.as_slice(), images.to_vec())
            .map_err(|error| failed(error.to_string()))?;
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(pool)));
        let values = self
            .model
            .run(vec![(self.input_id, image.into())], ids, Some(options))
            .map_err(|error| failed(error.to_string()))?;
        let plain = |value: Value| match value {
            Value::FloatTensor(tensor) => Ok((tensor.shape().to_vec(), tensor.into_data())),
            // The end of `ArgMax`: which class, and nothing of how sure.
            other => Err((
                format!("an output holds whole numbers ({}), no logits", other.dtype()),
                "name the output with the logits, or else the probabilities, as `output` \
                 (`--onnx-output` on the command line), or export the file without `ArgMax`",
            )),
        };
        values.into_iter().map(plain).collect()
    }

    /// Logits and map of some samples, group after group.
    fn run_all(&self, images: &[f32], pool: &Arc<ThreadPool>) -> Outcome<[Vec<f32>; 2]> {
        let size = self.input.shape().elements();
        let mut all = [Vec::new(), Vec::new()];
        for images in images.chunks(self.group * size) {
            let samples = images.len() / size;
            let mut group = images.to_vec();
            group.resize(self.group * size, 0.0);
            for (all, (_, values)) in
                all.iter_mut().zip(self.run(&group, &self.output_ids, pool)?)
            {
                let each = values.len() / self.group;
                all.extend_from_slice(&values[..samples * each]);
            }
        }
        if self.takes_logarithm {
            log_of(&mut all[0], self.classes);
        }
        Ok(all)
    }
}

impl TeacherSource for OnnxTeacher {
    fn classes(&self) -> usize {
        self.classes
    }

    fn tap_shape(&self, tap: Tap) -> Option<MapShape> {
        match tap {
            // The one map that it gives is its last in every sense.
            Tap::Map | Tap::LastFeature => self.map,
            // The mean of the map is what stands in front of the classifier only if that is so.
            Tap::Pooled if self.classifier.is_some() => {
                self.map.map(|map| MapShape::new(map.channels, 1, 1))
            }
            _ => None,
        }
    }

    fn classifier(&self) -> Option<FrozenClassifier> {
        self.classifier.clone()
    }

    fn outputs(&mut self, batch: &TeacherBatch<'_>, taps: &[Tap]) -> Result<TeacherOutputs> {
        let size = self.input.shape().elements();
        let mut input = self.input.clone();
        let images = input.prepare(batch.inputs).images().expect("a file that reads images");
        let groups = batch.ids.len().div_ceil(self.group);
        let share = groups.div_ceil(self.pools.len()).max(1) * self.group * size;
        let this = &*self;
        let parts: Vec<Outcome<[Vec<f32>; 2]>> = std::thread::scope(|scope| {
            let start = |(images, pool): (_, &'_ Arc<ThreadPool>)| {
                let pool = Arc::clone(pool);
                spawn_deep(scope, move || guarded(|| this.run_all(images, &pool)))
            };
            let threads: Vec<_> = images.chunks(share).zip(&this.pools).map(start).collect();
            threads
                .into_iter()
                .map(|thread| thread?.join().expect("panics are caught inside"))
                .collect()
        });
        let (mut logits, mut map) = (Vec::new(), Vec::new());
        for part in parts {
            let [own_logits, own_map] = part.map_err(unusable(&self.path))?;
            logits.extend(own_logits);
            map.extend(own_map);
        }
        let maps = taps
            .iter()
            .map(|tap| match (tap, self.map) {
                (Tap::Pooled, Some(shape)) => pooled(&map, shape),
                _ => map.clone(),
            })
            .collect();
        Ok(TeacherOutputs { logits, maps })
    }
}

fn unusable(path: &Path) -> impl Fn((String, &'static str)) -> TeacherError {
    move |(reason, hint)| TeacherError::Onnx {
        path: path.to_owned(),
        reason,
        hint: hint.to_owned(),
    }
}

/// `[batch, channels]`: the mean of each channel.
fn pooled(map: &[f32], shape: MapShape) -> Vec<f32> {
    let positions = shape.positions();
    map.chunks_exact(positions).map(|plane| plane.iter().sum::<f32>() / positions as f32).collect()
}

fn explains(classifier: &FrozenClassifier, pooled: &[f32], logits: &[f32]) -> bool {
    let classes = classifier.bias.len();
    let channels = classifier.weight.len() / classes;
    let largest = logits.iter().fold(0.0_f32, |largest, z| largest.max(z.abs()));
    let mut samples = pooled.chunks_exact(channels).zip(logits.chunks_exact(classes));
    samples.all(|(pooled, logits)| {
        let weights = classifier.weight.chunks_exact(channels);
        weights.zip(&classifier.bias).zip(logits).all(|((weights, bias), logit)| {
            let own = weights.iter().zip(pooled).map(|(w, x)| w * x).sum::<f32>() + bias;
            (own - logit).abs() <= CLASSIFIER_TOLERANCE * largest
        })
    })
}

/// A thread whose stack holds the runtime's plan of the longest path (see `limits`).
fn spawn_deep<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    act: impl FnOnce() -> T + Send + 'scope,
) -> Outcome<ScopedJoinHandle<'scope, T>> {
    let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
    builder.spawn_scoped(scope, act).map_err(|error| {
        (format!("no thread can be started to run it: {error}"), "close other programs")
    })
}

/// Acts on such a thread; see [`guarded`].
fn on_deep_stack<T: Send>(act: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    std::thread::scope(|scope| {
        spawn_deep(scope, || guarded(act))?.join().expect("panics are caught inside")
    })
}

/// The runtime is not ours; should it panic on a damaged file, that is still an error of the file.
fn guarded<T>(act: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        let hint = "the file is damaged, or uses what is not supported";
        Err((format!("the runtime failed: {text}"), hint))
    })
}
