//! What makes tokens of texts: the tokenizers of Hugging Face, through their crate `tokenizers`.
//!
//! ```text
//! tokenizer.json                                    everything, as it stands there
//! vocab.txt, tokenizer_config.json or config.json   BERT's WordPiece, see `word_piece`
//! a folder with one of them                         `tokenizer.json` before `vocab.txt`
//! ```
//!
//! How many tokens a text may have is the caller's to say, and nothing is padded: what a file says of
//! both is not used. Of pairs the longer text is cut first, as `longest_first` does there. (It is done
//! here: version 0.23.2 of the crate tokenizes only as much of each text as could be needed, and then
//! takes the wrong one for the longer.) Special tokens and segments are as the file's post-processor
//! says; special tokens written out in a text (`[SEP]`) count as such, as they do there.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use faculty_inputs::{Text, Tokenize, Tokens};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use tokenizers::{Encoding, PostProcessor as _, TruncationDirection};

use crate::DataError;
use crate::error::panic_message;
use crate::files::read_regular;

mod word_piece;

/// Files of a tokenizer, in the order in which they are looked for.
const FILES: [&str; 2] = ["tokenizer.json", "vocab.txt"];
/// The largest file of a tokenizer; the largest real ones have some 30 MB.
const MOST_BYTES: u64 = 256 << 20;
/// The most ids; the largest real vocabularies have a quarter of a million.
const MOST_IDS: usize = 1 << 22;
/// No network reads longer texts.
const MOST_TOKENS: usize = 1 << 20;

/// A tokenizer that cuts texts to a given number of tokens.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_tokens: usize,
    vocabulary: usize,
    identity: String,
}

impl Tokenizer {
    /// Opens the tokenizer in the file or folder `path`. Texts are cut to `max_tokens`, with those
    /// that mark start and end.
    ///
    /// # Errors
    /// [`DataError::MissingFile`] and what else there is to say of a file;
    /// [`DataError::Tokenizer`] if it is no tokenizer, uses what is not known here, or cannot encode
    /// every text; [`DataError::OutOfRange`] if `max_tokens` leaves no room for a word.
    pub fn open(path: &Path, max_tokens: usize) -> Result<Self, DataError> {
        let file = locate(path)?;
        let bytes = read_regular(&file, MOST_BYTES)?;
        let mut hash = Sha256::new();
        hash.update(b"faculty tokenizer 1\n");
        let inner = guarded(&file, || match file.extension().is_some_and(|end| end == "txt") {
            true => word_piece::from_vocabulary(&file, &bytes, &mut hash),
            false => {
                hash.update(&bytes);
                tokenizers::Tokenizer::from_bytes(&bytes).map_err(|source| DataError::Tokenizer {
                    path: file.clone(),
                    problem: format!("it is no `tokenizer.json` that can be used: {source}"),
                    fix: "save it again with a current version of `tokenizers` or `transformers`, \
                          `tokenizer.save_pretrained(FOLDER)`"
                        .to_owned(),
                })
            }
        })?;
        hash.update((max_tokens as u64).to_le_bytes());
        let identity = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        guarded(&file, || Self::checked(inner, &file, max_tokens, identity))
    }

    /// Sets what is ours to set, and tries it out.
    fn checked(
        mut inner: tokenizers::Tokenizer,
        file: &Path,
        max_tokens: usize,
        identity: String,
    ) -> Result<Self, DataError> {
        let unusable = |problem: String, fix: &str| DataError::Tokenizer {
            path: file.to_owned(),
            problem,
            fix: fix.to_owned(),
        };
        let special = inner.get_post_processor().map_or(0, |own| own.added_tokens(true));
        let least = special + 2;
        if !(least..=MOST_TOKENS).contains(&max_tokens) {
            return Err(DataError::OutOfRange {
                name: "the number of tokens of a text",
                found: max_tokens.to_string(),
                range: format!("between {least} ({special} mark a pair) and {MOST_TOKENS}"),
            });
        }
        inner
            .with_padding(None)
            .with_truncation(None)
            .map_err(|source| unusable(source.to_string(), "report it: this is not expected"))?;
        let highest = inner.get_vocab(true).into_values().max();
        let vocabulary = highest.map_or(0, |id| id as usize + 1);
        if !(1..=MOST_IDS).contains(&vocabulary) {
            let problem = format!("its ids reach up to {vocabulary}");
            return Err(unusable(problem, "use a vocabulary of 1 to 4,194,304 tokens"));
        }
        let tokenizer = Self { inner, max_tokens, vocabulary, identity };
        // Letters of no language: a vocabulary without a token for what is unknown fails here, not
        // in the middle of a run.
        let odd =
            Text { first: "a \u{10fffd}\u{e000}".into(), second: Some("\u{fdd0} 漢".into()) };
        for text in [Text::single(odd.first.clone()), odd] {
            if let Err(problem) = tokenizer.encode(&text) {
                let fix = "its vocabulary needs the token that stands for unknown words";
                return Err(unusable(format!("it cannot encode every text: {problem}"), fix));
            }
        }
        Ok(tokenizer)
    }

