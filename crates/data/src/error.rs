//! What can be wrong with a dataset.

mod hint;

use std::io;
use std::path::PathBuf;

/// What is wrong with a dataset or a request on it, and where.
///
/// Rows and records count from 0 within their file, sizes are `[height, width]` in pixels.
/// [`DataError::hint`] says how to fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The path does not exist.
    #[error("`{}` does not exist", .path.display())]
    NotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path exists and is no folder.
    #[error("`{}` is a file, a dataset is a folder", .path.display())]
    NotAFolder {
        /// The path asked for.
        path: PathBuf,
    },
    /// The operating system refused to read or write.
    #[error("cannot access `{}`", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// No format recognises the folder.
    #[error("`{}` holds no dataset of a known format: found {found}; looked for {looked_for}", .path.display())]
    NotRecognised {
        /// The folder.
        path: PathBuf,
        /// The first entries of the folder.
        found: String,
        /// What each format looks for.
        looked_for: String,
    },
    /// Several formats recognise the folder.
    #[error("`{}` could be {}", .path.display(), .formats.join(" or "))]
    Ambiguous {
        /// The folder.
        path: PathBuf,
        /// Their names, in backticks.
        formats: Vec<String>,
    },
    /// The folder holds several datasets.
    #[error("`{}` holds several datasets: {}", .path.display(), .folders.join(", "))]
    SeveralDatasets {
        /// The folder.
        path: PathBuf,
        /// Their folders, in backticks.
        folders: Vec<String>,
    },
    /// A format that cannot be registered.
    #[error("a format cannot be registered as `{name}`: {why}")]
    FormatName {
        /// As given.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// No format has this name.
    #[error("there is no dataset format `{name}`; the formats are {known}")]
    UnknownFormat {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// A file or folder that belongs to the dataset is not there.
    #[error("`{}` is missing", .path.display())]
    MissingFile {
        /// The missing file, or a pattern for it.
        path: PathBuf,
    },
    /// The file ends too early.
    #[error("`{}` ends at byte {found}{}, {expected} bytes are needed", .path.display(), record_text(*.record))]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The record in which it ends, for files made of records.
        record: Option<u64>,
        /// Bytes needed. For a compressed file: after decompression.
        expected: u64,
        /// Bytes there, or for a compressed file the most that it can hold.
        found: u64,
    },
    /// The file goes on after its end.
    #[error("`{}` goes on after byte {expected}, where its header says it ends", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes expected.
        expected: u64,
    },
    /// The file starts with the wrong number.
    #[error("`{}` starts with {found:#010x}, {expected:#010x} is expected", .path.display())]
    WrongMagic {
        /// The file.
        path: PathBuf,
        /// The number of the format.
        expected: u32,
        /// The number in the file.
        found: u32,
    },
    /// A header field is not usable.
    #[error("`{}` has {field} {found} in its header", .path.display())]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// Which field.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// The file is not valid gzip.
    #[error("`{}` cannot be decompressed after byte {position}", .path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// Bytes decompressed before the error.
        position: u64,
        /// What the decompressor says.
        source: io::Error,
    },
    /// A path that is no regular file.
    #[error("`{}` is {kind}, not a file", .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// A link that leads out of the data set's folder.
    #[error(
        "`{}` leads to `{}`, outside the folder `{}`",
        .path.display(), .target.display(), .root.display()
    )]
    LinkOutside {
        /// The link, or a path through one.
        path: PathBuf,
        /// Where it leads to.
        target: PathBuf,
        /// The folder of the data set.
        root: PathBuf,
    },
    /// A link that leads nowhere.
    #[error("`{}` is a link to `{}`, which cannot be reached", .path.display(), .target.display())]
    BrokenLink {
        /// The link.
        path: PathBuf,
        /// What it points to.
        target: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file larger than any real one of its kind.
    #[error("`{}` has {bytes} bytes, at most {most} are read", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        bytes: u64,
        /// The most that is read.
        most: u64,
    },
    /// A split is not there.
    #[error("`{}` has no split `{name}` for `{key}`; it has {}", .path.display(), quoted(.found))]
    NoSplit {
        /// The data set.
        path: PathBuf,
        /// The recipe key that names the split.
        key: &'static str,
        /// Its name.
        name: String,
        /// The splits that are there.
        found: Vec<String>,
    },
    /// Several splits could have one role.
    #[error("`{}` has several splits for `{key}`: {}", .path.display(), quoted(.names))]
    SeveralSplits {
        /// The data set.
        path: PathBuf,
        /// The recipe key that names one.
        key: &'static str,
        /// Their names.
        names: Vec<String>,
    },
    /// A split without labels is to be trained or measured on.
    #[error("the samples of split `{name}` in `{}` have no labels", .path.display())]
    Unlabelled {
        /// The data set.
        path: PathBuf,
        /// The recipe key that names the split.
        key: &'static str,
        /// Its name.
        name: String,
    },
    /// All training samples are of one class.
    #[error("all training samples in `{}` are of one class, `{class}`: there is nothing to learn", .path.display())]
    OneClass {
        /// The data set.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// Folders beside each other whose names are not those of classes.
    #[error(
        "`{}` has no training split, and its folders do not look like classes: {}",
        .path.display(), quoted(.folders)
    )]
    NotClasses {
        /// The data set.
        path: PathBuf,
        /// The folders.
        folders: Vec<String>,
    },
    /// Labels that count from 1, or higher.
    #[error("`{}`: the labels start at {first}, 0 is expected", .path.display())]
    LabelsStartAt {
        /// The data set, or a file of it.
        path: PathBuf,
        /// The lowest label.
        first: u64,
    },
    /// A list of files and labels cannot be used.
    #[error("`{}`{}: {problem}", .path.display(), line_text(*.line))]
    List {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
    /// A pickle of Python that is damaged or is no CIFAR batch.
    #[error("`{}`: {problem}", .path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Images and labels are not the same number.
    #[error("`{}` has {labels} labels, `{}` has {images} images", .labels_path.display(), .images_path.display())]
    CountsDiffer {
        /// The file of images.
        images_path: PathBuf,
        /// Its images.
        images: u64,
        /// The file of labels.
        labels_path: PathBuf,
        /// Its labels.
        labels: u64,
    },
    /// A label is not the number of a class.
    #[error("`{}`, row {row}: label {label}, but there are {classes} classes", .path.display())]
    LabelOutOfRange {
        /// The file.
        path: PathBuf,
        /// The row or record.
        row: u64,
        /// The label.
        label: i64,
        /// The number of classes; labels are below it.
        classes: usize,
    },
    /// A label is a text that is no class of the training split.
    #[error("`{}`, row {row}: class `{class}` is not one of the training split", .path.display())]
    UnknownClass {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The class.
        class: String,
    },
    /// A list of class names does not fit the data.
    #[error("{found} class names in `{}`, {expected} are expected", .path.display())]
    WrongClassCount {
        /// Where the names come from.
        path: PathBuf,
        /// The number of classes in the data.
        expected: usize,
        /// The number of names.
        found: usize,
    },
    /// Two classes have the same name, or a name is empty.
    #[error("class name `{name}` in `{}` is empty or stands there twice", .path.display())]
    BadClassName {
        /// Where the names come from.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A name or a text file is not UTF-8.
    #[error("`{}` is not UTF-8", .path.display())]
    NotUtf8 {
        /// The file, or the file with that name.
        path: PathBuf,
    },
    /// There are no classes.
    #[error("`{}` has no classes", .path.display())]
    NoClasses {
        /// The folder or file.
        path: PathBuf,
    },
    /// There are no images.
    #[error("`{}` has no images", .path.display())]
    NoImages {
        /// The folder or file.
        path: PathBuf,
    },
    /// A split has a class that the training split lacks, or the other way round.
    #[error("class `{class}` is in `{}` and not in `{}`", .present.display(), .absent.display())]
    ClassesDiffer {
        /// The class.
        class: String,
        /// Where it is.
        present: PathBuf,
        /// Where it is not.
        absent: PathBuf,
    },
    /// An image lies beside the class folders.
    #[error("`{}` is in no class folder", .path.display())]
    StrayImage {
        /// The image.
        path: PathBuf,
    },
    /// Two files of one dataset have different class names.
    #[error("the class names in `{}` and `{}` differ", .first.display(), .other.display())]
    ClassNamesDiffer {
        /// One file.
        first: PathBuf,
        /// Another one.
        other: PathBuf,
    },
    /// A file among the images is none.
    #[error("`{}`{} is not a PNG, JPEG, WebP, GIF, BMP or TIFF image", .path.display(), row_text(*.row))]
    NotAnImage {
        /// The file, or the file that holds it.
        path: PathBuf,
        /// The row in that file.
        row: Option<u64>,
    },
    /// A file without content.
    #[error("`{}`{} is empty (0 bytes)", .path.display(), row_text(*.row))]
    EmptyFile {
        /// The file, or the file that holds it.
        path: PathBuf,
        /// The row in that file.
        row: Option<u64>,
    },
    /// An image whose file ends too early.
    #[error("`{}`{}: the image is cut short", .path.display(), row_text(*.row))]
    TruncatedImage {
        /// The image, or the file that holds it.
        path: PathBuf,
        /// The row in that file.
        row: Option<u64>,
    },
    /// An image cannot be decoded.
    #[error("`{}`{}: the image cannot be decoded", .path.display(), row_text(*.row))]
    CorruptImage {
        /// The image, or the file that holds it.
        path: PathBuf,
        /// The row in that file.
        row: Option<u64>,
        /// What the decoder says.
        source: image::ImageError,
    },
    /// An image claims more pixels than its bytes can hold.
    #[error(
        "`{}`{}: the image claims {}x{} pixels in {bytes} bytes", .path.display(), row_text(*.row), .size[0], .size[1]
    )]
    ImplausibleImage {
        /// The image, or the file that holds it.
        path: PathBuf,
        /// The row in that file.
        row: Option<u64>,
        /// Claimed `[height, width]`.
        size: [usize; 2],
        /// Its bytes.
        bytes: usize,
    },
    /// A file whose content would take far more memory than any real file of its size.
    #[error(
        "`{}` holds {stored} bytes that claim to be {decoded}: no real data is compressed like that",
        .path.display()
    )]
    Bomb {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        stored: u64,
        /// What they claim to give.
        decoded: u64,
    },
    /// The images have not all the same size.
    #[error(
        "`{}`{}: the image is {}x{}, those before it are {}x{}",
        .path.display(), row_text(*.row), .found[0], .found[1], .expected[0], .expected[1]
    )]
    MixedSizes {
        /// The first image that differs, or the file that holds it.
        path: PathBuf,
        /// The row in that file.
        row: Option<u64>,
        /// `[height, width]` of the images before.
        expected: [usize; 2],
        /// `[height, width]` of this image.
        found: [usize; 2],
    },
    /// Training images and those of another split differ in shape.
    #[error(
        "training images are {expected:?} (channels, height, width), those of another split {found:?}"
    )]
    PartsDiffer {
        /// `[channels, height, width]` of the training images.
        expected: [usize; 3],
        /// `[channels, height, width]` of the others.
        found: [usize; 3],
    },
    /// A Parquet file is damaged or uses what this reader does not know.
    #[error("`{}`: column `{column}` cannot be read after row {row}", .path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The column, or `footer`.
        column: String,
        /// Rows read before the error.
        row: u64,
        /// What the Parquet reader says.
        source: ::parquet::errors::ParquetError,
    },
    /// The description inside a Parquet file is not valid JSON.
    #[error("`{}`: the `huggingface` metadata is not valid JSON", .path.display())]
    BadMetadata {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A column that can serve as label or image cannot be recognised, or is not there.
    #[error("`{}`: {problem}; the file has {candidates}", .path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// What is wrong, such as "no column `x`".
        problem: String,
        /// Columns that could serve.
        candidates: String,
        /// The recipe key that names the column.
        key: &'static str,
    },
    /// A row has no value in a column that needs one.
    #[error("`{}`, row {row}: column `{column}` is empty", .path.display())]
    MissingValue {
        /// The file.
        path: PathBuf,
        /// The row.
        row: u64,
        /// The column.
        column: String,
    },
    /// A table of logits that cannot be used.
    #[error("table of logits `{}`: {problem}", .path.display())]
    LogitTable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A decoder panicked on a damaged file.
    #[error("`{}`{}: the decoder failed: {message}", .path.display(), row_text(*.row))]
    DecoderPanicked {
        /// The file.
        path: PathBuf,
        /// The row in that file.
        row: Option<u64>,
        /// The message of the panic.
        message: String,
    },
    /// An option is of no use for this format.
    #[error("`{value}` is no {key} of `{}`; possible are {possible}", .path.display())]
    BadOption {
        /// The dataset.
        path: PathBuf,
        /// The recipe key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The values that would do.
        possible: String,
    },
    /// An option is given that the format does not know.
    #[error("`{key}` is of no use for `{}`: its format is `{format}`", .path.display())]
    UnusedOption {
        /// The dataset.
        path: PathBuf,
        /// The recipe key.
        key: &'static str,
        /// The format.
        format: &'static str,
    },
    /// Images are expected, and the samples are of another kind.
    #[error("this needs images, and the samples are texts")]
    NotImages,
    /// Texts are expected, and the samples are of another kind.
    #[error("this needs texts, and the samples are images")]
    NotTexts,
    /// A file of texts cannot be used.
    #[error("`{}`{}: {problem}", .path.display(), place_text(*.place))]
    Texts {
        /// The file or folder.
        path: PathBuf,
        /// Where in it: `line` or `row`, and its number.
        place: Option<(&'static str, u64)>,
        /// What is wrong.
        problem: String,
        /// How to fix it.
        fix: String,
    },
    /// Labels of which it is not clear what classes they mean.
    #[error("`{}`: {problem}", .path.display())]
    Labels {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// How to fix it.
        fix: String,
    },
    /// Arrays of NumPy that are no data set.
    #[error("`{}`: {problem}", .path.display())]
    Arrays {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// How to fix it.
        fix: String,
    },
    /// A tokenizer cannot be used.
    #[error("tokenizer `{}`: {problem}", .path.display())]
    Tokenizer {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// How to fix it.
        fix: String,
    },
    /// Pixels, labels and shape do not fit together.
    #[error("{what}: {found}, {expected} expected")]
    WrongShape {
        /// What was counted.
        what: &'static str,
        /// The count needed.
        expected: usize,
        /// The count given.
        found: usize,
    },
    /// A number is outside its range.
    #[error("{name} is {found}, it must be {range}")]
    OutOfRange {
        /// The name of the number.
        name: &'static str,
        /// Its value.
        found: String,
        /// The range in words.
        range: String,
    },
    /// A split leaves nothing on one side.
    #[error("the {part} split is empty: a fraction of {fraction} of {samples} samples leaves none")]
    EmptySplit {
        /// `training` or `validation`.
        part: &'static str,
        /// The fraction asked for.
        fraction: f64,
        /// The samples to split.
        samples: usize,
    },
    /// The thread that prepares batches panicked.
    #[error("the thread that prepares batches failed: {message}")]
    LoaderPanicked {
        /// The message of the panic.
        message: String,
    },
    /// The thread that prepares batches could not be started.
    #[error("the thread that prepares batches cannot be started")]
    LoaderThread {
        /// The reason.
        source: io::Error,
    },
}

