//! Pickles as plain data: what Python would call is only noted down, nothing is ever executed.
//!
//! The opcodes of protocols 0 to 5, as CPython's `pickletools` documents them, without those for
//! buffers outside the pickle and for extension registries, which `torch.save` does not use.

use crate::error::Error;

/// Why a pickle cannot be read.
pub(super) enum Fault {
    /// Its bytes end before it does.
    CutShort,
    /// It is none, or one that Python would refuse.
    Damaged(String),
    /// Another one: it takes more memory than the file justifies, or is no file of weights.
    Other(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// An object of a pickle: its place in [`Pickle::objects`]. Objects refer to each other, also in
/// circles.
pub(super) type Id = u32;

/// What an object is, as far as weights can depend on it.
#[derive(Debug)]
pub(super) enum Object<'a> {
    None,
    Bool(bool),
    Int(i128),
    Text(&'a str),
    /// A float, bytes, a set: nothing that says where weights are.
    Opaque,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function, by module and name.
    Global(&'a str, &'a str),
    Call(Call),
    /// What lies outside the pickle: a storage.
    Persistent(Id),
}

/// A function's value or an instance of a class.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) of: Id,
    /// A tuple.
    pub(super) arguments: Id,
    /// What the instance's attributes are set to.
    pub(super) state: Option<Id>,
    /// Of an instance that is a dict too.
    pub(super) entries: Vec<(Id, Id)>,
}

/// A pickle that was read whole.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) objects: Vec<Object<'a>>,
    pub(super) root: Id,
    /// Bytes up to and with its end.
    pub(super) length: usize,
}

impl<'a> Pickle<'a> {
    pub(super) fn get(&self, id: Id) -> &Object<'a> {
        &self.objects[id as usize]
    }

    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number, also one that is written as text.
    pub(super) fn int(&self, id: Id) -> Option<i128> {
        match self.get(id) {
            Object::Int(value) => Some(*value),
            Object::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn count(&self, id: Id) -> Option<u64> {
        match self.get(id) {
            Object::Int(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    pub(super) fn truth(&self, id: Id) -> Option<bool> {
        match self.get(id) {
            Object::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The members of a list or tuple, or of what is made of one (`torch.Size`).
    pub(super) fn members(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Object::Tuple(members) | Object::List(members) => Some(members),
            Object::Call(call) => match self.get(call.arguments) {
                Object::Tuple(arguments) => match self.get(*arguments.first()?) {
                    Object::Tuple(members) | Object::List(members) => Some(members),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }
}
