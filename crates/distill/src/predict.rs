//! A finished student, native or exported, on image files or texts.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use faculty_data::{
    Augmentation, ExifOrientation, Input, Normalisation, Renderer, SampleId, Split, Text, Texts,
    Tokenize as _, Tokenizer, View, ViewSettings, read_image,
};
use faculty_nets::{MapShape, Precision};

use crate::error::{Error, Result};
use crate::export::{INPUT, PIXELS};
use crate::metrics::Quality;
use crate::recipe::OutputType;
use crate::student::{FinishedStudent, StudentChoice, stored};
use faculty_teachers::teachers_quality;
use faculty_teachers::{
    Activation, AsLogits, NetworkTeacher, OnnxChoice, OnnxTeacher, OutputMeter, RawOutputs,
    TeacherBatch, TeacherError, TeacherInput, TeacherSource,
};

/// A class that an image or a text may be of.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Number of the class.
    pub label: usize,
    /// Its name.
    pub class: String,
    /// 0 to 1; of an ONNX file that ends in a sigmoid they do not sum to 1.
    pub probability: f64,
}

/// A classifier with all that lies between an image file, or a text, and its logits.
pub struct Predictor {
    source: Box<dyn TeacherSource>,
    raw: RawOutputs,
    front: Front,
    class_names: Vec<String>,
    activation: Activation,
    exif_orientation: ExifOrientation,
    notes: Vec<String>,
}

/// How the outputs of an ONNX file are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnnxReading {
    /// The output with the logits, or else the probabilities; default: the only one.
    pub output: Option<String>,
    /// What it gives; default: recognised.
    pub output_type: Option<OutputType>,
}

/// Whether a file is called like an ONNX file.
#[must_use]
pub fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"))
}

/// What makes inputs.
enum Front {
    Images { shape: [usize; 3], renderer: Box<Renderer> },
    Texts(Arc<Tokenizer>),
}

impl Predictor {
    /// What to know about its weights: what of their file was left out.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The same that reads image files as they are stored, whatever EXIF orientation they have.
    #[must_use]
    pub fn ignoring_exif_orientation(self) -> Self {
        Self { exif_orientation: ExifOrientation::Ignore, ..self }
    }

    /// From a run folder, a weight file, or an ONNX file of [`crate::export::export_onnx`] (another
    /// one is taken to want pixel / 255, unless it reads bytes or its metadata has `mean` and `std`).
    ///
    /// # Errors
    /// When it cannot be read, or network, image size or normalisation are not known.
    pub fn open(model: &Path, choice: &StudentChoice, reading: &OnnxReading) -> Result<Self> {
        if is_onnx(model) {
            return Self::of_onnx(model, choice, reading);
        }
        let student = FinishedStudent::open(model, choice)?;
        if student.network.graph().encoder().is_some() {
            return Self::of_encoder(student);
        }
        let normalisation = student.normalisation.as_ref().ok_or_else(|| Error::Student {
            path: student.path.clone(),
            reason: "mean and deviation of its input are not known",
            hint: "give a run folder, or a file that faculty wrote",
        })?;
        let source = Box::new(NetworkTeacher::new(&student.network, None, &[]));
        let names = student.class_names.clone();
        let (shape, outputs) = (student.shape(), (RawOutputs::LOGITS, Activation::Softmax));
        let predictor = Self::new(source, outputs, shape, normalisation, names)?;
        let exif_orientation = student.exif_orientation;
        Ok(Self { notes: student.notes, exif_orientation, ..predictor })
    }

    fn of_encoder(student: FinishedStudent) -> Result<Self> {
        let tokenizer = student.tokenizer.ok_or_else(|| Error::Student {
            path: student.path.clone(),
            reason: "no `tokenizer.json` lies beside it",
            hint: "give the folder of its run, or put its tokenizer beside it",
        })?;
        let input = TeacherInput::of_texts(None);
        Ok(Self {
            source: Box::new(NetworkTeacher::with_input(
                &student.network,
                input,
                &[],
                Precision::F32,
            )),
            raw: RawOutputs::LOGITS,
            front: Front::Texts(tokenizer),
            class_names: student.class_names,
            activation: Activation::Softmax,
            exif_orientation: student.exif_orientation,
            notes: student.notes,
        })
    }

    fn of_onnx(path: &Path, choice: &StudentChoice, reading: &OnnxReading) -> Result<Self> {
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
        let mut teacher = OnnxTeacher::load(path, &reading.choice(), input)?;
        let raw = reading.look_at_outputs(path, &mut teacher, shape)?;
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
        Self::new(Box::new(teacher), (raw, activation), shape, &normalisation, names)
    }

    fn new(
        source: Box<dyn TeacherSource>,
        (raw, activation): (RawOutputs, Activation),
        shape: [usize; 3],
        normalisation: &Normalisation,
        class_names: Vec<String>,
    ) -> Result<Self> {
        let renderer = Box::new(Renderer::new(shape, Augmentation::NONE, normalisation, 0)?);
        let front = Front::Images { shape, renderer };
        Ok(Self {
            source,
            raw,
            activation,
            front,
            class_names,
            exif_orientation: ExifOrientation::default(),
            notes: Vec::new(),
        })
    }

    /// `[channels, height, width]` that images are brought to; nothing where texts are read.
    #[must_use]
    pub fn shape(&self) -> Option<[usize; 3]> {
        match self.front {
            Front::Images { shape, .. } => Some(shape),
            Front::Texts(_) => None,
        }
    }

