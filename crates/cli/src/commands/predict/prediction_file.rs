//! Predictions as a table in a file: CSV, or Parquet.
//!
//! ```text
//! image,label,class,probability,label_2,class_2,probability_2,…
//! ```
//! A row is one sample; the likeliest class comes first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use faculty_distill::predict::Prediction;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Csv,
    Parquet,
}

/// A table that is written when all samples are there.
#[derive(Debug)]
pub(super) struct PredictionFile {
    path: PathBuf,
    kind: Kind,
    /// What a sample is called: `image` or `text`.
    what: &'static str,
    rows: Vec<(String, Vec<Prediction>)>,
}

impl PredictionFile {
    /// Of the kind that the file's name says.
    pub(super) fn new(path: &Path, what: &'static str) -> Result<Self, Failure> {
        let ending = path.extension().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        let kind = match ending.to_ascii_lowercase().as_str() {
            "csv" => Kind::Csv,
            "parquet" => Kind::Parquet,
            _ => {
                return Err(Failure::Usage {
                    what: format!("`{}` names no kind of table", super::shown(path)),
                    hint: "let it end in `.csv` or `.parquet`".to_owned(),
                });
            }
        };
        Ok(Self { path: path.to_owned(), kind, what, rows: Vec::new() })
    }

    pub(super) fn push(&mut self, sample: String, predictions: Vec<Prediction>) {
        self.rows.push((sample, predictions));
    }

    /// Writes the table, whole or not at all, and says so.
    pub(super) fn write(self) -> Result<(), Failure> {
        let failed = |reason: String| Failure::Usage {
            what: format!("cannot write `{}`: {reason}", super::shown(&self.path)),
            hint: "check that its folder exists and has room".to_owned(),
        };
        let bytes = match self.kind {
            Kind::Csv => self.csv().into_bytes(),
            Kind::Parquet => self.parquet().map_err(|error| failed(error.to_string()))?,
        };
        faculty_files::write_atomically(&self.path, &bytes)
            .map_err(|error| failed(error.to_string()))?;
        let count = self.rows.len();
        let plural = if count == 1 { "" } else { "s" };
        eprintln!("{}: {count} {}{plural}", super::shown(&self.path), self.what);
        Ok(())
    }

    /// Classes of a row: the same for all samples of one network.
    fn width(&self) -> usize {
        self.rows.iter().map(|(_, predictions)| predictions.len()).max().unwrap_or(1)
    }

    fn columns(&self) -> Vec<String> {
        let of_rank = |rank: usize| {
            let behind = if rank == 0 { String::new() } else { format!("_{}", rank + 1) };
            ["label", "class", "probability"].map(|name| format!("{name}{behind}"))
        };
        let ranks = (0..self.width()).flat_map(of_rank);
        std::iter::once(self.what.to_owned()).chain(ranks).collect()
    }

    fn csv(&self) -> String {
        let mut text = self.columns().join(",") + "\n";
        for (sample, predictions) in &self.rows {
            text += &faculty_escape::csv(sample);
            for Prediction { label, class, probability } in predictions {
                text += &format!(",{label},{},{probability}", faculty_escape::csv(class));
            }
            text.push('\n');
        }
        text
    }

    fn parquet(&self) -> Result<Vec<u8>, ParquetError> {
        let fields: String = self
            .columns()
            .iter()
            .map(|name| match name.split('_').next() {
                Some("label") => format!("required int32 {name};"),
                Some("probability") => format!("required double {name};"),
                _ => format!("required binary {name} (utf8);"),
            })
            .collect();
        let schema = Arc::new(parse_message_type(&format!("message predictions {{ {fields} }}"))?);
        let properties =
            Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties)?;
        let mut group = writer.next_row_group()?;
        let samples = self.rows.iter().map(|(sample, _)| sample.as_str().into());
        column::<ByteArrayType>(&mut group, &samples.collect::<Vec<_>>())?;
        for rank in 0..self.width() {
            let predictions = || self.rows.iter().map(|(_, predictions)| &predictions[rank]);
            let labels: Vec<i32> = predictions().map(|one| one.label as i32).collect();
            let classes: Vec<ByteArray> =
                predictions().map(|one| one.class.as_str().into()).collect();
            let probabilities: Vec<f64> = predictions().map(|one| one.probability).collect();
            column::<Int32Type>(&mut group, &labels)?;
            column::<ByteArrayType>(&mut group, &classes)?;
            column::<DoubleType>(&mut group, &probabilities)?;
        }
        group.close()?;
        writer.into_inner()
    }
}

/// Writes the next column.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    let none = || ParquetError::General("more columns than the schema has".to_owned());
    let mut column = group.next_column()?.ok_or_else(none)?;
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    use super::*;

    fn predictions(first: &str) -> Vec<Prediction> {
        let one = |label, class: &str, probability| Prediction {
            label,
            class: class.to_owned(),
            probability,
        };
        vec![one(2, first, 0.75), one(0, "dog", 0.125)]
    }

    fn file(name: &str) -> (tempfile::TempDir, PathBuf, PredictionFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let mut file = PredictionFile::new(&path, "image").unwrap();
        file.push("a,b.png".to_owned(), predictions("=1+1"));
        file.push("c.png".to_owned(), predictions("cat"));
        (folder, path, file)
    }

    #[test]
    fn csv_has_a_row_a_sample_and_runs_nothing_in_a_spreadsheet() {
        let (_folder, path, file) = file("out.CSV");
        file.write().unwrap();
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            "image,label,class,probability,label_2,class_2,probability_2\n\
             \"a,b.png\",2,'=1+1,0.75,0,dog,0.125\n\
             c.png,2,cat,0.75,0,dog,0.125\n"
        );
    }

    #[test]
    fn parquet_reads_back_the_same() {
        let (_folder, path, file) = file("out.parquet");
        file.write().unwrap();
        let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
        let rows: Vec<String> =
            reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        assert_eq!(rows.len(), 2);
        for part in ["a,b.png", "label: 2", "=1+1", "probability: 0.75", "probability_2: 0.125"] {
            assert!(rows[0].contains(part), "{part} in {}", rows[0]);
        }
    }

    #[test]
    fn another_ending_is_refused_before_anything_is_computed() {
        let refused = PredictionFile::new(Path::new("out.xlsx"), "image");
        assert!(matches!(refused, Err(Failure::Usage { .. })));
        // Without samples there are the columns of one class.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.csv");
        PredictionFile::new(&path, "text").unwrap().write().unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "text,label,class,probability\n");
    }
}
