//! A finished student, native or exported, on image files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use faculty_data::{Augmentation, Normalisation, Renderer, SampleId, View, read_image};
use faculty_nets::MapShape;

use crate::error::{Error, Result};
use crate::export::{INPUT, PIXELS};
use crate::student::{FinishedStudent, StudentChoice, stored};
use crate::teacher::{
    Activation, NetworkTeacher, OnnxChoice, OnnxTeacher, TeacherBatch, TeacherInput, TeacherSource,
};

/// A class that an image may be of.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// Number of the class.
    pub label: usize,
    /// Its name.
    pub class: String,
    /// 0 to 1; of an ONNX file that ends in a sigmoid they do not sum to 1.
    pub probability: f64,
}

/// A classifier with all that lies between an image file and its logits.
pub struct Predictor {
    source: Box<dyn TeacherSource>,
    shape: [usize; 3],
    renderer: Renderer,
    class_names: Vec<String>,
    activation: Activation,
    path: PathBuf,
}

impl Predictor {
    /// From a run folder, a weight file, or an ONNX file of [`crate::export::export_onnx`] (another
    /// one is taken to want pixel / 255, unless it reads bytes or its metadata has `mean` and `std`).
    ///
    /// # Errors
    /// When it cannot be read, or network, image size or normalisation are not known.
    pub fn open(model: &Path, choice: &StudentChoice) -> Result<Self> {
        if model.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
            return Self::of_onnx(model, choice);
        }
        let student = FinishedStudent::open(model, choice)?;
        let normalisation = student.normalisation.as_ref().ok_or_else(|| Error::Student {
            path: student.path.clone(),
            reason: "mean and deviation of its input are not known",
            hint: "give a run folder, or a file that faculty wrote",
        })?;
        let source = Box::new(NetworkTeacher::new(&student.network, None, &[]));
        let names = student.class_names.clone();
        Self::new(model, source, student.shape(), normalisation, names, Activation::Softmax)
    }

    fn of_onnx(path: &Path, choice: &StudentChoice) -> Result<Self> {
        let about = OnnxTeacher::describe(path)?;
        let [channels, height, width] = about.sizes;
        let size = choice.size.or_else(|| Some([height?, width?]));
        let (Some(channels), Some([height, width])) = (channels, size) else {
            return Err(Error::Student {
                path: path.to_owned(),
                reason: "the size of its images is not known",
                hint: "give it with `--size HEIGHT,WIDTH`; the channels must be fixed in the file",
            });
        };
        let shape = MapShape::new(channels, height, width);
        let input = TeacherInput::new(shape, None, None);
        let teacher = OnnxTeacher::load(path, &OnnxChoice::default(), input)?;
        let classes = teacher.classes();
        let names: Option<Vec<String>> = stored(&about.metadata, "class_names");
        let names = names.filter(|names| names.len() == classes);
        let normalisation = if about.bytes {
            Normalisation::bytes(channels)
        } else {
            onnx_normalisation(&about.metadata, channels)
        };
        let activation = teacher.activation();
        let names = names.unwrap_or_else(|| (0..classes).map(|n| n.to_string()).collect());
        let shape = [channels, height, width];
        Self::new(path, Box::new(teacher), shape, &normalisation, names, activation)
    }

    fn new(
        path: &Path,
        source: Box<dyn TeacherSource>,
        shape: [usize; 3],
        normalisation: &Normalisation,
        class_names: Vec<String>,
        activation: Activation,
    ) -> Result<Self> {
        let renderer = Renderer::new(shape, Augmentation::NONE, normalisation, 0)?;
        Ok(Self { source, shape, renderer, class_names, activation, path: path.to_owned() })
    }

    /// `[channels, height, width]` that images are brought to.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The `top` likeliest classes of an image file, likeliest first; equal ones in label order.
    ///
    /// # Errors
    /// When the file is no whole PNG or JPEG image, or the network fails on it or gives NaN.
    pub fn predict(&mut self, image: &Path, top: usize) -> Result<Vec<Guess>> {
        let pixels = read_image(image, self.shape)?;
        let mut rendered = vec![0.0; self.renderer.view_len()];
        let id = SampleId(0);
        self.renderer.render_into(&pixels, View { id, number: 0 }, &mut rendered);
        let view = TeacherBatch { ids: &[id], view: TeacherBatch::PROBE_VIEW, images: &rendered };
        let logits = self.source.outputs(&view, &[])?.logits;
        if logits.iter().any(|z| !z.is_finite()) {
            return Err(Error::Student {
                path: self.path.clone(),
                reason: "its outputs are not finite numbers",
                hint: "look at its weights, and at the pixels that it expects; a run that diverged \
                       leaves such a student",
            });
        }
        let probabilities = self.activation.apply(&logits);
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        order.truncate(top);
        let guess = |label: usize| Guess {
            label,
            class: self.class_names[label].clone(),
            probability: probabilities[label],
        };
        Ok(order.into_iter().map(guess).collect())
    }
}

/// What stands between pixel / 255 and the input of an ONNX file.
fn onnx_normalisation(metadata: &HashMap<String, String>, channels: usize) -> Normalisation {
    let inside = metadata.get(INPUT).is_some_and(|input| input == PIXELS);
    match (stored(metadata, "mean"), stored(metadata, "std")) {
        (Some(mean), Some(std)) if !inside => Normalisation { mean, std },
        _ => Normalisation::identity(channels),
    }
}
