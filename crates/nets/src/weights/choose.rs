//! Which tensors of a file are a network's: those that have its names and shapes below one prefix.
//!
//! A checkpoint keeps weights beside an optimiser's state, below `state_dict`, `model.backbone` or
//! whatever its author called it, and once more averaged. No list of such names would be complete;
//! the network's own names say which prefix it is, and whether there are several.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::Stored;
use super::file::WeightFile;
use super::state_dict::{StateDict, is_counter};
use crate::error::{Error, Result};
use crate::file_kind::Kind;
use crate::graph::Graph;
use crate::shortened::shortened;

/// Names that modules around a module, or around one inside it, put between the others.
const TRANSPARENT: [&str; 5] = [
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
];

/// A set of weights in a file that fits a network.
#[derive(Clone, Debug)]
pub struct Fit {
    /// What stands before its names in the file: `state_dict.module`, nothing at the top.
    pub prefix: String,
    /// Length of its output, if it ends in a linear layer.
    pub classes: Option<usize>,
    /// What to know: tensors left out, a classifier found deeper than expected.
    pub notes: Vec<String>,
    /// The network's names, and those in the file.
    names: BTreeMap<String, String>,
}

/// What a file has for a network.
pub(crate) struct Fits {
    /// Every set that fits.
    pub(crate) sets: Vec<Fit>,
    /// What keeps the nearest one from fitting, if none does.
    pub(crate) problems: Vec<String>,
}

impl WeightFile {
    /// The set of weights that fits `graph`, whatever its number of classes if it ends in a pooled
    /// classifier; `network` names it in errors.
    ///
    /// # Errors
    /// When none fits; when several do, and no key says which.
    pub fn fit(&self, graph: &Graph, network: &str) -> Result<Fit> {
        self.only_fit(self.fits(graph)?, network)
    }

    /// The set of weights that `graph` can start from: as [`WeightFile::fit`], but the output layer
    /// may have other classes or be missing, and the first convolution other channels.
    ///
    /// # Errors
    /// When there is none; when there are several, and no key says which.
    pub fn fit_start(&self, graph: &Graph, network: &str) -> Result<Fit> {
        self.only_fit(self.fits_of(&Spec::of_start(graph))?, network)
    }

    fn only_fit(&self, fits: Fits, network: &str) -> Result<Fit> {
        let Fits { mut sets, problems } = fits;
        match sets.pop() {
            Some(fit) if sets.is_empty() => Ok(fit),
            Some(last) => {
                sets.push(last);
                Err(self.several(sets.iter().map(|fit| (fit.prefix.as_str(), ""))))
            }
            None => Err(self.unfit(Error::DoNotFit {
                path: self.path.clone(),
                network: network.to_owned(),
                problems: shortened(problems),
            })),
        }
    }

    /// The error for a file in which a network's weights are not found.
    pub(crate) fn unfit(&self, error: Error) -> Error {
        match &self.contents.module {
            Some(class) => {
                Error::NotWeights { path: self.path.clone(), kind: Kind::Module(class.clone()) }
            }
            None => error,
        }
    }

    /// Reads the tensors of a set.
    ///
    /// # Errors
    /// When one cannot be read, holds no plain numbers, or a NaN or an infinity.
    pub fn take(&mut self, fit: &Fit) -> Result<StateDict> {
        self.read(fit.names.iter())
    }

