//! Values of metadata.

/// One value of a GGUF file's metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number that is not negative, of any width.
    Unsigned(u64),
    /// A whole number of a signed type.
    Signed(i64),
    /// A float, of either width.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// UTF-8.
    String(String),
    /// Several of one kind.
    Array(Array),
}

/// An array of metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Numbers or truth values, as they lie in the file.
    Numbers {
        /// Which.
        kind: NumberKind,
        /// Little-endian, behind one another.
        bytes: Vec<u8>,
    },
    /// Strings.
    Strings(Vec<String>),
    /// Arrays.
    Arrays(Vec<Array>),
}

/// A type of numbers in metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberKind {
    /// `u8`
    U8,
    /// `i8`
    I8,
    /// `u16`
    U16,
    /// `i16`
    I16,
    /// `u32`
    U32,
    /// `i32`
    I32,
    /// `f32`
    F32,
    /// A byte that is 0 or 1.
    Bool,
    /// `u64`
    U64,
    /// `i64`
    I64,
    /// `f64`
    F64,
}

/// Numbers in the file.
const KINDS: [(u32, NumberKind, usize); 11] = [
    (0, NumberKind::U8, 1),
    (1, NumberKind::I8, 1),
    (2, NumberKind::U16, 2),
    (3, NumberKind::I16, 2),
    (4, NumberKind::U32, 4),
    (5, NumberKind::I32, 4),
    (6, NumberKind::F32, 4),
    (7, NumberKind::Bool, 1),
    (10, NumberKind::U64, 8),
    (11, NumberKind::I64, 8),
    (12, NumberKind::F64, 8),
];
/// The type numbers of strings and arrays.
pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;

/// The first bytes of a number.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut own = [0; N];
    own.copy_from_slice(&bytes[..N]);
    own
}

impl NumberKind {
    pub(crate) fn of(number: u32) -> Option<Self> {
        KINDS.iter().find(|row| row.0 == number).map(|row| row.1)
    }

    pub(crate) fn number(self) -> u32 {
        KINDS.iter().find(|row| row.1 == self).map_or(0, |row| row.0)
    }

    pub(crate) fn bytes(self) -> usize {
        KINDS.iter().find(|row| row.1 == self).map_or(1, |row| row.2)
    }

    /// The number at the start of `bytes`, of which there are enough.
    pub(crate) fn value(self, bytes: &[u8]) -> Value {
        match self {
            Self::U8 => Value::Unsigned(u64::from(bytes[0])),
            Self::I8 => Value::Signed(i64::from(bytes[0].cast_signed())),
            Self::U16 => Value::Unsigned(u64::from(u16::from_le_bytes(first(bytes)))),
            Self::I16 => Value::Signed(i64::from(i16::from_le_bytes(first(bytes)))),
            Self::U32 => Value::Unsigned(u64::from(u32::from_le_bytes(first(bytes)))),
            Self::I32 => Value::Signed(i64::from(i32::from_le_bytes(first(bytes)))),
            Self::F32 => Value::Float(f64::from(f32::from_le_bytes(first(bytes)))),
            Self::Bool => Value::Bool(bytes[0] != 0),
            Self::U64 => Value::Unsigned(u64::from_le_bytes(first(bytes))),
            Self::I64 => Value::Signed(i64::from_le_bytes(first(bytes))),
            Self::F64 => Value::Float(f64::from_le_bytes(first(bytes))),
        }
    }
}

impl Value {
    /// As a whole number that is not negative.
    #[must_use]
    pub fn unsigned(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(number) => Some(number),
            Self::Signed(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    /// As a float.
    #[must_use]
    pub fn float(&self) -> Option<f64> {
        match *self {
            Self::Float(number) => Some(number),
            Self::Unsigned(number) => Some(number as f64),
            Self::Signed(number) => Some(number as f64),
            _ => None,
        }
    }

    /// As a truth value.
    #[must_use]
    pub fn bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// As a string.
    #[must_use]
    pub fn string(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// As an array.
    #[must_use]
    pub fn array(&self) -> Option<&Array> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// What it is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unsigned(_) | Self::Signed(_) => "a whole number",
            Self::Float(_) => "a float",
            Self::Bool(_) => "a truth value",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
        }
    }
}

impl Array {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers { kind, bytes } => bytes.len() / kind.bytes(),
            Self::Strings(strings) => strings.len(),
            Self::Arrays(arrays) => arrays.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The strings, if these are strings.
    #[must_use]
    pub fn strings(&self) -> Option<&[String]> {
        match self {
            Self::Strings(strings) => Some(strings),
            _ => None,
        }
    }

    /// The numbers and truth values; none if these are something else.
    pub fn numbers(&self) -> impl Iterator<Item = Value> {
        let (kind, bytes) = match self {
            Self::Numbers { kind, bytes } => (*kind, bytes.as_slice()),
            _ => (NumberKind::U8, [].as_slice()),
        };
        bytes.chunks_exact(kind.bytes()).map(move |number| kind.value(number))
    }
}
