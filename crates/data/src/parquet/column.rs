//! One Parquet file, read column by column.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::basic::{Compression, ConvertedType, LogicalType, Type};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use ::parquet::data_type::{ByteArray, DataType, DoubleType, FloatType};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::FileMetaData;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use rayon::prelude::*;

use super::bounded::BoundedFile;
use super::zstd;
use crate::DataError;
use crate::files::open_regular;

/// Rows read at a time.
const CHUNK: usize = 1024;

/// An open file.
pub(crate) struct Table {
    path: PathBuf,
    reader: SerializedFileReader<BoundedFile>,
    /// Once more, for the pages that the reader cannot decompress.
    pages: Arc<BoundedFile>,
    rows: usize,
    file_bytes: u64,
}

/// A column without repetition: its place among the leaves and its name.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) physical: Type,
    /// Whether its bytes are UTF-8 texts.
    pub(crate) is_text: bool,
    /// Whether its whole numbers have no sign.
    pub(crate) is_unsigned: bool,
    max_definition: i16,
}

impl Table {
    /// Opens the file and checks that what its footer says can be in it.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        Self::of_file(path, open_regular(path)?)
    }

    /// The same of a file that is open, with its length.
    pub(crate) fn of_file(path: &Path, (file, length): (File, u64)) -> Result<Self, DataError> {
        let footer = |source| DataError::Parquet {
            path: path.to_owned(),
            column: "footer".to_owned(),
            row: 0,
            source,
        };
        let io = |source| DataError::Io { path: path.to_owned(), source };
        let pages = Arc::new(BoundedFile::new(file.try_clone().map_err(io)?, length));
        let reader = SerializedFileReader::new(BoundedFile::new(file, length)).map_err(footer)?;
        let mut rows = 0_usize;
        for group in reader.metadata().row_groups() {
            let group_rows = usize::try_from(group.num_rows()).ok();
            rows = group_rows.and_then(|group_rows| rows.checked_add(group_rows)).ok_or_else(
                || {
                    footer(ParquetError::General(format!(
                        "{} rows in a row group",
                        group.num_rows()
                    )))
                },
            )?;
            for chunk in group.columns() {
                let page = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
                let end = u64::try_from(page)
                    .ok()
                    .zip(u64::try_from(chunk.compressed_size()).ok())
                    .and_then(|(start, length)| start.checked_add(length));
                if end.is_none_or(|end| end > length) {
                    let (path, found) = (path.to_owned(), length);
                    let expected = end.unwrap_or(u64::MAX);
                    return Err(DataError::Truncated { path, record: None, expected, found });
                }
            }
        }
        // Each row has an image or an id of its own, which takes a byte at least.
        if rows as u64 > length {
            let text = format!("{rows} rows in {length} bytes");
            return Err(footer(ParquetError::General(text)));
        }
        Ok(Self { path: path.to_owned(), reader, pages, rows, file_bytes: length })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Rows that the footer promises, at most the file's bytes.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn file_metadata(&self) -> &FileMetaData {
        self.reader.metadata().file_metadata()
    }

    /// All leaves without repetition, with their path joined by dots.
    pub(crate) fn leaves(&self) -> Vec<Leaf> {
        let schema = self.file_metadata().schema_descr();
        let leaf = |index| {
            let column = schema.column(index);
            (column.max_rep_level() == 0).then(|| Leaf {
                index,
                name: column.path().parts().join("."),
                physical: column.physical_type(),
                is_text: column.converted_type() == ConvertedType::UTF8
                    || column.logical_type_ref() == Some(&LogicalType::String),
                is_unsigned: matches!(
                    column.converted_type(),
                    ConvertedType::UINT_8
                        | ConvertedType::UINT_16
                        | ConvertedType::UINT_32
                        | ConvertedType::UINT_64
                ),
                max_definition: column.max_def_level(),
            })
        };
        (0..schema.num_columns()).filter_map(leaf).collect()
    }

    /// The names of all columns, whatever they hold.
    pub(crate) fn columns(&self) -> Vec<String> {
        let schema = self.file_metadata().schema_descr();
        schema.root_schema().get_fields().iter().map(|field| field.name().to_owned()).collect()
    }

    /// The leaf of the column `name`, if that is a list of floats.
    pub(crate) fn list(&self, name: &str) -> Option<Leaf> {
        let schema = self.file_metadata().schema_descr();
        (0..schema.num_columns()).find_map(|index| {
            let column = schema.column(index);
            let physical = column.physical_type();
            let fits = column.max_rep_level() == 1
                && matches!(physical, Type::FLOAT | Type::DOUBLE)
                && column.path().parts().first().is_some_and(|first| first == name);
            let max_definition = column.max_def_level();
            fits.then(|| Leaf {
                index,
                name: name.to_owned(),
                physical,
                is_text: false,
                is_unsigned: false,
                max_definition,
            })
        })
    }

    /// Calls `take(row, values)` for each row of a column of lists.
    pub(crate) fn lists(
        &self,
        leaf: &Leaf,
        mut take: impl FnMut(u64, &[f32]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        self.each_group(leaf, |first_row, rows, reader| match reader {
            ColumnReader::FloatColumnReader(mut reader) => {
                self.each_list::<FloatType>(leaf, first_row, rows, &mut reader, |v| *v, &mut take)
            }
            ColumnReader::DoubleColumnReader(mut reader) => {
                let single = |value: &f64| *value as f32;
                self.each_list::<DoubleType>(leaf, first_row, rows, &mut reader, single, &mut take)
            }
            _ => Err(self.wrong_type(leaf)),
        })
    }

    fn each_list<T: DataType>(
        &self,
        leaf: &Leaf,
        first_row: u64,
        rows: u64,
        reader: &mut ColumnReaderImpl<T>,
        single: impl Fn(&T::T) -> f32,
        take: &mut impl FnMut(u64, &[f32]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
        let mut list = Vec::new();
        for row in first_row..first_row + rows {
            values.clear();
            definitions.clear();
            repetitions.clear();
            let (got, _, _) = reader
                .read_records(1, Some(&mut definitions), Some(&mut repetitions), &mut values)
                .map_err(|source| self.error(leaf, row, source))?;
            if got != 1 {
                let text = format!("the column has {row} rows, the footer says more");
                return Err(self.error(leaf, row, ParquetError::EOF(text)));
            }
            let missing = definitions.iter().any(|&level| level < leaf.max_definition);
            if missing || values.len() != definitions.len() {
                let (path, column) = (self.path.clone(), leaf.name.clone());
                return Err(DataError::MissingValue { path, row, column });
            }
            list.clear();
            list.extend(values.iter().map(&single));
            take(row, &list)?;
        }
        Ok(())
    }

    /// Calls `take(row, label)` for each row of a column of whole numbers, or of true and false.
    pub(crate) fn labels(
        &self,
        leaf: &Leaf,
        mut take: impl FnMut(u64, i64) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        self.each_group(leaf, |first_row, rows, reader| match reader {
            ColumnReader::Int32ColumnReader(mut reader) => {
                self.each_chunk(leaf, first_row, rows, &mut reader, |row, labels| {
                    (row..).zip(labels).try_for_each(|(row, &label)| {
                        let unsigned = i64::from(label.cast_unsigned());
                        take(row, if leaf.is_unsigned { unsigned } else { label.into() })
                    })
                })
            }
            ColumnReader::Int64ColumnReader(mut reader) => {
                // Above what has a sign there are no classes.
                let signed =
                    |label: i64| if leaf.is_unsigned && label < 0 { i64::MAX } else { label };
                self.each_chunk(leaf, first_row, rows, &mut reader, |row, labels| {
                    (row..).zip(labels).try_for_each(|(row, &label)| take(row, signed(label)))
                })
            }
            ColumnReader::BoolColumnReader(mut reader) => {
                self.each_chunk(leaf, first_row, rows, &mut reader, |row, labels| {
                    (row..).zip(labels).try_for_each(|(row, &label)| take(row, label.into()))
                })
            }
            // Tables with missing numbers have whole ones as floats.
            ColumnReader::FloatColumnReader(mut reader) => {
                self.each_chunk(leaf, first_row, rows, &mut reader, |row, labels| {
                    (row..).zip(labels).try_for_each(|(row, &label)| {
                        take(row, self.whole(leaf, row, f64::from(label))?)
                    })
                })
            }
            ColumnReader::DoubleColumnReader(mut reader) => {
                self.each_chunk(leaf, first_row, rows, &mut reader, |row, labels| {
                    (row..)
                        .zip(labels)
                        .try_for_each(|(row, &label)| take(row, self.whole(leaf, row, label)?))
                })
            }
            _ => Err(self.wrong_type(leaf)),
        })
    }

    /// A label that is stored as a float.
    fn whole(&self, leaf: &Leaf, row: u64, label: f64) -> Result<i64, DataError> {
        let (path, column) = (self.path.clone(), leaf.name.clone());
        if label.is_nan() {
            return Err(DataError::MissingValue { path, row, column });
        }
        match label.fract() == 0.0 && label.abs() < 1e15 {
            true => Ok(label as i64),
            false => Err(DataError::Labels {
                path,
                problem: format!(
                    "`{column}` is {label} in row {row}: this looks like a measurement"
                ),
                fix: "faculty learns classes: make some of it, as whole numbers or names"
                    .to_owned(),
            }),
        }
    }

    /// Calls `take(row, text)` for each row of a column of UTF-8 texts.
    pub(crate) fn texts(
        &self,
        leaf: &Leaf,
        mut take: impl FnMut(u64, &str) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        self.images(leaf, |first_row, values| {
            (first_row..).zip(values).try_for_each(|(row, value)| match value.as_utf8() {
                Ok(text) => take(row, text),
                Err(source) => Err(self.error(leaf, row, source)),
            })
        })
    }

    /// Calls `take(first row, values)` for chunk after chunk of a column of bytes.
    pub(crate) fn images(
        &self,
        leaf: &Leaf,
        mut take: impl FnMut(u64, &[ByteArray]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        self.each_group(leaf, |first_row, rows, reader| match reader {
            ColumnReader::ByteArrayColumnReader(mut reader) => {
                self.each_chunk(leaf, first_row, rows, &mut reader, &mut take)
            }
            _ => Err(self.wrong_type(leaf)),
        })
    }

    fn each_group(
        &self,
        leaf: &Leaf,
        mut read: impl FnMut(u64, u64, ColumnReader) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let mut first_row = 0;
        for index in 0..self.reader.num_row_groups() {
            let reader = self
                .column_reader(leaf, index)
                .map_err(|source| self.error(leaf, first_row, source))?;
            // Not negative: `open` checked it.
            let rows = self.reader.metadata().row_group(index).num_rows().unsigned_abs();
            read(first_row, rows, reader)?;
            first_row += rows;
        }
        Ok(())
    }

    fn column_reader(&self, leaf: &Leaf, group: usize) -> Result<ColumnReader, ParquetError> {
        let chunk = self.reader.metadata().row_group(group).column(leaf.index);
        if !matches!(chunk.compression(), Compression::ZSTD(_)) {
            return self.reader.get_row_group(group)?.get_column_reader(leaf.index);
        }
        let rows = self.reader.metadata().row_group(group).num_rows();
        let pages = zstd::Pages::new(Arc::clone(&self.pages), chunk, rows)?;
        Ok(get_column_reader(chunk.column_descr_ptr(), Box::new(pages)))
    }

    /// Calls `take(row, value)` for each row of a column of UTF-8 texts or numbers, whose
    /// values are passed on as texts; none where a row has no value.
    pub(crate) fn optional_texts(
        &self,
        leaf: &Leaf,
        mut take: impl FnMut(u64, Option<&str>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        self.each_group(leaf, |first_row, rows, reader| match reader {
            ColumnReader::ByteArrayColumnReader(mut reader) => {
                self.each_optional(leaf, first_row, rows, &mut reader, |row, value| match value {
                    None => take(row, None),
                    Some(bytes) => match bytes.as_utf8() {
                        Ok(text) => take(row, Some(text)),
                        Err(_) => Err(DataError::Texts {
                            path: self.path.clone(),
                            place: Some(("row", row)),
                            problem: format!("column `{}` is not UTF-8", leaf.name),
                            fix: "write its texts as UTF-8; if it holds images, name the column with \
                                  `image_column = …`"
                                .to_owned(),
                        }),
                    },
                })
            }
            ColumnReader::Int32ColumnReader(mut reader) => {
                self.each_optional(leaf, first_row, rows, &mut reader, |row, value| {
                    let whole = |value: &i32| match leaf.is_unsigned {
                        true => value.cast_unsigned().to_string(),
                        false => value.to_string(),
                    };
                    take(row, value.map(whole).as_deref())
                })
            }
            ColumnReader::Int64ColumnReader(mut reader) => {
                self.each_optional(leaf, first_row, rows, &mut reader, |row, value| {
                    let whole = |value: &i64| match leaf.is_unsigned {
                        true => value.cast_unsigned().to_string(),
                        false => value.to_string(),
                    };
                    take(row, value.map(whole).as_deref())
                })
            }
            // NaN is how tables of numbers say that there is none.
            ColumnReader::FloatColumnReader(mut reader) => {
                self.each_optional(leaf, first_row, rows, &mut reader, |row, value| {
                    take(row, value.filter(|it| !it.is_nan()).map(f32::to_string).as_deref())
                })
            }
            ColumnReader::DoubleColumnReader(mut reader) => {
                self.each_optional(leaf, first_row, rows, &mut reader, |row, value| {
                    take(row, value.filter(|it| !it.is_nan()).map(f64::to_string).as_deref())
                })
            }
            ColumnReader::BoolColumnReader(mut reader) => {
                self.each_optional(leaf, first_row, rows, &mut reader, |row, value| {
                    take(row, value.map(bool::to_string).as_deref())
                })
            }
            _ => Err(self.wrong_type(leaf)),
        })
    }

    fn each_optional<T: DataType>(
        &self,
        leaf: &Leaf,
        first_row: u64,
        rows: u64,
        reader: &mut ColumnReaderImpl<T>,
        mut take: impl FnMut(u64, Option<&T::T>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        self.each_levels(leaf, first_row, rows, reader, |row, values, missing| {
            let mut values = values.iter();
            (row..).zip(missing).try_for_each(|(row, missing)| match missing {
                true => take(row, None),
                false => take(row, values.next()),
            })
        })
    }

    /// Calls `take(first row, values)`; a missing value is an error.
    fn each_chunk<T: DataType>(
        &self,
        leaf: &Leaf,
        first_row: u64,
        rows: u64,
        reader: &mut ColumnReaderImpl<T>,
        mut take: impl FnMut(u64, &[T::T]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        self.each_levels(leaf, first_row, rows, reader, |row, values, missing| {
            match missing.iter().position(|&missing| missing) {
                None => take(row, values),
                Some(empty) => Err(DataError::MissingValue {
                    path: self.path.clone(),
                    row: row + empty as u64,
                    column: leaf.name.clone(),
                }),
            }
        })
    }

    /// Calls `take(first row, values that are there, whether each row's is missing)`.
    fn each_levels<T: DataType>(
        &self,
        leaf: &Leaf,
        first_row: u64,
        rows: u64,
        reader: &mut ColumnReaderImpl<T>,
        mut take: impl FnMut(u64, &[T::T], &[bool]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let (mut values, mut definitions) = (Vec::new(), Vec::new());
        let (mut row, end) = (first_row, first_row + rows);
        while row < end {
            values.clear();
            definitions.clear();
            let want = usize::try_from(end - row).unwrap_or(CHUNK).min(CHUNK);
            let optional = leaf.max_definition > 0;
            let levels = optional.then_some(&mut definitions);
            let (got, _, _) = reader
                .read_records(want, levels, None, &mut values)
                .map_err(|source| self.error(leaf, row, source))?;
            if got == 0 || got > want {
                let text =
                    format!("the column has {} rows, the footer says {end}", row + got as u64);
                return Err(self.error(leaf, row, ParquetError::EOF(text)));
            }
            let mut missing: Vec<bool> =
                definitions.iter().map(|&level| level < leaf.max_definition).collect();
            // Values that neither are there nor are said to be missing are missing too.
            missing.resize(got, false);
            let there = missing.iter().filter(|&&missing| !missing).count();
            if values.len() < there {
                missing[values.len()..].fill(true);
            }
            take(row, &values, &missing)?;
            row += got as u64;
        }
        Ok(())
    }

    fn error(&self, leaf: &Leaf, row: u64, source: ParquetError) -> DataError {
        let (path, column) = (self.path.clone(), leaf.name.clone());
        DataError::Parquet { path, column, row, source }
    }

    fn wrong_type(&self, leaf: &Leaf) -> DataError {
        let text = format!("it holds values of type {}", leaf.physical);
        self.error(leaf, 0, ParquetError::General(text))
    }
}

/// Maps (index, bytes) to results, in parallel, in order.
pub(crate) fn in_parallel<R: Send>(
    values: &[ByteArray],
    map: impl Fn(u64, &[u8]) -> R + Sync,
) -> Vec<R> {
    values.par_iter().enumerate().map(|(index, bytes)| map(index as u64, bytes.data())).collect()
}