    /// How many tokens a text may have.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The tokenizer as a `tokenizer.json`, which [`Tokenizer::open`] reads.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when it cannot be written in this form; `path` names it there.
    pub fn to_json(&self, path: &Path) -> Result<String, DataError> {
        self.inner.to_string(true).map_err(|source| DataError::Tokenizer {
            path: path.to_owned(),
            problem: format!("it cannot be written as `tokenizer.json`: {source}"),
            fix: "give a `tokenizer.json` that `tokenizers` has saved".to_owned(),
        })
    }

    /// The id of a token, such as `[MASK]`.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// How many of some texts are cut.
    #[must_use]
    pub fn count_cut(&self, texts: &[Text]) -> usize {
        let is_cut = |text: &&Text| self.encode(text).is_ok_and(|(_, is_cut)| is_cut);
        texts.par_iter().filter(is_cut).count()
    }

    /// The tokens of a text or pair, and whether it was cut.
    fn encode(&self, text: &Text) -> Result<(Encoding, bool), tokenizers::Error> {
        let special =
            |is_pair| self.inner.get_post_processor().map_or(0, |own| own.added_tokens(is_pair));
        let mut first = self.inner.encode_fast(&*text.first, false)?;
        let Some(second) = &text.second else {
            let is_cut = cut(&mut first, self.max_tokens - special(false));
            return Ok((self.inner.post_process(first, None, true)?, is_cut));
        };
        let mut second = self.inner.encode_fast(&**second, false)?;
        second.set_type_ids(vec![1; second.len()]);
        let room = self.max_tokens - special(true);
        let [most_first, most_second] = longest_first([first.len(), second.len()], room);
        let is_cut = cut(&mut first, most_first) | cut(&mut second, most_second);
        Ok((self.inner.post_process(first, Some(second), true)?, is_cut))
    }
}

/// Keeps the first `most` tokens; says whether there were more.
fn cut(encoding: &mut Encoding, most: usize) -> bool {
    if encoding.len() <= most {
        return false;
    }
    encoding.truncate(most, 0, TruncationDirection::Right);
    // What was cut off is kept there otherwise, and processed with the rest.
    drop(encoding.take_overflowing());
    true
}

/// How many tokens of a pair stay where there is room for `room`: the longer text loses until it is no
/// longer than the other, then both do. An odd one stays with the longer, of equals with the second.
fn longest_first([first, second]: [usize; 2], room: usize) -> [usize; 2] {
    if first + second <= room {
        return [first, second];
    }
    let shorter = first.min(second).min(room / 2);
    if first > second { [room - shorter, shorter] } else { [shorter, room - shorter] }
}

impl Tokenize for Tokenizer {
    /// # Panics
    /// If the tokenizer fails on the text, which [`Tokenizer::open`] tried on the hardest ones.
    fn tokenize(&self, text: &Text, into: &mut Tokens) {
        let encoding = match self.encode(text) {
            Ok((encoding, _)) => encoding,
            Err(problem) => panic!("the tokenizer cannot encode a text: {problem}"),
        };
        // Nobody has more than two segments.
        let segments: Vec<u8> =
            encoding.get_type_ids().iter().map(|&id| u8::try_from(id).unwrap_or(u8::MAX)).collect();
        into.push(encoding.get_ids(), &segments);
    }

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn identity(&self) -> &str {
        &self.identity
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the whole vocabulary.
        let Self { max_tokens, vocabulary, identity, .. } = self;
        write!(f, "Tokenizer({vocabulary} ids, at most {max_tokens} tokens, {identity})")
    }
}

/// The file of the tokenizer in a file or folder.
fn locate(path: &Path) -> Result<PathBuf, DataError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let mut files = FILES.iter().map(|name| path.join(name));
    files.find(|file| file.is_file()).ok_or_else(|| DataError::Tokenizer {
        path: path.to_owned(),
        problem: "there is neither `tokenizer.json` nor `vocab.txt`".to_owned(),
        fix: "give the folder, or the file, of a tokenizer as `save_pretrained` writes it"
            .to_owned(),
    })
}

/// The crate is not ours; should it panic on a strange file, that is still an error of the file.
fn guarded<R>(path: &Path, work: impl FnOnce() -> Result<R, DataError>) -> Result<R, DataError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let message = panic_message(payload.as_ref());
        Err(DataError::DecoderPanicked { path: path.to_owned(), row: None, message })
    })
}

#[cfg(test)]
mod tests;