    /// What the network gives; probabilities are shown as they are, logits through a softmax.
    #[must_use]
    pub fn output_type(&self) -> OutputType {
        self.raw.output_type()
    }

    /// The `top` likeliest classes of an image file, likeliest first; equal ones in label order.
    ///
    /// # Errors
    /// When the file is no whole PNG or JPEG image, or the network fails on it or answers with what
    /// is no number; or it reads texts.
    pub fn predict(&mut self, image: &Path, top: usize) -> Result<Vec<Prediction>> {
        let Front::Images { shape, renderer } = &self.front else {
            return Err(faculty_data::DataError::NotImages.into());
        };
        let pixels = read_image(image, *shape, self.exif_orientation)?;
        let mut rendered = vec![0.0; renderer.view_len()];
        renderer.render_into(&pixels, SampleId(0), 0, &mut rendered);
        self.predict_input((&rendered).into(), image, top)
    }

    /// The same of a text; `path` names where it is from in errors.
    ///
    /// # Errors
    /// When the network answers with what is no number, or reads images.
    pub fn predict_text(&mut self, text: Text, path: &Path, top: usize) -> Result<Vec<Prediction>> {
        let Front::Texts(tokenizer) = &self.front else {
            return Err(faculty_data::DataError::NotTexts.into());
        };
        let mut texts = Texts::default();
        tokenizer.tokenize(&text, &mut texts.tokens);
        texts.texts.push(text);
        self.predict_input((&texts).into(), path, top)
    }

    fn predict_input(
        &mut self,
        inputs: Input<'_>,
        path: &Path,
        top: usize,
    ) -> Result<Vec<Prediction>> {
        let view = TeacherBatch { ids: &[SampleId(0)], view: View::Probe, inputs };
        let logits = self.source.outputs(&view, &[])?.logits;
        if let Some(&value) = logits.iter().find(|logit| !logit.is_finite()) {
            return Err(Error::NoAnswer { path: path.to_owned(), value });
        }
        let probabilities = match self.raw.output_type() {
            // Through what the file itself ends in.
            OutputType::Logits => self.activation.apply(&logits),
            _ => self.raw.probabilities(&logits),
        };
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        order.truncate(top);
        let guess = |label: usize| Prediction {
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

/// An ONNX file, opened to be measured on images of one shape.
pub struct OnnxNetwork {
    source: AsLogits<OnnxTeacher>,
    /// What its input wants, as far as the file says; else pixel / 255.
    pub normalisation: Normalisation,
    /// What to know about it.
    pub notes: Vec<String>,
}

impl OnnxNetwork {
    /// Opens it for images `[channels, height, width]`, which are scaled where it wants others.
    ///
    /// # Errors
    /// When it cannot be read or run, or is for other channels.
    pub fn open(
        path: &Path,
        [channels, height, width]: [usize; 3],
        reading: &OnnxReading,
    ) -> Result<Self> {
        let shape = MapShape::new(channels, height, width);
        let about = OnnxTeacher::describe(path)?;
        let [_, own_height, own_width] = about.sizes;
        let size = own_height.zip(own_width).map(|(height, width)| [height, width]);
        let size = size.filter(|&size| size != [height, width]);
        let input = TeacherInput::new(shape, None, size);
        let mut teacher = OnnxTeacher::load(path, &reading.choice(), input)?;
        // Made-up pixels of the data's size: the teacher itself scales them.
        let raw = reading.look_at_outputs(path, &mut teacher, shape)?;
        let normalisation = match about.bytes {
            true => Normalisation::bytes(channels),
            false => onnx_normalisation(&about.metadata, channels),
        };
        let mut notes = teacher.notes().to_vec();
        if let Some([height, width]) = size {
            notes.push(format!("images are scaled to {height}×{width} for it"));
        }
        let source = AsLogits::new(&path.display().to_string(), teacher, raw);
        Ok(Self { source, normalisation, notes })
    }

    /// Length of its output.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.source.classes()
    }

    /// Its quality; `None` for an empty part.
    ///
    /// # Errors
    /// When the images do not fit the normalisation, or it fails on a batch.
    pub fn quality(&mut self, part: &Split) -> Result<Option<Quality>> {
        let views = ViewSettings::plain(self.normalisation.clone());
        let measured = teachers_quality(&mut [&mut self.source], part, &views)?;
        Ok(measured.map(|(each, _)| each[0]))
    }
}

impl OnnxReading {
    fn choice(&self) -> OnnxChoice {
        OnnxChoice { output: self.output.clone(), ..OnnxChoice::default() }
    }

    /// What it gives: as said, or recognised on made-up pixels, since probabilities are never negative
    /// whatever the images.
    fn look_at_outputs(
        &self,
        path: &Path,
        teacher: &mut OnnxTeacher,
        shape: MapShape,
    ) -> Result<RawOutputs> {
        const IMAGES: usize = 16;
        let ids = [SampleId(0); IMAGES];
        let pixel =
            |i: usize| f32::midpoint(1.0, (i as f32 * (0.1 + (i / shape.elements()) as f32)).sin());
        let images: Vec<f32> = (0..IMAGES * shape.elements()).map(pixel).collect();
        let view = TeacherBatch { ids: &ids, view: View::Probe, inputs: (&images).into() };
        let mut meter = OutputMeter::default();
        meter.add(&teacher.outputs(&view, &[])?.logits, teacher.classes());
        let found =
            self.output_type.map_or_else(|| meter.recognise(), |given| meter.declared(given));
        let teacher = || path.display().to_string();
        Ok(found.map_err(|problem| TeacherError::TeacherOutputs { teacher: teacher(), problem })?)
    }
}
