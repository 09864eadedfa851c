//! What a cache keeps of a teacher, and the version of its layout.

use faculty_nets::Tap;

/// Version of the folder's layout.
pub(super) const FORMAT: u32 = 2;

/// The version before, whose records do not say of what they are: the manifest alone does.
pub(super) const WITHOUT_ORIGIN: u32 = 1;

/// One set of shards of a teacher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Logits of plain images.
    Plain,
    /// Logits of every view.
    Logits,
    /// Values of every view at a tap.
    Tap(Tap),
}

impl Kind {
    /// Name of its folder.
    pub(super) fn folder(self) -> String {
        match self {
            Self::Plain => "plain".to_owned(),
            Self::Logits => "logits".to_owned(),
            Self::Tap(tap) => tap.to_string(),
        }
    }
}
