//! Which columns of a table are the texts and which the label.
//!
//! Names are compared without regard to case, and with `_` for blanks and hyphens.

use std::path::Path;

use crate::{DataError, ReadOptions};

/// Pairs of texts that are judged as one, before single texts.
const PAIRS: [[&str; 2]; 11] = [
    ["sentence1", "sentence2"],
    ["sentence_1", "sentence_2"],
    ["sentence_a", "sentence_b"],
    ["text1", "text2"],
    ["text_1", "text_2"],
    ["text_a", "text_b"],
    ["question1", "question2"],
    ["premise", "hypothesis"],
    ["question", "sentence"],
    ["question", "passage"],
    ["query", "passage"],
];
/// Where one of these is, it is the text, whatever else there is.
const FIRST: [&str; 2] = ["text", "sentence"];
/// Other names of texts; where there are several, somebody must choose.
const TEXTS: [&str; 22] = [
    "abstract",
    "article",
    "body",
    "comment",
    "comment_text",
    "content",
    "description",
    "document",
    "email",
    "headline",
    "message",
    "passage",
    "phrase",
    "post",
    "question",
    "query",
    "review",
    "review_body",
    "review_text",
    "title",
    "tweet",
    "utterance",
];
/// Where one of these is, it is the label.
const FIRST_LABELS: [&str; 2] = ["label", "labels"];
const LABELS: [&str; 14] = [
    "category",
    "class",
    "class_index",
    "class_name",
    "emotion",
    "intent",
    "label_id",
    "label_text",
    "polarity",
    "rating",
    "sentiment",
    "target",
    "topic",
    "y",
];
const SPLITS: [&str; 4] = ["split", "set", "subset", "partition"];

/// The columns of a table that matter, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) first: usize,
    pub(super) second: Option<usize>,
    pub(super) label: Option<usize>,
    pub(super) split: Option<usize>,
}

/// Whether a table with these columns is one of texts.
pub(crate) fn are_texts(header: &[String]) -> bool {
    let has = |name: &str| place(header, name).is_some();
    PAIRS.iter().any(|[first, second]| has(first) && has(second))
        || FIRST.iter().chain(&TEXTS).any(|name| has(name))
}

/// Whether a column of bytes with this name is of texts, never of images.
pub(super) fn is_text_for_certain(name: &str) -> bool {
    FIRST.iter().chain(PAIRS.as_flattened()).any(|known| plain(name) == *known)
}

/// Whether a column is called like one of labels.
pub(super) fn is_called_label(name: &str) -> bool {
    FIRST_LABELS.iter().chain(&LABELS).any(|known| plain(name) == *known)
}

fn place(header: &[String], name: &str) -> Option<usize> {
    let exactly = || header.iter().position(|known| known == name);
    exactly().or_else(|| header.iter().position(|known| plain(known) == plain(name)))
}

fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

/// Refuses a column whose name another one has too; one that the caller names may be alike but for
/// case.
fn check_once(path: &Path, header: &[String], column: usize, given: bool) -> Result<(), DataError> {
    let name = &header[column];
    let alike = |other: &String| if given { other == name } else { plain(other) == plain(name) };
    if header.iter().filter(|other| alike(other)).count() == 1 {
        return Ok(());
    }
    Err(DataError::Texts {
        path: path.to_owned(),
        place: None,
        problem: format!("several columns are called `{name}`"),
        fix: "give each column a name of its own".to_owned(),
    })
}

impl Columns {
    /// Chooses among the columns of the table in `path`, by the options or by their names.
    ///
    /// # Errors
    /// [`DataError::Column`] if there is none, or several could be it; [`DataError::Texts`] if two have
    /// the same name.
    pub(super) fn choose(
        path: &Path,
        header: &[String],
        options: &ReadOptions,
    ) -> Result<Self, DataError> {
        let refuse = |problem: String, key| DataError::Column {
            path: path.to_owned(),
            problem,
            candidates: match header.len() {
                0 => "no columns".to_owned(),
                _ => format!("the columns `{}`", header.join("`, `")),
            },
            key,
        };
        let given = |name: &Option<String>, key| match name {
            None => Ok(None),
            Some(name) => match place(header, name) {
                Some(place) => Ok(Some(place)),
                None => Err(refuse(format!("no column `{name}`"), key)),
            },
        };
        let first = given(&options.text_column, "text_column")?;
        let second = given(&options.text_pair_column, "text_pair_column")?;
        let label = match given(&options.label_column, "label_column")? {
            Some(label) => Some(label),
            None => only(header, &FIRST_LABELS, &LABELS)
                .map_err(|several| refuse(ambiguous("the label", &several), "label_column"))?,
        };
        let pair = PAIRS
            .iter()
            .find_map(|[first, second]| Some((place(header, first)?, place(header, second)?)));
        let (first, second) = match (first, second, pair) {
            (Some(first), second, _) => (first, second),
            (None, None, Some((first, second))) => (first, Some(second)),
            (None, second, _) => {
                let found = only(header, &FIRST, &TEXTS)
                    .map_err(|several| refuse(ambiguous("the text", &several), "text_column"))?;
                let none = || refuse("no column is called like one of texts".into(), "text_column");
                (found.ok_or_else(none)?, second)
            }
        };
        let split = SPLITS.iter().find_map(|name| place(header, name));
        // A column has one meaning.
        if second == Some(first) || label == Some(first) || label.is_some() && label == second {
            let problem = format!("column `{}` is to be two things at once", header[first]);
            return Err(refuse(problem, "text_column"));
        }
        for (column, given) in [
            (Some(first), options.text_column.is_some()),
            (second, options.text_pair_column.is_some()),
            (label, options.label_column.is_some()),
            (split, false),
        ] {
            column.map_or(Ok(()), |column| check_once(path, header, column, given))?;
        }
        Ok(Self { first, second, label, split })
    }
}