    /// The shape of a tensor that is `name` in some network, whatever stands before it.
    #[must_use]
    pub fn shape_of(&self, name: &str) -> Option<&[usize]> {
        let is_it = |full: &str| {
            let own = joined(&own_keys(full));
            own.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let mut named = self.contents.tensors.iter().filter(|(full, _)| is_it(full));
        named.next().map(|(_, stored)| stored.shape.as_slice())
    }

    /// The one that is meant of several sets of weights, each known by what stands before its names
    /// and by one of its tensors; none if there is none.
    ///
    /// # Errors
    /// When the key that was given leads to none of them; when there are several, and no key says
    /// which.
    pub(crate) fn only_set(&self, mut sets: Vec<(String, String)>) -> Result<Option<String>> {
        // A module that is registered twice has two names for each tensor.
        let mut seen = BTreeSet::new();
        sets.retain(|(_, tensor)| {
            let Stored { storage, start, .. } = &self.contents.tensors[tensor];
            seen.insert((storage.clone(), *start))
        });
        let prefixes: Vec<&str> = sets.iter().map(|(prefix, _)| prefix.as_str()).collect();
        let meant: Vec<&str> = match &self.key {
            None => prefixes.clone(),
            Some(key) => select(key, prefixes.iter().copied()).collect(),
        };
        match (meant.as_slice(), &self.key) {
            ([only], _) => Ok(Some((*only).to_owned())),
            ([], Some(key)) if !prefixes.is_empty() => Err(Error::UnknownSet {
                path: self.path.clone(),
                key: key.clone(),
                sets: prefixes
                    .iter()
                    .map(|p| format!("`{}`", shortest_key(p, &prefixes)))
                    .collect(),
            }),
            ([], _) => Ok(None),
            (several, _) => Err(self.several(several.iter().map(|&prefix| (prefix, "")))),
        }
    }

    /// Every set of weights that fits `graph`.
    ///
    /// # Errors
    /// When the key that was given leads to none of the sets; when a set that fits holds no plain
    /// numbers.
    pub(crate) fn fits(&self, graph: &Graph) -> Result<Fits> {
        self.fits_of(&Spec::of(graph))
    }

    fn fits_of(&self, spec: &Spec) -> Result<Fits> {
        let mut groups = self.groups(spec);
        // Others share a name or two with the network by chance.
        let most = groups.values().map(|group| group.names.len()).max().unwrap_or(0);
        groups.retain(|_, group| {
            group.names.len() == most || 2 * group.names.len() > spec.shapes.len()
        });
        if let Some(key) = &self.key {
            let prefixes: Vec<String> = groups.keys().cloned().collect();
            let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
            let selected: BTreeSet<&str> = select(key, prefixes.iter().copied()).collect();
            if selected.is_empty() {
                let keys = prefixes.iter().map(|prefix| shortest_key(prefix, &prefixes));
                return Err(Error::UnknownSet {
                    path: self.path.clone(),
                    key: key.clone(),
                    sets: keys.map(|key| format!("`{key}`")).collect(),
                });
            }
            groups.retain(|prefix, _| selected.contains(prefix.as_str()));
        }
        let candidates: Vec<(String, Checked)> = groups
            .into_iter()
            .map(|(prefix, group)| {
                let checked = self.check(&prefix, group, spec);
                (prefix, checked)
            })
            .collect();
        if candidates.iter().all(|(_, checked)| !checked.problems.is_empty()) {
            let problems = candidates.into_iter().map(|(_, checked)| checked.problems);
            let nearest = problems.min_by_key(Vec::len);
            let all = || spec.shapes.keys().map(|name| format!("`{name}` is missing")).collect();
            return Ok(Fits { sets: Vec::new(), problems: nearest.unwrap_or_else(all) });
        }
        for (_, checked) in candidates.iter().filter(|(_, one)| one.problems.is_empty()) {
            self.check_numbers(&checked.names)?;
        }
        let mut seen = BTreeSet::new();
        let mut sets = Vec::new();
        for (prefix, checked) in candidates.iter().filter(|(_, one)| one.problems.is_empty()) {
            // A module that is registered twice has two names for each tensor.
            if seen.insert(self.places(&checked.names)) {
                sets.push(self.described(prefix, checked));
            }
        }
        Ok(Fits { sets, problems: Vec::new() })
    }

    /// The error for a file with several sets, each with a word on what it is.
    pub(crate) fn several<'a>(&self, sets: impl Iterator<Item = (&'a str, &'a str)>) -> Error {
        let sets: Vec<(&str, &str)> = sets.collect();
        let prefixes: Vec<&str> = sets.iter().map(|(prefix, _)| *prefix).collect();
        let named = sets.iter().map(|(prefix, what)| {
            let key = shortest_key(prefix, &prefixes);
            // The names without anything in front of them.
            let key = if key.is_empty() { "\"\"" } else { key };
            if what.is_empty() { format!("`{key}`") } else { format!("`{key}` ({what})") }
        });
        Error::SeveralSets { path: self.path.clone(), sets: named.collect() }
    }

