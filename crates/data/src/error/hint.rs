//! How to fix what can be wrong with a dataset.

use super::DataError;

impl DataError {
    /// How to fix it, where there is a likely way: lower case, without full stop.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotFound { .. } => {
                "check `data.path`; it is taken relative to the recipe".to_owned()
            }
            Self::NotAFolder { path } => {
                match path.parent().filter(|p| !p.as_os_str().is_empty()) {
                    Some(parent) => format!("give the folder, perhaps `{}`", parent.display()),
                    None => "give the folder that holds it".to_owned(),
                }
            }
            Self::NotRecognised { .. } => {
                "`faculty datasets` lists the formats and what each needs".to_owned()
            }
            Self::Ambiguous { formats, .. } => {
                format!("choose with `format = …`: {}", formats.join(" or "))
            }
            Self::SeveralDatasets { .. } => "give one of these as `data.path`".to_owned(),
            Self::UnusedOption { key, .. } => format!("remove `{key}`"),
            Self::MissingFile { .. } => {
                "the download is perhaps not complete, or the archive is only partly unpacked"
                    .to_owned()
            }
            Self::Truncated { .. } | Self::TooLong { .. } | Self::Gzip { .. } => {
                "the file is damaged or its download was cut: fetch it again".to_owned()
            }
            Self::WrongMagic { found, .. } if found >> 16 == 0x1f8b => {
                "it is compressed twice: decompress it once".to_owned()
            }
            Self::WrongMagic { .. } => {
                "images and labels are perhaps swapped, or it is another kind of file".to_owned()
            }
            Self::CountsDiffer { .. } => "the two files are perhaps of different parts".to_owned(),
            Self::LabelOutOfRange { label, .. } if *label < 0 => {
                "-1 marks a sample without a label: remove it, or leave the split out, for example with \
                 `test = \"none\"`; classes are numbers from 0, or names"
                    .to_owned()
            }
            Self::LabelOutOfRange { .. } | Self::WrongClassCount { .. } => {
                "give one name for each class, with `classes = [..]` or one a line in `classes.txt`; \
                 labels that count from 1 need `first_label = 1`"
                    .to_owned()
            }
            Self::NoClasses { path } => {
                let path = path.display();
                format!("put the images of each class in a folder of its own under `{path}`")
            }
            Self::NoImages { .. } => "add images, or remove it".to_owned(),
            Self::ClassesDiffer { .. } => {
                "each class needs a folder with images in every split".to_owned()
            }
            Self::StrayImage { .. } => "move it into the folder of its class".to_owned(),
            Self::NotAnImage { .. } => {
                "convert it to PNG or JPEG, or leave such files out with `on_bad_image = \"skip\"`"
                    .to_owned()
            }
            Self::NotAFile { .. } => "remove it, or put a file in its place".to_owned(),
            Self::LinkOutside { .. } => "copy what it leads to into the folder; or, if you made the link \
                 yourself, allow it with `follow_links = true`"
                .to_owned(),
            Self::BrokenLink { .. } => "restore what it points to, or remove the link".to_owned(),
            Self::TooLarge { .. } => "it is no file of this kind: remove it".to_owned(),
            Self::NoSplit { key, .. } => {
                format!("name the split, or give the path of its folder, with `{key} = …`")
            }
            Self::SeveralSplits { key, names, .. } => {
                let first = names.first().map_or("…", String::as_str);
                format!("choose one with `{key} = \"{first}\"`")
            }
            Self::Unlabelled { key, .. } => {
                format!(
                    "name a split with labels, `{key} = …`, give each sample its label, or name the \
                     column of labels of a table with `label_column = …`"
                )
            }
            Self::OneClass { .. } => "put the samples of each class in a folder of its own, one beside \
                 the other; `docs/data.md` shows what is read"
                .to_owned(),
            Self::NotClasses { folders, .. } => format!(
                "put the images of each class in a folder of its own under `train/`; if these are \
                 classes, say so with `classes = [{}]`",
                folders.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
            ),
            Self::LabelsStartAt { first, .. } => format!(
                "say so with `first_label = {first}`; with `first_label = 0` the classes before are kept, \
                 without samples"
            ),
            Self::BadClassName { .. } => {
                "give each class a name of its own, and each sample a label".to_owned()
            }
            Self::List { .. } => "a list is a CSV file with a header, such as `path,label`, \
                 `path,label,split` or `text,label`; `docs/data.md` shows it"
                .to_owned(),
            Self::Pickle { .. } => "unpack the download again; the binary version of CIFAR (`.bin`) and \
                 Parquet are read too"
                .to_owned(),
            Self::CorruptImage { .. }
            | Self::TruncatedImage { .. }
            | Self::EmptyFile { .. }
            | Self::ImplausibleImage { .. }
            | Self::DecoderPanicked { row: Some(_), .. } => {
                "replace or remove it, or leave such images out with `on_bad_image = \"skip\"`"
                    .to_owned()
            }
            Self::DecoderPanicked { .. } => {
                "the file is damaged or its download was cut: fetch it again".to_owned()
            }
            Self::Bomb { .. } => {
                "the file is damaged or made to fill the memory; do not use it".to_owned()
            }
            Self::MixedSizes { expected: [h, w], .. } => {
                format!("scale all images to one size with `resize = [{h}, {w}]` (height, width)")
            }
            Self::PartsDiffer { expected: [_, h, w], .. } => {
                format!("scale both to one size with `resize = [{h}, {w}]` (height, width)")
            }
            Self::Column { key: "image_column", .. } => "name the column with `image_column = …`, or, if \
                 the samples are texts, with `text_column = …`"
                .to_owned(),
            Self::Column { key, .. } => format!("name the column with `{key} = …`"),
            Self::Parquet { source, .. } if source.to_string().contains("Disabled feature") => {
                "Snappy, gzip, Zstandard and no compression are read: write the file again with one of \
                 them, in pandas `to_parquet(…, compression=\"snappy\")`"
                    .to_owned()
            }
            Self::Parquet { .. } => {
                "the file is damaged or its download was cut: fetch it again".to_owned()
            }
            Self::MissingValue { column, .. } if column.ends_with(".bytes") => {
                "the image is stored by path only: write the dataset with embedded images"
                    .to_owned()
            }
            Self::LogitTable { .. } => "`docs/teachers.md` shows how to write such a table; \
                 `faculty datasets DATA --ids` lists the ids"
                .to_owned(),
            Self::EmptySplit { part: "training", .. } => "lower the fraction".to_owned(),
            Self::EmptySplit { .. } => "raise the fraction, or use more samples".to_owned(),
            Self::Texts { fix, .. }
            | Self::Labels { fix, .. }
            | Self::Arrays { fix, .. }
            | Self::Tokenizer { fix, .. } => fix.clone(),
            Self::NotImages => "the data set is one of texts, which this command does not take yet; \
                 `faculty datasets PATH` shows it"
                .to_owned(),
            Self::LoaderPanicked { .. } => "this is a bug in faculty: please report it".to_owned(),
            _ => return None,
        };
        Some(hint)
    }
}
