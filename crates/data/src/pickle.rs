//! Python pickles as far as CIFAR's files need them: plain values and arrays of bytes.
//!
//! Nothing is imported and nothing is called: what a pickle asks to be made stays a description of
//! that. Bytes are ranges of the file and values are counted, so memory is bounded by its length.

use std::ops::Range;

/// The most values: CIFAR's files have three for each of 50,000 images.
const MOST_VALUES: usize = 1 << 22;

/// A value by its number.
pub(crate) type Id = usize;

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Mark,
    Nothing,
    Bool(bool),
    Int(i64),
    Float,
    /// Text or bytes: Python 2 made no difference.
    Bytes(Range<usize>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global,
    /// What calling `arguments` would give, and the state that it is then given.
    Object {
        arguments: Id,
        state: Option<Id>,
    },
}

/// A pickle that was read.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    bytes: &'a [u8],
    values: Vec<Value>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle of protocols 2 to 5.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut machine =
            Machine { bytes, at: 0, values: Vec::new(), stack: Vec::new(), memo: Vec::new() };
        let root = machine.run()?;
        Ok(Self { bytes, values: machine.values, root })
    }

    /// The value under a key of the dictionary that the pickle is.
    pub(crate) fn get(&self, key: &str) -> Option<Id> {
        let Value::Dict(items) = &self.values[self.root] else { return None };
        let found = items.iter().find(|(name, _)| self.bytes(*name) == Some(key.as_bytes()));
        found.map(|&(_, value)| value)
    }

    fn bytes(&self, id: Id) -> Option<&'a [u8]> {
        match &self.values[id] {
            Value::Bytes(range) => self.bytes.get(range.clone()),
            _ => None,
        }
    }

    fn int(&self, id: Id) -> Option<i64> {
        match self.values[id] {
            Value::Int(number) => Some(number),
            _ => None,
        }
    }

    /// A list of whole numbers.
    pub(crate) fn ints(&self, id: Id) -> Option<Vec<i64>> {
        match &self.values[id] {
            Value::List(items) | Value::Tuple(items) => {
                items.iter().map(|&item| self.int(item)).collect()
            }
            _ => None,
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&self, id: Id) -> Option<Vec<String>> {
        let Value::List(items) = &self.values[id] else { return None };
        let text = |&item: &Id| Some(std::str::from_utf8(self.bytes(item)?).ok()?.to_owned());
        items.iter().map(text).collect()
    }

    /// The rows of a numpy array of bytes, `[rows, width]`.
    pub(crate) fn byte_rows(&self, id: Id, width: usize) -> Option<&'a [u8]> {
        let Value::Object { state: Some(state), .. } = self.values[id] else { return None };
        let Value::Tuple(state) = &self.values[state] else { return None };
        let [_version, shape, dtype, fortran, data] = state.as_slice() else { return None };
        let Value::Object { arguments, .. } = self.values[*dtype] else { return None };
        let Value::Tuple(arguments) = &self.values[arguments] else { return None };
        let is_bytes = arguments.first().and_then(|&name| self.bytes(name)) == Some(b"u1");
        let data = self.bytes(*data)?;
        let rows = i64::try_from(data.len() / width).ok()?;
        let fits = self.ints(*shape)? == [rows, i64::try_from(width).ok()?]
            && data.len() % width == 0
            && self.values[*fortran] == Value::Bool(false);
        (is_bytes && fits).then_some(data)
    }
}

