//! A finished student with what its weight file does not say: image size, classes, data.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use faculty_data::{
    Dataset, ExifOrientation, Normalisation, Split, Tokenizer, ViewSettings, WordChanges,
};
use faculty_nets::weights::{self, WeightFile};
use faculty_nets::{
    DescribedNetwork, EncoderConfig, LoadedEncoder, MapShape, Network, OnnxNetwork, graph_of,
};

use crate::error::{Error, Result};
use crate::methods::specs;
use crate::recipe::Recipe;
use crate::run::{exif_orientation, open_dataset};
use crate::run_folder::RunFolder;
use crate::weight_file::TOKENIZER_FILE;

/// Metadata of weight files and ONNX files: the shape of the images, `[channels, height, width]`.
pub(crate) const INPUT_SHAPE: &str = "input_shape";

/// Metadata of weight files of text encoders: their `config.json`.
pub(crate) const ENCODER: &str = "encoder";
/// And most tokens of a text.
pub(crate) const MAX_TOKENS: &str = "max_tokens";

/// What the user says about a student beside its files.
#[derive(Clone, Debug, Default)]
pub struct StudentChoice {
    /// Its network, if the file does not name it.
    pub network: Option<String>,
    /// Height and width of its images, if neither file nor data say so.
    pub size: Option<[usize; 2]>,
    /// Which of several sets of weights of its file.
    pub weights_key: Option<String>,
}

/// A trained network, ready to be used elsewhere.
#[derive(Debug)]
pub struct FinishedStudent {
    /// The network with its weights.
    pub network: Network,
    /// The weight file.
    pub path: PathBuf,
    /// Of its images; `None` if the file does not say.
    pub normalisation: Option<Normalisation>,
    /// What makes tokens of its texts, if it reads texts and a tokenizer lies beside its weights.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// Of its images: that of its run's data.
    pub exif_orientation: ExifOrientation,
    /// In label order; numbers if the file does not say.
    pub class_names: Vec<String>,
    /// The data of its run, or why they cannot be read. `None` for a weight file alone.
    pub data: Option<Result<Dataset>>,
    /// Of a run that is not finished the epoch of this student, the best one so far.
    pub unfinished_epoch: Option<usize>,
    /// What to know about its weights: what of the file was left out.
    pub notes: Vec<String>,
}

impl FinishedStudent {
    /// The student of a run folder, or of a weight file. A run that is not finished, or broke down,
    /// gives the student of its best epoch so far.
    ///
    /// # Errors
    /// When there is no finished run and none with a best epoch, the file cannot be read, or network or image size are not
    /// known.
    pub fn open(path: &Path, choice: &StudentChoice) -> Result<Self> {
        if path.is_dir() {
            return Self::of_run(path, choice);
        }
        // The recipe of a run lies beside its student.
        let folder = path.parent().unwrap_or(Path::new(""));
        let beside = RunFolder::at(folder);
        if path.file_name() == beside.student().file_name() && beside.recipe().exists() {
            return Self::of_run(folder, choice);
        }
        Self::of_file(path, choice, None, true)
    }

    fn of_run(folder: &Path, choice: &StudentChoice) -> Result<Self> {
        let run = RunFolder::at(folder);
        let finished = run.student().exists();
        let weights = if finished { run.student() } else { run.best_student() };
        if !run.recipe().exists() || !weights.exists() {
            return Err(Error::Student {
                path: folder.to_owned(),
                reason: "it holds no run that finished an epoch and measured it on a validation split",
                hint: "give a run folder of `faculty distill`, or a weight file",
            });
        }
        let recipe = Recipe::load(run.recipe(), &[], &specs())?.recipe;
        know_student(&recipe)?;
        let student = Self::of_file(&weights, choice, Some(open_dataset(&recipe.data)), finished)?;
        Ok(Self { exif_orientation: exif_orientation(&recipe.data), ..student })
    }

    fn of_file(
        path: &Path,
        choice: &StudentChoice,
        data: Option<Result<Dataset>>,
        finished: bool,
    ) -> Result<Self> {
        let wrong = |reason, hint| Error::Student { path: path.to_owned(), reason, hint };
        let mut file = WeightFile::open(path, choice.weights_key.as_deref())?;
        let metadata = weights::metadata(path)?;
        let name = choice.network.clone().or_else(|| metadata.get("network").cloned());
        let name = name.ok_or_else(|| {
            wrong(
                "it does not say which network it is",
                "name it with `--network`; `faculty networks` lists all",
            )
        })?;
        if let Some(encoder) = metadata.get(ENCODER) {
            return Self::of_encoder(path, &mut file, encoder, &metadata, data, finished);
        }
        let shape = data.as_ref().and_then(|data| data.as_ref().ok()?.shape().ok());
        let shape = shape.or_else(|| stored(&metadata, INPUT_SHAPE));
        let [_, height, width] = match (choice.size, shape) {
            (Some([height, width]), _) => [0, height, width],
            (None, Some(shape)) => shape,
            (None, None) => {
                return Err(wrong(
                    "the size of its images is not known",
                    "give it with `--size HEIGHT,WIDTH`",
                ));
            }
        };
        let usual = shape.map_or(3, |[channels, ..]| channels);
        let channels = channels(&name, &file, MapShape::new(usual, height, width))?;
        let input = MapShape::new(channels, height, width);
        // As this program writes it; of other files the network tells.
        let classes = metadata.get("classes").and_then(|classes| classes.parse().ok());
        let (network, notes) = Network::from_file(&name, input, classes, &mut file)?;
        let classes = network.classes();
        let normalisation = match (stored(&metadata, "mean"), stored(&metadata, "std")) {
            (Some(mean), Some(std)) => {
                let own = Normalisation { mean, std };
                own.check(channels)?;
                Some(own)
            }
            _ => None,
        };
        let class_names = stored(&metadata, "class_names").filter(|n: &Vec<_>| n.len() == classes);
        let class_names =
            class_names.unwrap_or_else(|| (0..classes).map(|n| n.to_string()).collect());
        let (path, tokenizer) = (path.to_owned(), None);
        let unfinished_epoch = (!finished).then(|| stored(&metadata, "epoch").unwrap_or(0));
        Ok(Self {
            network,
            path,
            normalisation,
            tokenizer,
            exif_orientation: ExifOrientation::default(),
            class_names,
            data,
            unfinished_epoch,
            notes,
        })
    }

