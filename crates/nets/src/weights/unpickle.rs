//! The machine that a pickle is a program for: a stack, marks on it, and a memo.

use std::collections::HashMap;

use super::budget::Budget;
use super::pickle::{Call, Fault, Id, Object, Pickle};

/// Runs the program at the start of `bytes`.
pub(super) fn unpickle<'a>(bytes: &'a [u8], budget: &mut Budget) -> Result<Pickle<'a>, Fault> {
    let mut machine = Machine {
        bytes,
        at: 0,
        objects: vec![Object::None, Object::Bool(false), Object::Bool(true), Object::Opaque],
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        budget,
    };
    while machine.step()? {}
    let root = machine.pop()?;
    Ok(Pickle { objects: machine.objects, root, length: machine.at })
}

/// Shared by all objects of their kind, since there is nothing to tell them apart.
const NONE: Id = 0;
const FALSE: Id = 1;
const TRUE: Id = 2;
const OPAQUE: Id = 3;

struct Machine<'a, 'b> {
    bytes: &'a [u8],
    at: usize,
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    budget: &'b mut Budget,
}

type Step<T> = Result<T, Fault>;

fn damaged<T>(what: impl Into<String>) -> Step<T> {
    Err(Fault::Damaged(what.into()))
}

impl<'a> Machine<'a, '_> {
    /// Does one instruction; false after the last one.
    fn step(&mut self) -> Step<bool> {
        let opcode = self.take(1)?[0];
        match opcode {
            b'.' => return Ok(false),
            // PROTO and FRAME say nothing that matters here.
            0x80 => _ = self.take(1)?,
            0x95 => _ = self.take(8)?,
            b'N' => self.push(NONE)?,
            0x88 => self.push(TRUE)?,
            0x89 => self.push(FALSE)?,
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.make(Object::Int(value.into()))?;
            }
            b'K' | b'M' => {
                let value = self.number(if opcode == b'K' { 1 } else { 2 })?;
                self.make(Object::Int(value.into()))?;
            }
            0x8a | 0x8b => {
                let length = self.number(if opcode == 0x8a { 1 } else { 4 })?;
                self.long(length)?;
            }
            b'I' | b'L' => {
                let line = self.line()?;
                match (line, line.trim_end_matches('L').parse()) {
                    // Protocol 0 has no other truth values.
                    ("01", _) => self.push(TRUE)?,
                    ("00", _) => self.push(FALSE)?,
                    (_, Ok(value)) => self.make(Object::Int(value))?,
                    (_, Err(_)) => self.push(OPAQUE)?,
                }
            }
            b'F' => {
                self.line()?;
                self.push(OPAQUE)?;
            }
            b'G' => {
                self.take(8)?;
                self.push(OPAQUE)?;
            }
            b'V' => {
                let text = self.line()?;
                self.make(Object::Text(text))?;
            }
            b'S' => {
                let line = self.line()?;
                let inside = line.get(1..line.len().saturating_sub(1)).unwrap_or_default();
                self.make(Object::Text(inside))?;
            }
            b'X' | b'T' => self.text(4)?,
            0x8c | b'U' => self.text(1)?,
            0x8d => self.text(8)?,
            b'B' => self.skip(4)?,
            b'C' => self.skip(1)?,
            0x8e | 0x96 => self.skip(8)?,
            b')' => self.make(Object::Tuple(Vec::new()))?,
            b']' => self.make(Object::List(Vec::new()))?,
            b'}' => self.make(Object::Dict(Vec::new()))?,
            0x8f => self.push(OPAQUE)?,
            b'(' => {
                self.budget.spend(16)?;
                self.marks.push(self.stack.len());
            }
            b'0' => match self.marks.last() {
                Some(&mark) if mark == self.stack.len() => _ = self.marks.pop(),
                _ => _ = self.pop()?,
            },
            b'1' => _ = self.above_mark()?,
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b't' => {
                let members = self.above_mark()?;
                self.make(Object::Tuple(members))?;
            }
            0x85..=0x87 => {
                let start = self.floor(usize::from(opcode - 0x84))?;
                let members = self.stack.split_off(start);
                self.budget.spend(4 * members.len() as u64)?;
                self.make(Object::Tuple(members))?;
            }
            b'l' => {
                let members = self.above_mark()?;
                self.make(Object::List(members))?;
            }
            b'd' => {
                let entries = pairs(&self.above_mark()?)?;
                self.make(Object::Dict(entries))?;
            }
            b'a' => {
                let member = self.pop()?;
                self.append(&[member])?;
            }
            b'e' => {
                let members = self.above_mark()?;
                self.append(&members)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[(key, value)])?;
            }
            b'u' => {
                let entries = pairs(&self.above_mark()?)?;
                self.set(&entries)?;
            }
            // Members of a set.
            0x90 => {
                self.above_mark()?;
            }
            0x91 => {
                self.above_mark()?;
                self.push(OPAQUE)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.make(Object::Global(module, name))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| match self.objects[id as usize] {
                    Object::Text(text) => Ok(text),
                    _ => damaged("a class whose name is no text"),
                };
                let global = Object::Global(text(module)?, text(name)?);
                self.make(global)?;
            }
            b'R' | 0x81 => {
                let (arguments, of) = (self.pop()?, self.pop()?);
                self.call(of, arguments)?;
            }
            0x92 => {
                let (_named, arguments, of) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(of, arguments)?;
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let arguments = self.above_mark()?;
                self.make(Object::Global(module, name))?;
                let of = self.pop()?;
                self.make(Object::Tuple(arguments))?;
                let arguments = self.pop()?;
                self.call(of, arguments)?;
            }
            b'o' => {
                let mut members = self.above_mark()?;
                if members.is_empty() {
                    return damaged("an instance of no class");
                }
                let of = members.remove(0);
                self.make(Object::Tuple(members))?;
                let arguments = self.pop()?;
                self.call(of, arguments)?;
            }
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                // What dicts and lists carry beside their contents (`_metadata`) is no weight.
                if let Object::Call(call) = &mut self.objects[target as usize] {
                    call.state = Some(state);
                }
            }
            b'p' => {
                let index = self.line_number()?;
                self.remember(index)?;
            }
            b'q' | b'r' => {
                let index = self.number(if opcode == b'q' { 1 } else { 4 })?;
                self.remember(index)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'g' => {
                let index = self.line_number()?;
                self.recall(index)?;
            }
            b'h' | b'j' => {
                let index = self.number(if opcode == b'h' { 1 } else { 4 })?;
                self.recall(index)?;
            }
            b'P' => {
                let name = self.line()?;
                self.make(Object::Text(name))?;
                let name = self.pop()?;
                self.make(Object::Persistent(name))?;
            }
            b'Q' => {
                let name = self.pop()?;
                self.make(Object::Persistent(name))?;
            }
            other => return damaged(format!("opcode {other:#04x} in its pickle")),
        }
        Ok(true)
    }

    fn take(&mut self, length: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or(Fault::CutShort)?;
        let taken = self.bytes.get(self.at..end).ok_or(Fault::CutShort)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many bytes were taken"))
    }

    /// An unsigned number of `width` bytes.
    fn number(&mut self, width: usize) -> Step<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn counted(&mut self, width: usize) -> Step<&'a [u8]> {
        let length = self.number(width)?;
        self.take(usize::try_from(length).map_err(|_| Fault::CutShort)?)
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or(Fault::CutShort)?;
        let line = std::str::from_utf8(self.take(length + 1)?);
        match line {
            Ok(line) => Ok(line.trim_end_matches(['\n', '\r'])),
            Err(_) => damaged("a line of its pickle that is no text"),
        }
    }

    fn line_number(&mut self) -> Step<u64> {
        self.line()?.parse().map_err(|_| Fault::Damaged("a place that is no number".to_owned()))
    }

    /// A signed number of any length, of which Python uses up to 77 bits for its own marks.
    fn long(&mut self, length: u64) -> Step<()> {
        let bytes = self.take(usize::try_from(length).map_err(|_| Fault::CutShort)?)?;
        if bytes.len() > 16 {
            return self.push(OPAQUE);
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut whole = [if negative { 0xff } else { 0 }; 16];
        whole[..bytes.len()].copy_from_slice(bytes);
        self.make(Object::Int(i128::from_le_bytes(whole)))
    }

    fn text(&mut self, width: usize) -> Step<()> {
        match std::str::from_utf8(self.counted(width)?) {
            Ok(text) => self.make(Object::Text(text)),
            // A byte string of Python 2.
            Err(_) => self.push(OPAQUE),
        }
    }

    fn skip(&mut self, width: usize) -> Step<()> {
        self.counted(width)?;
        self.push(OPAQUE)
    }

    fn push(&mut self, id: Id) -> Step<()> {
        // A list that grows has up to twice its length.
        self.budget.spend(2 * size_of::<Id>() as u64)?;
        self.stack.push(id);
        Ok(())
    }

    fn make(&mut self, object: Object<'a>) -> Step<()> {
        self.budget.spend(2 * size_of::<Object<'_>>() as u64)?;
        let id = Id::try_from(self.objects.len())
            .map_err(|_| Fault::Damaged("more objects than any real file".to_owned()))?;
        self.objects.push(object);
        self.push(id)
    }

    fn floor(&self, taken: usize) -> Step<usize> {
        let lowest = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(taken) {
            Some(floor) if floor >= lowest => Ok(floor),
            _ => damaged("an instruction of its pickle without its operands"),
        }
    }

    fn pop(&mut self) -> Step<Id> {
        let floor = self.floor(1)?;
        let top = self.stack[floor];
        self.stack.truncate(floor);
        Ok(top)
    }

    fn top(&self) -> Step<Id> {
        Ok(self.stack[self.floor(1)?])
    }

    fn above_mark(&mut self) -> Step<Vec<Id>> {
        let Some(mark) = self.marks.pop() else {
            return damaged("an instruction of its pickle without its mark");
        };
        let members = self.stack.split_off(mark);
        self.budget.spend((size_of::<Id>() * members.len()) as u64)?;
        Ok(members)
    }

    fn append(&mut self, members: &[Id]) -> Step<()> {
        self.budget.spend((2 * size_of::<Id>() * members.len()) as u64)?;
        let target = self.top()?;
        match &mut self.objects[target as usize] {
            Object::List(list) => list.extend(members),
            // A class of its own that is a list: no state dict.
            Object::Call(_) | Object::Opaque => {}
            _ => return damaged("members of what is no list"),
        }
        Ok(())
    }

    fn set(&mut self, entries: &[(Id, Id)]) -> Step<()> {
        self.budget.spend((2 * size_of::<(Id, Id)>() * entries.len()) as u64)?;
        let target = self.top()?;
        match &mut self.objects[target as usize] {
            Object::Dict(dict) => dict.extend(entries),
            Object::Call(call) => call.entries.extend(entries),
            _ => return damaged("entries of what is no dict"),
        }
        Ok(())
    }

    /// Notes a call; the containers of Python's own `collections` become what they are.
    fn call(&mut self, of: Id, arguments: Id) -> Step<()> {
        let Object::Tuple(given) = &self.objects[arguments as usize] else {
            return damaged("a call whose arguments are no tuple");
        };
        let first = given.first().map(|&id| &self.objects[id as usize]);
        let object = match (&self.objects[of as usize], first) {
            (
                Object::Global("collections", "OrderedDict" | "Counter"),
                Some(Object::Dict(entries)),
            ) => Object::Dict(entries.clone()),
            // `OrderedDict([(key, value), …])` of Python 2.
            (Object::Global("collections", "OrderedDict"), Some(Object::List(members))) => {
                let entry = |&id: &Id| match &self.objects[id as usize] {
                    Object::List(pair) | Object::Tuple(pair) if pair.len() == 2 => {
                        Ok((pair[0], pair[1]))
                    }
                    _ => damaged("an entry of a dict that is no pair"),
                };
                Object::Dict(members.iter().map(entry).collect::<Step<_>>()?)
            }
            (Object::Global("collections", "OrderedDict" | "Counter" | "defaultdict"), _) => {
                Object::Dict(Vec::new())
            }
            (
                Object::Global("collections", "deque"),
                Some(Object::List(members) | Object::Tuple(members)),
            ) => Object::List(members.clone()),
            (Object::Global("collections", "deque"), _) => Object::List(Vec::new()),
            _ => {
                let size = size_of::<Call>() as u64;
                self.budget.spend(size)?;
                Object::Call(Call { of, arguments, state: None, entries: Vec::new() })
            }
        };
        let copied = match &object {
            Object::Dict(entries) => entries.len(),
            Object::List(members) => members.len(),
            _ => 0,
        };
        self.budget.spend((size_of::<(Id, Id)>() * copied) as u64)?;
        self.make(object)
    }

    fn remember(&mut self, index: u64) -> Step<()> {
        // An entry of a hash map, which has up to twice as many places as entries.
        self.budget.spend(32)?;
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u64) -> Step<()> {
        match self.memo.get(&index) {
            Some(&id) => self.push(id),
            None => damaged("a reference of its pickle to nothing"),
        }
    }
}

fn pairs(members: &[Id]) -> Step<Vec<(Id, Id)>> {
    match members.as_chunks::<2>() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => damaged("a key of a dict without its value"),
    }
}
