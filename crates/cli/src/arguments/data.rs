//! How a data set is read, as options of every command that reads one without a recipe.

use clap::Args;
use faculty_data::{DataError, ExifOrientation, Format, OnBadImage, OnDuplicateText, ReadOptions};

use super::Size;

/// Each is a key of `[data]` in a recipe.
#[derive(Clone, Debug, Default, PartialEq, Args)]
#[command(next_help_heading = "Reading the data")]
pub(crate) struct DataOptions {
    /// Format of the data set [default: recognised]
    #[arg(long, value_name = "NAME")]
    pub(crate) format: Option<String>,
    /// Split to train on, by name or path [default: `train`]
    #[arg(long, value_name = "SPLIT")]
    pub(crate) train: Option<String>,
    /// Split to choose the best epoch by, by name or path, or `none` [default: `val`, `valid`,
    /// `validation` or `dev`]
    #[arg(long, value_name = "SPLIT")]
    pub(crate) validation: Option<String>,
    /// Split for the final numbers, by name or path, or `none` [default: `test`]
    #[arg(long, value_name = "SPLIT")]
    pub(crate) test: Option<String>,
    /// Names of the classes in the order of their labels [default: those in the data]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) classes: Option<Vec<String>>,
    /// Label of the first class [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) first_label: Option<u32>,
    /// Column that holds the labels [default: recognised]
    #[arg(long, value_name = "NAME")]
    pub(crate) label_column: Option<String>,
    /// Column that holds the images or their paths [default: recognised]
    #[arg(long, value_name = "NAME")]
    pub(crate) image_column: Option<String>,
    /// Column that holds the texts [default: recognised]
    #[arg(long, value_name = "NAME")]
    pub(crate) text_column: Option<String>,
    /// Column that holds the second text of a pair [default: recognised]
    #[arg(long, value_name = "NAME")]
    pub(crate) text_pair_column: Option<String>,
    /// Leave duplicates out of the training texts, also those of texts in other splits
    #[arg(long)]
    pub(crate) drop_duplicate_texts: bool,
    /// Height and width that every image is scaled to
    #[arg(long, value_name = "H,W")]
    pub(crate) resize: Option<Size>,
    /// Leave out images that cannot be read, and list them
    #[arg(long)]
    pub(crate) skip_bad_images: bool,
    /// Read images as they are stored, not turned as their EXIF orientation says
    #[arg(long)]
    pub(crate) ignore_exif_orientation: bool,
    /// Read through links that lead out of the data set's folder
    #[arg(long)]
    pub(crate) follow_links: bool,
}

impl DataOptions {
    /// The same for whoever reads it; refuses a format that there is not.
    pub(crate) fn read_options(&self) -> Result<ReadOptions, DataError> {
        let on_duplicate_text = match self.drop_duplicate_texts {
            true => OnDuplicateText::Drop,
            false => OnDuplicateText::Keep,
        };
        let on_bad_image = if self.skip_bad_images { OnBadImage::Skip } else { OnBadImage::Stop };
        let exif_orientation = match self.ignore_exif_orientation {
            true => ExifOrientation::Ignore,
            false => ExifOrientation::Apply,
        };
        Ok(ReadOptions {
            format: self.format.as_deref().map(str::parse::<Format>).transpose()?,
            classes: self.classes.clone(),
            first_label: self.first_label,
            label_column: self.label_column.clone(),
            image_column: self.image_column.clone(),
            text_column: self.text_column.clone(),
            text_pair_column: self.text_pair_column.clone(),
            train: self.train.clone(),
            validation: self.validation.clone(),
            test: self.test.clone(),
            resize: self.resize.map(|size| size.0),
            exif_orientation,
            on_bad_image,
            on_duplicate_text,
            // A recipe says it: `data.unlabelled`.
            unlabelled: false,
            follow_links: self.follow_links,
        })
    }
}
