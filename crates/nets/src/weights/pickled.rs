//! Tensors among the objects of a pickle, as `torch.save` describes them: a call of one of
//! `torch._utils`'s `_rebuild_…` functions with a storage outside the pickle, an offset, a shape and
//! strides.

use std::collections::{BTreeMap, HashMap};

use super::budget::Budget;
use super::contents::Stored;
use super::pickle::{Call, Fault, Id, Object, Pickle};

/// Levels of dicts and lists that are looked into.
const DEEPEST: usize = 32;

/// Storage classes of `torch`, the dtype of each, and bytes of an element.
const STORAGES: [(&str, &str, u64); 18] = [
    ("FloatStorage", "float32", 4),
    ("DoubleStorage", "float64", 8),
    ("HalfStorage", "float16", 2),
    ("BFloat16Storage", "bfloat16", 2),
    ("LongStorage", "int64", 8),
    ("IntStorage", "int32", 4),
    ("ShortStorage", "int16", 2),
    ("CharStorage", "int8", 1),
    ("ByteStorage", "uint8", 1),
    ("BoolStorage", "bool", 1),
    ("ComplexFloatStorage", "complex64", 8),
    ("ComplexDoubleStorage", "complex128", 16),
    ("QInt8Storage", "quantised", 1),
    ("QUInt8Storage", "quantised", 1),
    ("QInt32Storage", "quantised", 4),
    ("QUInt4x2Storage", "quantised", 1),
    ("QUInt2x4Storage", "quantised", 1),
    ("UntypedStorage", "bytes", 1),
];

/// What of a pickle can matter for weights.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) tensors: BTreeMap<String, Stored>,
    /// Bytes of an element, by storage.
    pub(super) storages: BTreeMap<String, u64>,
    /// Classes of other objects by name; only the outermost.
    pub(super) objects: BTreeMap<String, String>,
    /// The class of a whole module among them.
    pub(super) module: Option<String>,
    /// What the pickle is at the top: `dict`.
    pub(super) kind: String,
}

/// A storage that a pickle refers to.
struct Storage<'a> {
    key: &'a str,
    dtype: &'static str,
    bytes: u64,
    /// Where a view of it begins, in elements.
    start: u64,
}

/// Finds all tensors; each is under the keys that lead to it.
pub(super) fn find(pickle: &Pickle<'_>, budget: &mut Budget) -> Result<Found, Fault> {
    find_with(pickle, &HashMap::new(), budget)
}

/// The same, if the pickle may refer to tensors `outside` it by number.
pub(super) fn find_with(
    pickle: &Pickle<'_>,
    outside: &HashMap<i128, Stored>,
    budget: &mut Budget,
) -> Result<Found, Fault> {
    let found = Found { kind: kind(pickle, pickle.root), ..Found::default() };
    let mut walk = Walk { pickle, outside, budget, above: Vec::new(), name: String::new(), found };
    walk.visit(pickle.root)?;
    Ok(walk.found)
}

/// Python's word for an object.
pub(super) fn kind(pickle: &Pickle<'_>, id: Id) -> String {
    let word = match pickle.get(id) {
        Object::Dict(_) => "dict",
        Object::List(_) => "list",
        Object::Tuple(_) => "tuple",
        Object::Int(_) => "number",
        Object::Text(_) => "string",
        Object::None => "None",
        Object::Global(module, name) => return format!("{module}.{name}"),
        Object::Call(call) if global(pickle, call.of).0 == "torch._utils" => "tensor",
        Object::Call(call) => return class(pickle, call),
        Object::Bool(_) | Object::Opaque | Object::Persistent(_) => "plain value",
    };
    word.to_owned()
}

fn global<'a>(pickle: &Pickle<'a>, id: Id) -> (&'a str, &'a str) {
    match pickle.get(id) {
        Object::Global(module, name) => (module, name),
        _ => ("", ""),
    }
}

/// The class of an instance.
fn class(pickle: &Pickle<'_>, call: &Call) -> String {
    let (mut module, mut name) = global(pickle, call.of);
    // How instances were made before protocol 2.
    if (module, name) == ("copy_reg", "_reconstructor")
        || (module, name) == ("copyreg", "_reconstructor")
    {
        let own = pickle.members(call.arguments).and_then(|arguments| arguments.first());
        (module, name) = own.map_or(("", ""), |&own| global(pickle, own));
    }
    if module.is_empty() { "object".to_owned() } else { format!("{module}.{name}") }
}

