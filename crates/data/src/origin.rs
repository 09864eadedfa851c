//! Where samples come from: a file of the data set, and the row or line in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file, and the place in it if it holds several samples: `row` or `line`, and its number.
type Origin = (Arc<Path>, Option<(&'static str, u64)>);

/// The origins of the samples of a set; none where the reader tells none.
///
/// Two sets of the same samples are equal, wherever they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<Origin>);

impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origins {}

impl Origins {
    pub(crate) fn push(&mut self, file: &Path, place: Option<(&'static str, u64)>) {
        // Rows of one file share its path.
        let file = match self.0.last() {
            Some((last, _)) if **last == *file => Arc::clone(last),
            _ => file.into(),
        };
        self.0.push((file, place));
    }

    /// Paths without what is before all of them, such as `/home/me/photos/train`.
    pub(crate) fn shortened(mut self) -> Self {
        let mut folders = self.0.iter().map(|(file, _)| file.parent().unwrap_or(Path::new("")));
        let Some(mut common) = folders.next().map(PathBuf::from) else { return self };
        for folder in folders {
            while !folder.starts_with(&common) {
                common.pop();
            }
        }
        let mut last: Option<(Arc<Path>, Arc<Path>)> = None;
        for (file, _) in &mut self.0 {
            let short = match &last {
                Some((long, short)) if long == file => Arc::clone(short),
                _ => file.strip_prefix(&common).unwrap_or(file).into(),
            };
            last = Some((std::mem::replace(file, Arc::clone(&short)), short));
        }
        self
    }

    pub(crate) fn select(&self, indices: &[usize]) -> Self {
        Self(indices.iter().filter_map(|&index| self.0.get(index).cloned()).collect())
    }

    /// These, then others; none where one side has none, since places must fit.
    pub(crate) fn followed_by(&self, other: &Self) -> Self {
        match (self.0.is_empty(), other.0.is_empty()) {
            (true, _) => Self::default(),
            (_, true) => self.clone(),
            _ => Self([self.0.as_slice(), &other.0].concat()),
        }
    }

    /// `cat/17.png`, or `train-00000-of-00001.parquet, row 17`.
    pub(crate) fn shown(&self, index: usize) -> Option<String> {
        let (file, place) = self.0.get(index)?;
        Some(match place {
            None => file.display().to_string(),
            Some((what, number)) => format!("{}, {what} {number}", file.display()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_common_to_all_is_left_out() {
        let mut origins = Origins::default();
        for (file, place) in [
            ("/home/me/photos/train/cat/1.png", None),
            ("/home/me/photos/train/cat/2.png", None),
            ("/home/me/photos/train/dog/1.png", Some(("row", 7))),
            ("/home/me/photos/train/dog/1.png", Some(("row", 9))),
        ] {
            origins.push(Path::new(file), place);
        }
        let short = origins.shortened();
        let shown: Vec<String> = (0..5).filter_map(|index| short.shown(index)).collect();
        assert_eq!(shown, ["cat/1.png", "cat/2.png", "dog/1.png, row 7", "dog/1.png, row 9"]);
        assert_eq!(short.select(&[3]).shown(0).unwrap(), "dog/1.png, row 9");
        let mut one = Origins::default();
        one.push(Path::new("a/train.csv"), Some(("line", 2)));
        assert_eq!(one.shortened().shown(0).unwrap(), "train.csv, line 2");
        assert_eq!(Origins::default().shortened().shown(0), None);
    }
}