    /// The file's tensors with names of the network, by what stands before those.
    fn groups(&self, spec: &Spec) -> BTreeMap<String, Group> {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        let mut add = |prefix: &str, name: String, full: &String| {
            let group = groups.entry(prefix.to_owned()).or_default();
            match group.names.get(&name) {
                Some(other) => {
                    group.problems.push(format!("`{other}` and `{full}` are both `{name}`"))
                }
                None => _ = group.names.insert(name, full.clone()),
            }
        };
        for full in self.weights_below("") {
            let keys = own_keys(full);
            for (place, &(start, key)) in keys.iter().enumerate() {
                if keys.len() - place > spec.deepest {
                    continue;
                }
                let name = joined(&keys[place..]);
                if spec.shapes.contains_key(&name) {
                    add(full[..start].trim_end_matches('.'), name, full);
                    continue;
                }
                // Averages are also kept as `ema_conv1.weight`, and as `model_ema.conv1weight`.
                for (end, _) in key.match_indices('_') {
                    let name = joined(&[&[(0, &key[end + 1..])], &keys[place + 1..]].concat());
                    if spec.shapes.contains_key(&name) {
                        add(&full[..=start + end], name, full);
                    }
                }
                if let Some(name) = spec.without_dots.get(key).filter(|_| place + 1 == keys.len()) {
                    add(full[..start].trim_end_matches('.'), name.clone(), full);
                }
            }
        }
        groups
    }

    /// Names of tensors below a prefix, apart from counters.
    fn weights_below(&self, prefix: &str) -> impl Iterator<Item = &String> {
        let start = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
        let tensors = self.contents.tensors.range(start.clone()..);
        tensors
            .map(|(name, _)| name)
            .take_while(move |name| name.starts_with(&start))
            .filter(|name| !is_counter(name))
    }

    /// What keeps a group from being the network.
    fn check(&self, prefix: &str, group: Group, spec: &Spec) -> Checked {
        let Group { mut names, mut problems } = group;
        let head = self.deeper_head(prefix, &names, spec);
        let head = head.or_else(|| self.head_beside(prefix, &names, spec));
        if let Some(head) = &head {
            names.extend(head.names.clone());
        }
        let shape = |name: &str| Some(&self.contents.tensors.get(names.get(name)?)?.shape);
        let classes = spec
            .classifier
            .as_ref()
            .and_then(|[_, bias]| shape(bias)?.first().copied())
            .filter(|&classes| classes > 0);
        for (name, expected) in &spec.shapes {
            let mut expected = expected.clone();
            if let (Some(classes), Some(ids)) = (classes, &spec.classifier)
                && ids.contains(name)
            {
                expected[0] = classes;
            }
            if let Some(start) = &spec.start {
                let has_output = start.output.iter().any(|own| names.contains_key(own));
                if start.output.contains(name) && !has_output {
                    continue;
                }
                if start.first.as_ref() == Some(name)
                    && let Some(&[_, channels, ..]) = shape(name).map(Vec::as_slice)
                {
                    expected[1] = channels;
                }
            }
            match names.get(name).and_then(|full| self.contents.tensors.get(full)) {
                None => problems.push(format!("`{name}` is missing")),
                // Of NumPy arrays and the like the shape is not known; see `check_numbers`.
                Some(stored) if !stored.is_float() && stored.shape.is_empty() => {}
                Some(stored) if stored.shape != expected => problems.push(format!(
                    "`{name}` has shape {:?}, the network wants {expected:?}",
                    stored.shape
                )),
                Some(_) => {}
            }
        }
        let used: BTreeSet<&String> = names.values().collect();
        let start = if prefix.is_empty() { 0 } else { prefix.len() + 1 };
        for full in self.weights_below(prefix).filter(|full| !used.contains(full)) {
            let keys = own_keys(&full[start..]);
            let [first, last] = [keys.first(), keys.last()].map(|key| key.map_or("", |key| key.1));
            let stored = &self.contents.tensors[full];
            // In the network's own modules only buffers that hold no weights are no loss.
            let is_weight = stored.is_float() && stored.elements() > 0 || spec.kinds.contains(last);
            if spec.stems.contains(stem(first)) && is_weight {
                problems.push(format!("`{full}` is unexpected"));
            }
        }
        let note = head.map(|head| head.note);
        Checked { names, classes, note, problems }
    }

