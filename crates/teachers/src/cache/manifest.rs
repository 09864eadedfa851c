//! `manifest.json`: what a cache was made from. Two caches with equal manifests hold equal records.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use faculty_data::{Normalisation, SampleId};
use faculty_files::{failed, write_atomically};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::kind::{FORMAT, WITHOUT_ORIGIN};
use crate::error::{Result, TeacherError};
use crate::identity::TeacherIdentity;

/// Sizes beyond any use, small enough that their products fit.
const MOST_VALUES: usize = 1 << 32;
const MOST_VIEWS: u32 = 1 << 16;

/// The manifest of a cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the folder's layout.
    pub format: u32,
    /// The data set.
    pub data: DataEntry,
    /// The augmented views.
    pub views: ViewsEntry,
    /// Of the student's input, in which the views are rendered.
    pub normalisation: Normalisation,
    /// What happens to images in a view beside crop and flip, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<String>,
    /// Of texts: what makes tokens of them, and how views change words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<TextsEntry>,
    /// `f32` or `f16`: of all records.
    pub dtype: String,
    /// Which samples have records.
    pub samples: SamplesEntry,
    /// The teachers by name.
    pub teachers: BTreeMap<String, TeacherEntry>,
    /// xxh3 of this file with this value empty.
    pub checksum: String,
}

/// The data set of a cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataEntry {
    /// Hash over class names, sample ids and labels.
    pub fingerprint: String,
    /// Class names in label order.
    pub classes: Vec<String>,
    /// `[channels, height, width]` of every image.
    pub shape: [usize; 3],
}

/// The views of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewsEntry {
    /// How many; training epoch e (from 1) uses view (e - 1) mod count.
    pub count: u32,
    /// Of the augmentation.
    pub seed: u64,
    /// Pixels.
    pub crop_padding: usize,
    /// Whether every second view is mirrored.
    pub flip: bool,
}

/// The views of texts, beside their number and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextsEntry {
    /// Share of words left out.
    pub word_deletion: f64,
    /// Swaps for one word.
    pub word_swap: f64,
}

/// The samples of a cache; their ids are in `samples.safetensors`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplesEntry {
    /// With records of every view.
    pub train: usize,
    /// With a record of the plain image, to measure the teachers on.
    pub plain: usize,
    /// Samples of a shard.
    pub block: usize,
    /// xxh3 of the ids.
    pub ids: String,
}

/// A teacher of a cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherEntry {
    /// What its records depend on.
    pub identity: TeacherIdentity,
    /// Path of the numeric kernels that compute its records; others differ in the last bits.
    pub kernels: String,
    /// Number of classes.
    pub classes: usize,
    /// Shapes of its records beside the logits: `map` → `[channels, height, width]`.
    pub maps: BTreeMap<String, [usize; 3]>,
    /// xxh3 of its frozen classifier's values, if it has one.
    pub classifier: Option<String>,
}

/// The ids of a cache, each list rising.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Samples {
    pub(super) train: Arc<[SampleId]>,
    pub(super) plain: Arc<[SampleId]>,
}

pub(super) fn manifest_path(folder: &Path) -> PathBuf {
    folder.join("manifest.json")
}

fn samples_path(folder: &Path) -> PathBuf {
    folder.join("samples.safetensors")
}

