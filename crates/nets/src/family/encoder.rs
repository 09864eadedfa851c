//! Text encoders: BERT and its relatives under the names of Hugging Face's files, and a bag of word
//! vectors as the smallest of them.
//!
//! ```text
//! h0 = norm(word + position + segment)      a = norm(h + dropout(out(attention(h))))      h' = norm(a + dropout(down(gelu(up(a)))))
//! logits = classifier(dropout(pool(h_L)))
//! ```
//! Devlin et al., 2019 (arXiv:1810.04805); Liu et al., 2019 (RoBERTa, arXiv:1907.11692); Conneau et
//! al., 2020 (XLM-R, arXiv:1911.02116); Sanh et al., 2019 (DistilBERT, arXiv:1910.01108); Song et al.,
//! 2020 (MPNet, arXiv:2004.09297); Clark et al., 2020 (ELECTRA, arXiv:2003.10555).

mod build;
mod config;
mod folder;
mod load;

pub use self::config::{EncoderConfig, EncoderFamily, Pooling};
pub use self::folder::EncoderFolder;
pub use self::load::Loaded;