struct Walk<'a, 'b> {
    pickle: &'b Pickle<'a>,
    outside: &'b HashMap<i128, Stored>,
    budget: &'b mut Budget,
    /// The containers around the object at hand: they may hold themselves.
    above: Vec<Id>,
    name: String,
    found: Found,
}

impl Walk<'_, '_> {
    fn visit(&mut self, id: Id) -> Result<(), Fault> {
        const EACH: u64 = 16;
        self.budget.spend(EACH)?;
        let pickle = self.pickle;
        match pickle.get(id) {
            Object::Dict(entries) => self.within(id, entries.iter().copied()),
            Object::List(members) | Object::Tuple(members) => self.members(id, members),
            Object::Call(call) => match self.tensor(call)? {
                Some(stored) => self.keep(stored),
                None => self.object(id, call),
            },
            Object::Persistent(number) => {
                let stored = pickle.int(*number).and_then(|number| self.outside.get(&number));
                stored.map_or(Ok(()), |stored| self.keep(stored.clone()))
            }
            _ => Ok(()),
        }
    }

    fn within(&mut self, id: Id, entries: impl Iterator<Item = (Id, Id)>) -> Result<(), Fault> {
        for (key, value) in entries {
            match self.pickle.get(key) {
                Object::Text(text) => self.below(id, text, value)?,
                Object::Int(number) => self.below(id, &number.to_string(), value)?,
                _ => self.below(id, "?", value)?,
            }
        }
        Ok(())
    }

    fn members(&mut self, id: Id, members: &[Id]) -> Result<(), Fault> {
        for (place, &member) in members.iter().enumerate() {
            // Long lists of numbers are common; only what can hold a tensor is worth a name.
            if matches!(self.pickle.get(member), Object::Int(_) | Object::Text(_)) {
                continue;
            }
            self.below(id, &place.to_string(), member)?;
        }
        Ok(())
    }

    fn below(&mut self, parent: Id, key: &str, id: Id) -> Result<(), Fault> {
        if self.above.len() == DEEPEST || id == parent || self.above.contains(&id) {
            return Ok(());
        }
        let length = self.name.len();
        if !self.above.is_empty() {
            self.name.push('.');
        }
        self.name.push_str(key);
        self.above.push(parent);
        let visited = self.visit(id);
        self.above.pop();
        self.name.truncate(length);
        visited
    }

    fn keep(&mut self, stored: Stored) -> Result<(), Fault> {
        let size = size_of::<Stored>() + 2 * self.name.len() + 16 * stored.shape.len();
        self.budget.spend(size as u64)?;
        let before = self.found.tensors.insert(self.name.clone(), stored);
        match before {
            Some(before) if self.found.tensors.get(&self.name) != Some(&before) => {
                Err(Fault::Damaged(format!("two tensors named `{}`", self.name)))
            }
            _ => Ok(()),
        }
    }

    fn object(&mut self, id: Id, call: &Call) -> Result<(), Fault> {
        let attributes = call.state.map(|state| self.pickle.get(state));
        let is_module = matches!(attributes, Some(Object::Dict(entries)) if entries
            .iter()
            .any(|&(key, _)| self.pickle.text(key) == Some("_modules")));
        let class = class(self.pickle, call);
        self.budget.spend((self.name.len() + class.len() + 64) as u64)?;
        if is_module {
            self.found.module.get_or_insert_with(|| class.clone());
        }
        // Sizes, devices and the like have no attributes; arguments of a script are no loss.
        if call.state.is_some() && class != "argparse.Namespace" {
            self.found.objects.insert(self.name.clone(), class);
        }
        self.within(id, call.entries.iter().copied())
    }