/// The hash as manifests write it.
pub(super) fn hash(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

impl Manifest {
    /// Reads the manifest of a cache; none if there is no cache.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = manifest_path(folder);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", path)(error).into()),
        };
        let damaged = |reason: String| TeacherError::CacheDamaged { path: path.clone(), reason };
        // The version first: another one may have other fields.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format } =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if ![FORMAT, WITHOUT_ORIGIN].contains(&format) {
            return Err(TeacherError::CacheMismatch {
                path,
                field: "the format".to_owned(),
                cache: format.to_string(),
                recipe: format!("{FORMAT} in this version of faculty"),
            });
        }
        let manifest: Self =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if manifest.to_bytes() != bytes {
            return Err(damaged("it does not have its checksum".to_owned()));
        }
        manifest.check().map_err(damaged)?;
        Ok(Some(manifest))
    }

    /// Refuses sizes that nothing real has: they would overflow or fill the memory.
    fn check(&self) -> std::result::Result<(), String> {
        let product = |shape: [usize; 3]| {
            shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))
        };
        let fits = |values: Option<usize>| {
            values.is_some_and(|values| (1..=MOST_VALUES).contains(&values))
        };
        let sizes = self.teachers.values().all(|teacher| {
            fits(Some(teacher.classes)) && teacher.maps.values().all(|&shape| fits(product(shape)))
        });
        let is_sample = match self.texts {
            None => fits(product(self.data.shape)),
            Some(_) => self.data.shape == [0; 3],
        };
        if !sizes || !is_sample {
            return Err("it names an impossible shape".to_owned());
        }
        if self.samples.block == 0 || !(1..=MOST_VIEWS).contains(&self.views.count) {
            return Err("it names an impossible number of views or samples".to_owned());
        }
        Ok(())
    }

    /// The file, with the checksum of its content.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "plain data always serialises")]
    pub fn to_bytes(&self) -> Vec<u8> {
        let text = |manifest: &Self| {
            let mut bytes =
                serde_json::to_vec_pretty(manifest).expect("plain data always serialises");
            bytes.push(b'\n');
            bytes
        };
        let mut manifest = Self { checksum: String::new(), ..self.clone() };
        manifest.checksum = hash(&text(&manifest));
        text(&manifest)
    }

    /// Hash of everything that a set of records of a teacher depends on; none where the shards of
    /// this cache do not hold it.
    pub(super) fn origin(&self, teacher: &TeacherEntry, records: &str) -> Option<u64> {
        let Self { data, views, normalisation, dtype, .. } = self;
        let Normalisation { mean, std } = normalisation;
        let identity = teacher.identity.text();
        let mut text = format!(
            "{records} {dtype} {} {data:?} {views:?} {mean:?} {std:?} {identity}",
            teacher.kernels
        );
        if let Some(texts) = &self.texts {
            text += &format!(" {texts:?}");
        }
        if let Some(augmentation) = &self.augmentation {
            text += &format!(" {augmentation}");
        }
        (self.format != WITHOUT_ORIGIN).then(|| xxh3_64(text.as_bytes()))
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = manifest_path(folder);
        Ok(write_atomically(&path, &self.to_bytes()).map_err(failed("write", path))?)
    }

    /// Refuses a cache that was made from something else than `recipe` would be, saying what
    /// differs. Samples and teachers are compared apart, since a cache may hold more of them.
    pub(super) fn check_against(&self, recipe: &Self, folder: &Path) -> Result<()> {
        let list = |values: &[f32]| format!("{values:?}");
        let words = |texts: &Option<TextsEntry>| {
            texts.as_ref().map_or_else(
                || "none".to_owned(),
                |own| format!("{} and {}", own.word_deletion, own.word_swap),
            )
        };
        let others = |own: &Option<String>| own.clone().unwrap_or_else(|| "none".to_owned());
        let (a, b) = (self, recipe);
        let first_class = a
            .data
            .classes
            .iter()
            .zip(&b.data.classes)
            .find(|(cache, recipe)| cache != recipe)
            .map_or_else(
                || (a.data.classes.len().to_string(), b.data.classes.len().to_string()),
                |(cache, recipe)| (cache.clone(), recipe.clone()),
            );
        let fields = [
            ("the classes of the data set", first_class.0, first_class.1),
            (
                "the data set (fingerprint of its samples and labels)",
                a.data.fingerprint.clone(),
                b.data.fingerprint.clone(),
            ),
            ("`data.views`", a.views.count.to_string(), b.views.count.to_string()),
            ("`data.word_deletion` and `data.word_swap`", words(&a.texts), words(&b.texts)),
            ("`data.view_seed`", a.views.seed.to_string(), b.views.seed.to_string()),
            (
                "`data.crop_padding`",
                a.views.crop_padding.to_string(),
                b.views.crop_padding.to_string(),
            ),
            ("`data.flip`", a.views.flip.to_string(), b.views.flip.to_string()),
            (
                "`data.random_resized_crop`, `data.rand_augment`, `data.trivial_augment`, \
                 `data.color_jitter`, `data.random_erasing`, `data.mixup` or `data.cutmix`",
                others(&a.augmentation),
                others(&b.augmentation),
            ),
            ("`data.mean`", list(&a.normalisation.mean), list(&b.normalisation.mean)),
            ("`data.std`", list(&a.normalisation.std), list(&b.normalisation.std)),
            ("`cache.dtype`", a.dtype.clone(), b.dtype.clone()),
        ];
        match fields.into_iter().find(|(_, cache, recipe)| cache != recipe) {
            None => Ok(()),
            Some((field, cache, recipe)) => Err(TeacherError::CacheMismatch {
                path: folder.to_owned(),
                field: field.to_owned(),
                cache,
                recipe,
            }),
        }
    }
}