/// The column with one of the first names, else the only one with one of the others.
fn only(header: &[String], first: &[&str], others: &[&str]) -> Result<Option<usize>, Vec<String>> {
    if let Some(found) = first.iter().find_map(|name| place(header, name)) {
        return Ok(Some(found));
    }
    let mut found: Vec<usize> = others.iter().filter_map(|name| place(header, name)).collect();
    found.sort_unstable();
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        several => Err(several.iter().map(|&at| header[at].clone()).collect()),
    }
}

fn ambiguous(what: &str, names: &[String]) -> String {
    format!("several columns could be {what}: `{}`", names.join("`, `"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(header: &str, options: &ReadOptions) -> Result<Columns, DataError> {
        let header: Vec<String> = header.split(',').map(str::to_owned).collect();
        Columns::choose(Path::new("a.csv"), &header, options)
    }

    fn columns(first: usize, second: Option<usize>, label: Option<usize>) -> Columns {
        Columns { first, second, label, split: None }
    }

    #[test]
    fn columns_are_known_by_their_names() {
        let auto = ReadOptions::default();
        for (header, expected) in [
            ("text,label", columns(0, None, Some(1))),
            ("id,Sentiment,Review", columns(2, None, Some(1))),
            ("idx,sentence1,sentence2,label", columns(1, Some(2), Some(3))),
            ("premise,hypothesis,label", columns(0, Some(1), Some(2))),
            ("label,title,text,label_text", columns(2, None, Some(0))),
            ("Class Index,Description", columns(1, None, Some(0))),
            ("question,intent", columns(0, None, Some(1))),
            ("text", columns(0, None, None)),
        ] {
            assert_eq!(choose(header, &auto).unwrap(), expected, "{header}");
        }
        let split = choose("split,text,class", &auto).unwrap().split;
        assert_eq!(split, Some(0));
    }

    #[test]
    fn the_options_name_columns_and_several_without_them_are_refused() {
        let auto = ReadOptions::default();
        let problem = |error: DataError| match error {
            DataError::Column { problem, key, .. } => (problem, key),
            other => panic!("{other}"),
        };
        let (text, key) = problem(choose("title,description,label", &auto).unwrap_err());
        assert_eq!((key, text.contains("`title`, `description`")), ("text_column", true));
        let (text, key) = problem(choose("text,topic,sentiment", &auto).unwrap_err());
        assert_eq!((key, text.contains("`topic`, `sentiment`")), ("label_column", true));
        let (text, key) = problem(choose("a,b,label", &auto).unwrap_err());
        assert_eq!((key, text.starts_with("no column")), ("text_column", true));
        let named = ReadOptions {
            text_column: Some("title".to_owned()),
            text_pair_column: Some("Description".to_owned()),
            label_column: Some("topic".to_owned()),
            ..ReadOptions::default()
        };
        let found = choose("title,description,topic,label", &named).unwrap();
        assert_eq!(found, columns(0, Some(1), Some(2)));
        let (_, key) = problem(choose("title,topic", &named).unwrap_err());
        assert_eq!(key, "text_pair_column");
        for header in
            ["text,label,label", "text,text,label", "text,Label,label", "text,label,split,split"]
        {
            let error = choose(header, &auto).unwrap_err().to_string();
            assert!(error.contains("several columns are called"), "{header}: {error}");
        }
        let exact =
            ReadOptions { label_column: Some("label".to_owned()), ..ReadOptions::default() };
        assert_eq!(choose("text,Label,label", &exact).unwrap().label, Some(2));
        assert_eq!(choose("text,label,x,x", &auto).unwrap(), columns(0, None, Some(1)));
        let twice = ReadOptions { label_column: Some("text".to_owned()), ..ReadOptions::default() };
        assert!(problem(choose("text,label", &twice).unwrap_err()).0.contains("two things"));
    }

    #[test]
    fn a_list_of_images_is_none_of_texts() {
        let header = |names: &str| names.split(',').map(str::to_owned).collect::<Vec<_>>();
        for images in ["path,label", "id,label", "image,class,split", "file_name,x,y"] {
            assert!(!are_texts(&header(images)), "{images}");
        }
        for texts in ["text,label", "id,Sentence,y", "premise,hypothesis", "Review-Body,stars"] {
            assert!(are_texts(&header(texts)), "{texts}");
        }
    }
}