    /// A text encoder; its tokenizer lies beside it, or in the folder of its run.
    fn of_encoder(
        path: &Path,
        file: &mut WeightFile,
        encoder: &str,
        metadata: &HashMap<String, String>,
        data: Option<Result<Dataset>>,
        finished: bool,
    ) -> Result<Self> {
        let LoadedEncoder { network, .. } =
            EncoderConfig::from_json(encoder)?.load(file, None, 0)?;
        let max_tokens = stored(metadata, MAX_TOKENS).unwrap_or(128);
        let folder = path.parent().unwrap_or(Path::new(""));
        let places = [folder.to_owned(), folder.join("..")].map(|place| place.join(TOKENIZER_FILE));
        let tokenizer = places.iter().find(|place| place.is_file());
        let tokenizer = tokenizer.map(|place| Tokenizer::open(place, max_tokens)).transpose()?;
        let classes = network.classes();
        let class_names = stored(metadata, "class_names").filter(|n: &Vec<_>| n.len() == classes);
        Ok(Self {
            path: path.to_owned(),
            normalisation: None,
            tokenizer: tokenizer.map(Arc::new),
            exif_orientation: ExifOrientation::default(),
            class_names: class_names
                .unwrap_or_else(|| (0..classes).map(|n| n.to_string()).collect()),
            data,
            unfinished_epoch: (!finished).then(|| stored(metadata, "epoch").unwrap_or(0)),
            notes: Vec::new(),
            network,
        })
    }

    /// How its samples become its input; `None` where that is not known.
    #[must_use]
    pub fn views(&self) -> Option<ViewSettings> {
        match (&self.normalisation, &self.tokenizer) {
            (Some(normalisation), _) => Some(ViewSettings::plain(normalisation.clone())),
            (None, Some(tokenizer)) => {
                Some(ViewSettings::of_texts(tokenizer.clone(), WordChanges::NONE, 0))
            }
            (None, None) => None,
        }
    }

    /// `[channels, height, width]` of its images.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        let MapShape { channels, height, width } = self.network.graph().input_shape();
        [channels, height, width]
    }

    /// At most `count` images of its data, spread over the test split (the training split where there
    /// is none), if they can be read and are of its shape.
    #[must_use]
    pub fn images(&self, count: usize) -> Option<Split> {
        let dataset = self.data.as_ref()?.as_ref().ok()?;
        let part = dataset.test_split().unwrap_or_else(|| dataset.train_split());
        let take = count.min(part.len());
        let positions: Vec<usize> = (0..take).map(|i| i * part.len() / take).collect();
        part.select(&positions)
            .ok()
            .filter(|part| part.shape().is_ok_and(|shape| shape == self.shape()))
    }

    /// What an exported file says of itself.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, String> {
        fn json(value: &impl serde::Serialize) -> String {
            serde_json::to_string(value).expect("plain data always serialises")
        }
        let mut metadata = BTreeMap::from([
            ("faculty".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("network".to_owned(), self.network.name().to_owned()),
            ("classes".to_owned(), self.network.classes().to_string()),
            ("class_names".to_owned(), json(&self.class_names)),
            (INPUT_SHAPE.to_owned(), json(&self.shape())),
        ]);
        if let Some(encoder) = self.network.graph().encoder() {
            metadata.insert(ENCODER.to_owned(), encoder.to_json(&self.class_names));
        }
        if let Some(tokenizer) = &self.tokenizer {
            metadata.insert(MAX_TOKENS.to_owned(), tokenizer.max_tokens().to_string());
        }
        if let Some(Normalisation { mean, std }) = &self.normalisation {
            metadata.extend([("mean".to_owned(), json(mean)), ("std".to_owned(), json(std))]);
        }
        metadata
    }
}

/// Makes the network of a recipe's student known under the name that its weight files bear, where it is
/// one of an ONNX file or a description.
///
/// # Errors
/// When that file is no longer there.
pub fn know_student(recipe: &Recipe) -> Result<()> {
    if let Some(onnx) = &recipe.student.onnx {
        OnnxNetwork::open(onnx, None)?.register()?;
    }
    if let Some(file) = &recipe.student.file {
        DescribedNetwork::open(file)?.register()?;
    }
    Ok(())
}

/// A value that lies in metadata as JSON.
pub(crate) fn stored<T: serde::de::DeserializeOwned>(
    metadata: &HashMap<String, String>,
    key: &str,
) -> Option<T> {
    serde_json::from_str(metadata.get(key)?).ok()
}

/// Image channels of a network, from the shape of its first weights; `image` is what is known of its
/// images. What does not fit is found when the weights are set.
fn channels(name: &str, file: &WeightFile, image: MapShape) -> Result<usize> {
    let graph = graph_of(name, image, 1)?;
    let first = graph.parameters().first().and_then(|first| file.shape_of(&first.name));
    let own = first.and_then(|shape| shape.get(1).copied()).filter(|&n| n > 0);
    Ok(own.unwrap_or(image.channels))
}