impl Samples {
    /// Sorted.
    pub(super) fn new(mut train: Vec<SampleId>, mut plain: Vec<SampleId>) -> Self {
        train.sort_unstable();
        plain.sort_unstable();
        Self { train: train.into(), plain: plain.into() }
    }

    fn bytes(&self) -> Vec<u8> {
        self.train.iter().chain(self.plain.iter()).flat_map(|id| id.0.to_le_bytes()).collect()
    }

    pub(super) fn hash(&self) -> String {
        hash(&self.bytes())
    }

    fn header(train: usize, plain: usize) -> Vec<u8> {
        let (middle, end) = (8 * train, 8 * (train + plain));
        let mut text = format!(
            "{{\"plain\":{{\"data_offsets\":[{middle},{end}],\"dtype\":\"U64\",\
             \"shape\":[{plain}]}},\"train\":{{\"data_offsets\":[0,{middle}],\"dtype\":\"U64\",\
             \"shape\":[{train}]}}}}"
        );
        while !(8 + text.len()).is_multiple_of(64) {
            text.push(' ');
        }
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = samples_path(folder);
        let bytes = [Self::header(self.train.len(), self.plain.len()), self.bytes()].concat();
        Ok(write_atomically(&path, &bytes).map_err(failed("write", path))?)
    }

    pub(super) fn read(folder: &Path, expected: &SamplesEntry) -> Result<Self> {
        let path = samples_path(folder);
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        let damaged = |reason: &str| TeacherError::CacheDamaged {
            path: path.clone(),
            reason: reason.to_owned(),
        };
        // By the file's length first, so that a wrong manifest cannot ask for much.
        if expected.train.max(expected.plain) > bytes.len() / 8 {
            return Err(damaged("it was cut short"));
        }
        let header = Self::header(expected.train, expected.plain);
        let Some(ids) = bytes.strip_prefix(header.as_slice()) else {
            return Err(damaged("its header was changed"));
        };
        if ids.len() != 8 * (expected.train + expected.plain) || hash(ids) != expected.ids {
            return Err(damaged("it does not have its checksum"));
        }
        let (ids, _) = ids.as_chunks::<8>();
        let id = |&bytes: &[u8; 8]| SampleId(u64::from_le_bytes(bytes));
        let (train, plain) = ids.split_at(expected.train);
        Ok(Self { train: train.iter().map(id).collect(), plain: plain.iter().map(id).collect() })
    }

    /// Which of `ids` are not in the rising list `own`.
    pub(super) fn missing(own: &[SampleId], ids: &[SampleId]) -> usize {
        ids.iter().filter(|id| own.binary_search(id).is_err()).count()
    }
}
