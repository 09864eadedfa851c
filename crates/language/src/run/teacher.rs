//! A frozen teacher of a run.

use faculty_inputs::Tokens;
use faculty_nets::{Decoder, Network};
use faculty_records::language_run::LanguageModelEntry;
use xxhash_rust::xxh3::Xxh3;

use crate::run_error::RunError;

/// A teacher that was opened and fits the student.
#[derive(Debug)]
pub(super) struct OpenTeacher {
    pub(super) decoder: Decoder,
    /// `[vocabulary, width]`
    pub(super) head: Vec<f32>,
    pub(super) entry: LanguageModelEntry,
    /// Last hidden values of the step's tokens.
    pub(super) hidden: Vec<f32>,
}

impl OpenTeacher {
    pub(super) fn new(name: &str, network: &Network) -> Self {
        let head = network.graph().token_head().expect("a decoder has a head");
        Self {
            decoder: Decoder::new(network),
            head: network.parameters()[head.index()].clone(),
            entry: entry(name, network),
            hidden: Vec::new(),
        }
    }

    /// Reads the texts of a step.
    ///
    /// # Errors
    /// [`RunError::TeacherBroke`] when a value is NaN or infinite.
    pub(super) fn read(&mut self, tokens: &Tokens, step: u64) -> Result<(), RunError> {
        self.hidden.clear();
        self.hidden.extend_from_slice(self.decoder.hidden(tokens));
        match self.hidden.iter().all(|value| value.is_finite()) {
            true => Ok(()),
            false => Err(RunError::TeacherBroke {
                teacher: self.entry.name.clone(),
                place: format!("step {}", step + 1),
            }),
        }
    }
}

/// What the card says of a network before it is measured.
pub(super) fn entry(name: &str, network: &Network) -> LanguageModelEntry {
    let config = network.graph().decoder().expect("the network is a decoder");
    LanguageModelEntry {
        name: name.to_owned(),
        parameters: network.parameters().iter().map(|own| own.len() as u64).sum(),
        layers: config.layers,
        width: config.width,
        hash: hash(network),
        validation: None,
        test: None,
    }
}

/// Over all parameters with their settings: the same wherever the weights lie, and in whatever form.
fn hash(network: &Network) -> String {
    let mut hash = Xxh3::new();
    hash.update(network.graph().decoder().expect("a decoder").to_json().as_bytes());
    let mut bytes = Vec::new();
    for parameter in network.parameters() {
        for chunk in parameter.chunks(1 << 16) {
            bytes.clear();
            bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
            hash.update(&bytes);
        }
    }
    format!("{:016x}", hash.digest())
}
