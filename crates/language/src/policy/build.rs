//! A policy of its settings.

use super::Policy;
use super::config::{PolicyConfig, PolicyKind};
use super::ground_truth::GroundTruth;
use super::mixed::{Mixed, MixedBy};
use super::on_policy::OnPolicy;
use super::sequence_level::SequenceLevel;
use super::speculative::Speculative;
use crate::error::{LanguageError, Result};

impl PolicyConfig {
    /// The policy.
    ///
    /// # Errors
    /// [`LanguageError::OutOfRange`].
    pub fn build(&self) -> Result<Box<dyn Policy>> {
        let refuse =
            |name, found: String, range| Err(LanguageError::OutOfRange { name, found, range });
        self.student.check()?;
        self.teacher.check()?;
        for (name, value) in [("max-tokens", self.max_tokens), ("batch", self.batch)] {
            if value == 0 {
                return refuse(name, "0".to_owned(), "1 or more");
            }
        }
        let own = self.clone();
        Ok(match self.kind {
            PolicyKind::GroundTruth => Box::new(GroundTruth),
            PolicyKind::SequenceLevel => Box::new(SequenceLevel::new(own)),
            PolicyKind::OnPolicy => Box::new(OnPolicy::new(own)),
            PolicyKind::ImitKd(share) | PolicyKind::Gkd(share) if !(0.0..=1.0).contains(&share) => {
                return refuse("share", share.to_string(), "in 0 to 1");
            }
            PolicyKind::ImitKd(share) => Box::new(Mixed::new(own, share, MixedBy::Texts)),
            PolicyKind::Gkd(share) => Box::new(Mixed::new(own, share, MixedBy::Steps)),
            PolicyKind::Speculative { drafts: 0, .. } => {
                return refuse("drafts", "0".to_owned(), "1 or more");
            }
            PolicyKind::Speculative { drafts, top_k } => {
                Box::new(Speculative::new(own, drafts, top_k))
            }
        })
    }
}