    /// The tensor that a call gives, if it gives one.
    fn tensor(&mut self, call: &Call) -> Result<Option<Stored>, Fault> {
        let pickle = self.pickle;
        let (mut of, mut arguments) = (call.of, call.arguments);
        loop {
            let given = pickle.members(arguments).unwrap_or_default();
            let (&first, rest) = match given.split_first() {
                Some((first, rest)) => (first, rest),
                None => return Ok(None),
            };
            let (module, name) = global(pickle, of);
            return match (module, name) {
                ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => {
                    self.plain(first, rest, None).map(Some)
                }
                ("torch._utils", "_rebuild_tensor_v3") => {
                    self.plain(first, rest, rest.get(5).copied()).map(Some)
                }
                ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                    match pickle.get(first) {
                        Object::Call(inner) => {
                            (of, arguments) = (inner.of, inner.arguments);
                            self.budget.spend(1)?;
                            continue;
                        }
                        _ => Err(Fault::Damaged("a parameter that is no tensor".to_owned())),
                    }
                }
                // A subclass of tensors: the function that makes the tensor, the class, and the
                // function's arguments.
                ("torch._tensor", "_rebuild_from_type_v2") => match rest.get(1) {
                    Some(&inner) => {
                        (of, arguments) = (first, inner);
                        self.budget.spend(1)?;
                        continue;
                    }
                    None => Err(Fault::Damaged("a tensor without arguments".to_owned())),
                },
                ("torch._utils", "_rebuild_qtensor") => {
                    Ok(Some(Stored::without_numbers("quantised")))
                }
                ("torch._utils", name) => Ok(name.strip_prefix("_rebuild_").map(|what| {
                    let what =
                        what.trim_end_matches("_tensor").trim_end_matches("_tensor_no_storage");
                    Stored::without_numbers(what)
                })),
                (module, "_reconstruct") if module.starts_with("numpy.") => {
                    Ok(Some(Stored::without_numbers("NumPy array")))
                }
                _ => Ok(None),
            };
        }
    }

    /// `first` is the storage, `rest` offset, shape and strides; `dtype` tells of storages that do
    /// not know it.
    fn plain(&mut self, first: Id, rest: &[Id], dtype: Option<Id>) -> Result<Stored, Fault> {
        let damaged = || Fault::Damaged("a tensor without storage, shape or strides".to_owned());
        let pickle = self.pickle;
        // Of a kind that came after this program: no weight, but perhaps beside them.
        let Some(storage) = storage(pickle, first) else {
            return Ok(Stored::without_numbers("unknown"));
        };
        let &[offset, shape, strides, ..] = rest else { return Err(damaged()) };
        let extents = |id: Id| -> Option<Vec<usize>> {
            let extent = |&id: &Id| usize::try_from(pickle.count(id)?).ok();
            pickle.members(id)?.iter().map(extent).collect()
        };
        let shape = extents(shape).ok_or_else(damaged)?;
        let strides =
            extents(strides).filter(|own| own.len() == shape.len()).ok_or_else(damaged)?;
        let offset = pickle.count(offset).ok_or_else(damaged)?;
        let dtype = match dtype.map(|id| global(pickle, id)) {
            Some(("torch", name)) => name,
            _ => storage.dtype,
        };
        if self.found.storages.insert(storage.key.to_owned(), storage.bytes).is_none() {
            self.budget.spend(2 * (storage.key.len() as u64 + 64))?;
        }
        let bytes = storage.bytes.max(super::contents::float_bytes(dtype).unwrap_or(1));
        let start = storage.start.checked_add(offset).and_then(|start| start.checked_mul(bytes));
        let start = start.ok_or_else(damaged)?;
        Ok(Stored::new(dtype, shape, strides, storage.key.to_owned(), start))
    }
}

/// `('storage', class, key, device, elements[, view])`; a view is `(key, offset, elements)`.
fn storage<'a>(pickle: &Pickle<'a>, id: Id) -> Option<Storage<'a>> {
    let Object::Persistent(described) = pickle.get(id) else { return None };
    let described = pickle.members(*described)?;
    let &[_, of, key, ..] = described else { return None };
    let (dtype, bytes) = storage_class(pickle, of)?;
    let view = described.get(5).and_then(|&view| pickle.members(view));
    let start = view.map_or(Some(0), |view| pickle.count(*view.get(1)?))?;
    Some(Storage { key: pickle.text(key)?, dtype, bytes, start })
}

/// The dtype of a storage's class, and bytes of an element.
pub(super) fn storage_class(pickle: &Pickle<'_>, id: Id) -> Option<(&'static str, u64)> {
    let (_, class) = global(pickle, id);
    let &(_, dtype, bytes) = STORAGES.iter().find(|(name, ..)| *name == class)?;
    Some((dtype, bytes))
}