    /// A classifier in a `Sequential`, behind dropout for example: the only weight and bias below
    /// the name where the network has it.
    fn deeper_head(
        &self,
        prefix: &str,
        names: &BTreeMap<String, String>,
        spec: &Spec,
    ) -> Option<DeeperHead> {
        let ids =
            spec.classifier.as_ref().filter(|ids| ids.iter().all(|id| !names.contains_key(id)))?;
        let base = ids[0].strip_suffix("weight")?;
        let start = if prefix.is_empty() { 0 } else { prefix.len() + 1 };
        let below: Vec<(String, &String)> = self
            .weights_below(prefix)
            .map(|full| (joined(&own_keys(&full[start..])), full))
            .filter(|(name, _)| name.starts_with(base))
            .collect();
        let [(bias, full_bias), (weight, full_weight)] = below.as_slice() else { return None };
        let layer = weight.strip_suffix(".weight")?;
        if bias.strip_suffix(".bias") != Some(layer) {
            return None;
        }
        let base = base.trim_end_matches('.');
        let note = format!(
            "`{layer}` of the file is taken as the classifier `{base}`; what else stands in `{base}` \
             has no weights and is not computed (dropout changes nothing here)"
        );
        let [weight, bias] = ids;
        let names =
            [(weight.clone(), (*full_weight).clone()), (bias.clone(), (*full_bias).clone())];
        Some(DeeperHead { names, note })
    }

    /// The classifier of a file that keeps it beside the rest: `head.fc.weight` of `backbone.conv1.weight`.
    fn head_beside(
        &self,
        prefix: &str,
        names: &BTreeMap<String, String>,
        spec: &Spec,
    ) -> Option<DeeperHead> {
        let ids =
            spec.classifier.as_ref().filter(|ids| ids.iter().all(|id| !names.contains_key(id)))?;
        let width = spec.shapes[&ids[0]].get(1)?;
        let (above, _) = prefix.rsplit_once('.').unwrap_or(("", prefix));
        // Of a whole network somewhere else it is that network's.
        let is_alone = |before: &str| {
            spec.shapes
                .keys()
                .filter(|name| !ids.contains(name))
                .all(|name| !self.contents.tensors.contains_key(&format!("{before}.{name}")))
        };
        let found: Vec<[&String; 2]> = self
            .weights_below(above)
            .filter_map(|weight| {
                let before = weight.strip_suffix(ids[0].as_str())?.strip_suffix('.')?;
                let (bias, stored) =
                    self.contents.tensors.get_key_value(&format!("{before}.{}", ids[1]))?;
                let shape = &self.contents.tensors[weight].shape;
                let fits = shape.len() == 2 && shape[1] == *width && stored.shape == shape[..1];
                (fits && is_alone(before)).then_some([weight, bias])
            })
            .collect();
        let [[weight, bias]] = found.as_slice() else { return None };
        let note =
            format!("`{}` of the file is taken as the classifier `{}`", plain(weight), ids[0]);
        let names = [(ids[0].clone(), (*weight).clone()), (ids[1].clone(), (*bias).clone())];
        Some(DeeperHead { names, note })
    }

    fn check_numbers(&self, names: &BTreeMap<String, String>) -> Result<()> {
        let other = names.values().find(|full| !self.contents.tensors[*full].is_float());
        other.map_or(Ok(()), |tensor| {
            let found = self.contents.tensors[tensor].dtype.clone();
            Err(Error::TensorType { path: self.path.clone(), tensor: tensor.clone(), found })
        })
    }

    /// Where the numbers of a set lie.
    fn places(&self, names: &BTreeMap<String, String>) -> Vec<(&str, u64, &Option<Vec<usize>>)> {
        let place = |full: &String| {
            let Stored { storage, start, strides, .. } = &self.contents.tensors[full];
            (storage.as_str(), *start, strides)
        };
        names.values().map(place).collect()
    }

    fn described(&self, prefix: &str, checked: &Checked) -> Fit {
        let used: BTreeSet<&String> = checked.names.values().collect();
        let mut left_out: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for full in self.weights_below("").filter(|full| !used.contains(full)) {
            left_out.entry(branch(full, prefix)).or_default().push(full);
        }
        let mut shown: Vec<String> = left_out
            .iter()
            .map(|(branch, tensors)| match tensors.as_slice() {
                [one] => format!("`{}`", plain(one)),
                several => format!("`{}` ({} tensors)", plain(branch), several.len()),
            })
            .collect();
        // What comes of optimisers and schedulers in words of their classes.
        let objects = self.contents.objects.iter().filter(|(name, _)| !name.is_empty());
        shown.extend(objects.map(|(name, class)| format!("`{}` ({})", plain(name), plain(class))));
        let mut notes: Vec<String> = checked.note.iter().cloned().collect();
        if !shown.is_empty() {
            notes.push(format!("left out of the weight file: {}", shortened(shown).join(", ")));
        }
        let (classes, names) = (checked.classes, checked.names.clone());
        Fit { prefix: prefix.to_owned(), classes, notes, names }
    }
}