/// The stack machine that a pickle is a program of.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    memo: Vec<Option<Id>>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Id, String> {
        loop {
            let place = self.at;
            let operation = self.number::<1>()?;
            match operation as u8 {
                // Protocol, frame.
                0x80 => self.skip(1)?,
                0x95 => self.skip(8)?,
                b'(' => self.push(Value::Mark)?,
                b'.' => return self.pop(),
                b'0' => {
                    self.pop()?;
                }
                b'N' => self.push(Value::Nothing)?,
                0x88 => self.push(Value::Bool(true))?,
                0x89 => self.push(Value::Bool(false))?,
                b'K' => self.int::<1>()?,
                b'M' => self.int::<2>()?,
                b'J' => {
                    let number = self.number::<4>()? as u32;
                    self.push(Value::Int(number.cast_signed().into()))?;
                }
                0x8a => {
                    let length = self.number::<1>()?;
                    let bytes = self.take(length)?;
                    let number = self.bytes[bytes].iter().rev().try_fold(0_i64, |number, &byte| {
                        Some(number.checked_mul(256)? + i64::from(byte))
                    });
                    self.push(Value::Int(number.ok_or("a number is too large")?))?;
                }
                b'G' => {
                    self.skip(8)?;
                    self.push(Value::Float)?;
                }
                b'U' | b'C' | 0x8c => self.text::<1>()?,
                b'T' | b'B' | b'X' => self.text::<4>()?,
                0x8d | 0x8e | 0x96 => self.text::<8>()?,
                b']' => self.push(Value::List(Vec::new()))?,
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b')' => self.push(Value::Tuple(Vec::new()))?,
                b'a' => {
                    let item = self.pop()?;
                    self.extend(vec![item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.extend(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.extend(vec![key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.extend(items)?;
                }
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items))?;
                }
                count @ 0x85..=0x87 => {
                    let count = usize::from(count - 0x84);
                    let start = self.stack.len().checked_sub(count).ok_or("the stack is empty")?;
                    let items = self.stack.split_off(start);
                    self.push(Value::Tuple(items))?;
                }
                b'q' => self.remember::<1>()?,
                b'r' => self.remember::<4>()?,
                0x94 => {
                    let top = self.top()?;
                    self.memo.push(Some(top));
                }
                b'h' => self.recall::<1>()?,
                b'j' => self.recall::<4>()?,
                b'c' => {
                    // Module and name, a line each.
                    for _ in 0..2 {
                        let rest = self.bytes.get(self.at..).unwrap_or_default();
                        let line = rest.iter().position(|&byte| byte == b'\n');
                        self.at += line.ok_or("a name does not end")? + 1;
                    }
                    self.push(Value::Global)?;
                }
                0x93 => {
                    self.pop()?;
                    self.pop()?;
                    self.push(Value::Global)?;
                }
                b'R' | 0x81 => {
                    let arguments = self.pop()?;
                    self.pop()?;
                    self.push(Value::Object { arguments, state: None })?;
                }
                b'b' => {
                    let given = self.pop()?;
                    let top = self.top()?;
                    match &mut self.values[top] {
                        Value::Object { state, .. } => *state = Some(given),
                        _ => return Err(format!("at byte {place}: a state for no object")),
                    }
                }
                other => {
                    return Err(format!("at byte {place}: operation {other:#04x} is not known"));
                }
            }
        }
    }

    fn take(&mut self, length: u64) -> Result<Range<usize>, String> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let end = end.filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("it is cut short at byte {}", self.bytes.len()))?;
        Ok(std::mem::replace(&mut self.at, end)..end)
    }

    fn skip(&mut self, length: u64) -> Result<(), String> {
        self.take(length).map(|_| ())
    }

    /// A little-endian number of `N` bytes.
    fn number<const N: u64>(&mut self) -> Result<u64, String> {
        let range = self.take(N)?;
        let bytes = self.bytes[range].iter().rev();
        Ok(bytes.fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn int<const N: u64>(&mut self) -> Result<(), String> {
        let number = self.number::<N>()?;
        self.push(Value::Int(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn text<const N: u64>(&mut self) -> Result<(), String> {
        let length = self.number::<N>()?;
        let range = self.take(length)?;
        self.push(Value::Bytes(range))
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        if self.values.len() >= MOST_VALUES {
            return Err(format!("it holds more than {MOST_VALUES} values"));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(|| "the stack is empty".to_owned())
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "the stack is empty".to_owned())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.stack.iter().rposition(|&id| self.values[id] == Value::Mark);
        let items = self.stack.split_off(mark.ok_or("a mark is missing")?);
        Ok(items[1..].to_vec())
    }

    /// Adds items to the list or dictionary on top.
    fn extend(&mut self, items: Vec<Id>) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::List(list) => list.extend(items),
            Value::Dict(dict) => {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return Err("items for neither list nor dictionary".to_owned()),
        }
        Ok(())
    }

    fn remember<const N: u64>(&mut self) -> Result<(), String> {
        let place = self.number::<N>()? as usize;
        let top = self.top()?;
        if place >= MOST_VALUES {
            return Err(format!("it remembers more than {MOST_VALUES} values"));
        }
        if place >= self.memo.len() {
            self.memo.resize(place + 1, None);
        }
        self.memo[place] = Some(top);
        Ok(())
    }

    fn recall<const N: u64>(&mut self) -> Result<(), String> {
        let place = self.number::<N>()? as usize;
        let id = self.memo.get(place).copied().flatten();
        self.stack.push(id.ok_or("a value is recalled that was not remembered")?);
        // Recalling costs two bytes, so the stack is bounded by the file's length.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a": [1, 2], "n": ["x", "y"], "d": array([[1, 2], [3, 4]], dtype=uint8)}`, in the words of
    /// protocol 2 that Python 2 wrote.
    pub(crate) fn example() -> Vec<u8> {
        let mut bytes =
            b"\x80\x02}q\x00(U\x01aq\x01]q\x02(K\x01K\x02eU\x01n]q\x03(U\x01xU\x01ye".to_vec();
        bytes.extend(b"U\x01dcnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nK\x00\x85U\x01b\x87R");
        bytes.extend(b"(K\x01K\x02K\x02\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb");
        bytes.extend(b"\x89U\x04\x01\x02\x03\x04tbu.");
        bytes
    }

    #[test]
    fn lists_texts_and_arrays_are_read() {
        let bytes = example();
        let pickle = Pickle::read(&bytes).unwrap();
        assert_eq!(pickle.ints(pickle.get("a").unwrap()).unwrap(), [1, 2]);
        assert_eq!(pickle.texts(pickle.get("n").unwrap()).unwrap(), ["x", "y"]);
        assert_eq!(pickle.byte_rows(pickle.get("d").unwrap(), 2).unwrap(), [1, 2, 3, 4]);
        assert_eq!(pickle.byte_rows(pickle.get("d").unwrap(), 3), None);
        assert_eq!(pickle.get("z"), None);
    }

    #[test]
    fn every_cut_is_an_error_and_no_changed_byte_panics() {
        let bytes = example();
        for cut in 0..bytes.len() {
            assert!(Pickle::read(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut bad = bytes.clone();
                bad[at] = value;
                if let Ok(pickle) = Pickle::read(&bad) {
                    for id in ["a", "n", "d"].iter().filter_map(|key| pickle.get(key)) {
                        let _ = (pickle.ints(id), pickle.texts(id), pickle.byte_rows(id, 2));
                    }
                }
            }
        }
    }

    #[test]
    fn memory_is_bounded_whatever_is_asked_for() {
        // A text of 2^64 - 1 bytes, a memo of 4 billion places, and endless marks.
        for bytes in
            [&b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"N\x72\xff\xff\xff\xff."]
        {
            assert!(Pickle::read(bytes).is_err());
        }
        assert!(Pickle::read(&vec![b'('; MOST_VALUES + 2]).unwrap_err().contains("more than"));
    }
}