impl DataError {
    /// Whether it is about one image alone, which can be left out.
    pub(crate) const fn is_of_one_image(&self) -> bool {
        matches!(
            self,
            Self::NotAnImage { .. }
                | Self::EmptyFile { .. }
                | Self::TruncatedImage { .. }
                | Self::CorruptImage { .. }
                | Self::ImplausibleImage { .. }
                | Self::DecoderPanicked { .. }
                | Self::NotAFile { .. }
                | Self::BrokenLink { .. }
                | Self::MissingFile { .. }
        )
    }
}

fn quoted(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

fn line_text(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(", line {line}"))
}

fn place_text(place: Option<(&'static str, u64)>) -> String {
    place.map_or_else(String::new, |(kind, number)| format!(", {kind} {number}"))
}

fn row_text(row: Option<u64>) -> String {
    row.map_or_else(String::new, |row| format!(", row {row}"))
}

fn record_text(record: Option<u64>) -> String {
    record.map_or_else(String::new, |record| format!(" inside record {record}"))
}

/// The message of a caught panic.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_file_row_and_both_values_and_hints_name_the_key() {
        let error = DataError::MixedSizes {
            path: "cats/7.png".into(),
            row: None,
            expected: [32, 32],
            found: [40, 30],
        };
        assert_eq!(
            error.to_string(),
            "`cats/7.png`: the image is 40x30, those before it are 32x32"
        );
        assert!(error.hint().unwrap().contains("`resize = [32, 32]`"));

        let error = DataError::Truncated {
            path: "test.bin".into(),
            record: Some(3),
            expected: 3074,
            found: 10,
        };
        assert_eq!(
            error.to_string(),
            "`test.bin` ends at byte 10 inside record 3, 3074 bytes are needed"
        );
    }
}