/// What a network asks of a file.
struct Spec {
    shapes: BTreeMap<String, Vec<usize>>,
    /// Names of weight and bias of the output layer, whose first extent is free.
    classifier: Option<[String; 2]>,
    /// What may differ where the network only starts from the file.
    start: Option<Start>,
    /// The first keys of its names, without numbers at their ends.
    stems: BTreeSet<String>,
    /// The last keys: `weight`, `bias`, ….
    kinds: BTreeSet<String>,
    /// Most keys of a name.
    deepest: usize,
    /// Its names of several keys, by what they are without the dots between.
    without_dots: BTreeMap<String, String>,
}

impl Spec {
    fn of(graph: &Graph) -> Self {
        let parameters = graph.parameters().iter().map(|p| (p.name.clone(), p.shape.clone()));
        let buffers = graph.buffers().iter().map(|b| (b.name.clone(), vec![b.len]));
        let shapes: BTreeMap<String, Vec<usize>> = parameters.chain(buffers).collect();
        let name = |id| graph.parameter(id).name.clone();
        let output: Vec<String> = graph.output_layer().into_iter().map(name).collect();
        let classifier = <[String; 2]>::try_from(output).ok();
        let first = |name: &String| stem(name.split('.').next().unwrap_or_default()).to_owned();
        let stems = shapes.keys().map(first).collect();
        let last = |name: &String| name.rsplit('.').next().unwrap_or_default().to_owned();
        let kinds = shapes.keys().map(last).collect();
        let deepest = shapes.keys().map(|name| name.split('.').count()).max().unwrap_or(0);
        let dotted = shapes.keys().filter(|name| name.contains('.'));
        let without_dots = dotted.map(|name| (name.replace('.', ""), name.clone())).collect();
        Self { shapes, classifier, start: None, stems, kinds, deepest, without_dots }
    }

    fn of_start(graph: &Graph) -> Self {
        let name = |id| graph.parameter(id).name.clone();
        let output = graph.output_layer().into_iter().map(name).collect();
        let start = Start { first: graph.first_convolution().map(name), output };
        Self { start: Some(start), ..Self::of(graph) }
    }
}

/// Names of what may be other in a file that a network only starts from.
struct Start {
    /// The first convolution's weight: its channels.
    first: Option<String>,
    /// The output layer: its classes, or all of it.
    output: Vec<String>,
}

#[derive(Default)]
struct Group {
    names: BTreeMap<String, String>,
    problems: Vec<String>,
}

struct Checked {
    names: BTreeMap<String, String>,
    classes: Option<usize>,
    note: Option<String>,
    problems: Vec<String>,
}

/// A classifier that stands elsewhere than the network has it.
struct DeeperHead {
    names: [(String, String); 2],
    note: String,
}

/// The keys of a name that are the network's own, with their places in it.
fn own_keys(name: &str) -> Vec<(usize, &str)> {
    let mut start = 0;
    let keys = name.split('.').map(|key| {
        let place = start;
        start += key.len() + 1;
        (place, key)
    });
    keys.filter(|(_, key)| !TRANSPARENT.contains(key)).collect()
}

fn joined(keys: &[(usize, &str)]) -> String {
    keys.iter().map(|&(_, key)| key).collect::<Vec<_>>().join(".")
}

/// `layer` of `layer3`: networks of one family differ in how far such numbers go.
fn stem(key: &str) -> &str {
    key.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// The prefixes that a key means: itself, or else those that go on from it.
fn select<'a>(
    key: &str,
    prefixes: impl Iterator<Item = &'a str> + Clone,
) -> impl Iterator<Item = &'a str> {
    let exact = key.is_empty() || prefixes.clone().any(|prefix| prefix == key);
    let key = key.to_owned();
    prefixes.filter(move |prefix| {
        let below = || prefix.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with('.'));
        *prefix == key || (!exact && below())
    })
}

/// The shortest key that means this prefix and none of the others.
fn shortest_key<'a>(prefix: &'a str, all: &[&str]) -> &'a str {
    let ends = prefix.match_indices('.').map(|(end, _)| end).chain([prefix.len()]);
    let mut keys = ends.map(|end| &prefix[..end]);
    keys.find(|key| select(key, all.iter().copied()).eq([prefix])).unwrap_or(prefix)
}

/// A name of a file on one line.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A name as far as its first key that is not one of the prefix.
fn branch(name: &str, prefix: &str) -> String {
    let common =
        name.split('.').zip(prefix.split('.')).take_while(|(own, other)| own == other).count();
    name.split('.').take(common + 1).collect::<Vec<_>>().join(".")
}
