//! How a dataset is read.

use std::path::Path;

use serde::Serialize;

use crate::{DataError, Format};

/// What to do with an image that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadImage {
    /// The data set is refused.
    #[default]
    Stop,
    /// It is left out, and listed in [`crate::Findings::skipped`].
    Skip,
}

/// Whether an image is turned as its EXIF orientation says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExifOrientation {
    /// As viewers show it.
    #[default]
    Apply,
    /// As it is stored: what PIL and so torchvision's `ImageFolder` give without `exif_transpose`.
    Ignore,
}

/// What to do with texts that are there more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDuplicateText {
    /// They are kept, with a note.
    #[default]
    Keep,
    /// Training loses those that another split has too, and all but one of those with the same label.
    Drop,
}

/// How to read a dataset; the default recognises everything.
///
/// An option that the format cannot use is an error, never ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format; default: the one recognised.
    pub format: Option<Format>,
    /// Class names in label order; default: those of the dataset. For `folder` they choose the
    /// order of the folders.
    pub classes: Option<Vec<String>>,
    /// The number of the first class, for `parquet`, `idx`, `npz`, `list` and tables of texts; default: 0.
    /// Labels that start higher are refused unless this says so.
    pub first_label: Option<u32>,
    /// The column with the labels, for `parquet`, `list`, CIFAR and tables of texts; default: the only
    /// one, or `fine_label`.
    pub label_column: Option<String>,
    /// The column with the images, for `parquet`, or with their paths, for `list`; default: the only
    /// one.
    pub image_column: Option<String>,
    /// The column with the texts, for tables of texts; default: the one called `text`, `sentence` and
    /// the like. With it, `text-csv`, `text-json` and `text-parquet` alone are recognised.
    pub text_column: Option<String>,
    /// The column with the second text of a pair, likewise; default: with `sentence1` and the like
    /// `sentence2` and the like, else none.
    pub text_pair_column: Option<String>,
    /// The split to train on: its name, or, for `parquet`, `folder` and `list`, the path of its folder
    /// or file, from that of the dataset; default: the one called `train` or `training`.
    pub train: Option<String>,
    /// The split to choose by, likewise, or `none`; default: the one called `val`, `valid`,
    /// `validation` or `dev`, if there is one.
    pub validation: Option<String>,
    /// The split to test on, likewise, or `none`; default: the one called `test`, `testing` or `t10k`,
    /// if there is one.
    pub test: Option<String>,
    /// Scale all images to `[height, width]`, for `parquet`, `folder` and `list`; default: they must
    /// have one size.
    pub resize: Option<[usize; 2]>,
    /// Whether images are turned as their EXIF orientation says.
    pub exif_orientation: ExifOrientation,
    /// What to do with an image that cannot be read.
    pub on_bad_image: OnBadImage,
    /// What to do with texts that are there more than once.
    pub on_duplicate_text: OnDuplicateText,
    /// Read training images without a label too, from a folder `unlabelled` beside `train`, for
    /// `folder`. (Texts without one are always read.)
    pub unlabelled: bool,
    /// Read through links that lead out of the dataset's folder.
    pub follow_links: bool,
}

impl ReadOptions {
    /// Refuses options of no use for `format`, and values that no data set can have.
    pub(crate) fn check(&self, format: Format, path: &Path) -> Result<(), DataError> {
        use Format::{
            CifarBinary, CifarPython, Folder, Idx, List, Npz, Parquet, TextCsv, TextFolder,
            TextJson, TextParquet,
        };
        let tables = &[TextCsv, TextJson, TextParquet][..];
        let columns = &[&[Parquet, List, CifarBinary, CifarPython], tables].concat();
        let counted = &[&[Parquet, List, Idx, Npz], tables].concat();
        let texts = &[tables, &[TextFolder]].concat();
        let skips = self.on_bad_image == OnBadImage::Skip;
        let as_stored = self.exif_orientation == ExifOrientation::Ignore;
        let drops = self.on_duplicate_text == OnDuplicateText::Drop;
        let given = [
            ("label_column", self.label_column.is_some(), &columns[..]),
            ("image_column", self.image_column.is_some(), &[Parquet, List]),
            ("text_column", self.text_column.is_some(), tables),
            ("text_pair_column", self.text_pair_column.is_some(), tables),
            ("first_label", self.first_label.is_some(), counted),
            ("resize", self.resize.is_some(), &[Parquet, Folder, List]),
            ("exif_orientation", as_stored, &[Parquet, Folder, List]),
            ("on_bad_image", skips, &[Parquet, Folder, List]),
            ("on_duplicate_text", drops, texts),
        ];
        for (key, given, formats) in given {
            // A reader of one's own knows by itself what it can do with.
            if given && !formats.contains(&format) && !matches!(format, Format::Own(_)) {
                let (path, format) = (path.to_owned(), format.name());
                return Err(DataError::UnusedOption { path, key, format });
            }
        }
        if let Some([height, width]) = self.resize
            && !((1..=4096).contains(&height) && (1..=4096).contains(&width))
        {
            return Err(DataError::OutOfRange {
                name: "`resize`",
                found: format!("[{height}, {width}]"),
                range: "between 1 and 4096 in both places".to_owned(),
            });
        }
        Ok(())
    }
}
