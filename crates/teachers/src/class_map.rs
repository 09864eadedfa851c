//! A teacher's classes as the classes of the data.
//!
//! ```text
//! z[d] = logsumexp over the teacher's classes o of data class d of  z_own[o] - ln(shares of o)
//! z[d] = max z - 200                                     where the teacher has no class for d
//! ```
//! - **Permuted** classes are put in the data's order: exact.
//! - **Superset**: classes that the data lacks are dropped. The softmax of the rest then sums to 1
//!   again: probabilities are renormalised over what is shared, at every temperature.
//! - **Merged**: several of the teacher's classes are one class of the data. Their probabilities are
//!   added; exact at temperature 1, and at another one the sum is softened, not its parts.
//! - **Split**: one class of the teacher stands for several of the data, which share its
//!   probability evenly (at temperature 1).
//! - **Subset**: a class that the teacher lacks gets no mass: its logit lies [`MISSING_BELOW`] under
//!   the largest one. At temperature τ it keeps `exp(-200 / τ)` of the largest class's share: 2e-22
//!   at τ = 4, 2e-9 at 10, 5e-5 at 20. Everything stays finite. On a sample of such a class the
//!   teacher is wrong by about 200 nats, so a weighting by confidence (CA-MKD) gives it next to no
//!   weight there; an equal weighting (AVER) would let it teach that the class does not exist.
//!
//! The map works on logits, not on probabilities, so that temperature stays free.

use std::collections::{BTreeMap, BTreeSet};

use faculty_nets::FrozenClassifier;

/// How far below the largest logit a class lies that the teacher does not have.
pub const MISSING_BELOW: f32 = 200.0;

/// From a teacher's classes to the data's.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMap {
    own: usize,
    /// For each class of the data: the teacher's classes, each with `-ln` of how many share it.
    sources: Vec<Vec<(usize, f32)>>,
}

/// Why classes cannot be matched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClassProblem {
    /// Another number of classes, and no names to go by.
    #[error("it has {found} classes, the data has {expected}")]
    Count {
        /// Classes of the teacher.
        found: usize,
        /// Classes of the data.
        expected: usize,
    },
    /// Names that only the data has, and no map that explains them.
    #[error("{}", difference(.only_teacher, .only_data))]
    Names {
        /// Names that the data does not have.
        only_teacher: Vec<String>,
        /// Names that the teacher does not have.
        only_data: Vec<String>,
    },
    /// A list of names of another length than the teacher's outputs.
    #[error("`classes` names {found} classes, it has {expected}")]
    ListLength {
        /// Names given.
        found: usize,
        /// Classes of the teacher.
        expected: usize,
    },
    /// A name of the declared map that nobody has.
    #[error("`classes` names `{name}`, which is no class of {whose}")]
    Unknown {
        /// The name.
        name: String,
        /// The teacher or the data.
        whose: &'static str,
        /// The nearest name that there is.
        nearest: Option<String>,
    },
    /// The same name twice in the teacher's own list.
    #[error("its class name `{name}` stands there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// Fewer than two classes in common.
    #[error("it shares {shared} classes with the data, two are needed")]
    NothingShared {
        /// Classes in common.
        shared: usize,
    },
}

impl ClassProblem {
    /// How to fix it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Count { .. } | Self::Names { .. } => "say what its outputs stand for with \
                `classes` on that teacher: a list of their names in its order (`-` for those the \
                data lacks, other names that it lacks are left out too), a table `{ own = \"data \
                class\" }`, or a JSON file with such a list or with {\"names\": [..], \"map\": \
                {..}}; or use another teacher"
                .to_owned(),
            Self::ListLength { expected, .. } => {
                format!("give {expected} names in the teacher's order, `-` for none of the data's")
            }
            Self::Unknown { nearest: Some(name), .. } => format!("did you mean `{name}`?"),
            Self::Unknown { whose: "the teacher", .. } => {
                "use the teacher's names, or numbers from 0".to_owned()
            }
            Self::Unknown { .. } => "use the names that `faculty datasets DATA` shows".to_owned(),
            Self::Twice { .. } => "give each of its classes a name of its own".to_owned(),
            Self::NothingShared { .. } => "check `classes`".to_owned(),
        }
    }
}

/// Both lists' differences, shortened.
fn difference(only_teacher: &[String], only_data: &[String]) -> String {
    const SHOWN: usize = 8;
    let list = |names: &[String]| {
        let mut text =
            names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
        if names.len() > SHOWN {
            text += &format!(" and {} more", names.len() - SHOWN);
        }
        text
    };
    let parts = [("only the teacher has", only_teacher), ("only the data has", only_data)];
    let said: Vec<String> = parts
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(who, names)| format!("{who} {}", list(names)))
        .collect();
    format!("its classes are not those of the data: {}", said.join("; "))
}

/// What a recipe or a file says about a teacher's classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// The teacher's own names, in its order.
    pub names: Option<Vec<String>>,
    /// For each output the class of the data, or none.
    pub list: Option<Vec<Option<String>>>,
    /// From the teacher's name, or number, to classes of the data.
    pub map: Option<BTreeMap<String, Vec<String>>>,
}

impl Declared {
    /// For each of the teacher's `own` classes those of the data that it is, as far as names and
    /// the declaration tell; nothing has to match.
    ///
    /// # Errors
    /// When the declaration speaks of classes that are not there.
    pub fn same_classes(
        &self,
        own: usize,
        data: &[String],
    ) -> Result<Vec<Vec<usize>>, ClassProblem> {
        if let Some(found) = self.teacher_classes().filter(|&found| found != own) {
            return Err(ClassProblem::ListLength { found, expected: own });
        }
        if let Some(map) = &self.map {
            return by_map(own, map, self.names.as_deref(), data);
        }
        let places = places(data);
        let place = |name: &String| places.get(name.as_str()).copied().into_iter().collect();
        Ok(match (&self.list, &self.names) {
            (Some(list), _) => {
                list.iter().map(|n| n.as_ref().map_or_else(Vec::new, place)).collect()
            }
            (None, Some(names)) => names.iter().map(place).collect(),
            (None, None) => vec![Vec::new(); own],
        })
    }

    /// Number of the teacher's classes, if the declaration gives it.
    #[must_use]
    pub fn teacher_classes(&self) -> Option<usize> {
        self.list.as_ref().map(Vec::len).or(self.names.as_ref().map(Vec::len))
    }
}

impl ClassMap {
    /// Matches `own` outputs of a teacher to the classes of the data; nothing if they are the same
    /// in the same order.
    ///
    /// Without a declared list or map, names decide: equal names in any order fit. Without names,
    /// equal numbers of classes are taken to be the same classes.
    ///
    /// # Errors
    /// When they do not match, or the declaration speaks of classes that are not there.
    pub fn between(
        own: usize,
        declared: &Declared,
        data: &[String],
    ) -> Result<Option<Self>, ClassProblem> {
        if let Some(names) = &declared.names {
            if names.len() != own {
                return Err(ClassProblem::ListLength { found: names.len(), expected: own });
            }
            let mut seen = BTreeSet::new();
            if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
                return Err(ClassProblem::Twice { name: twice.clone() });
            }
        }
        let targets = match declared {
            Declared { map: Some(map), names, .. } => by_map(own, map, names.as_deref(), data)?,
            Declared { list: Some(list), .. } => by_list(own, list, data)?,
            Declared { names: Some(names), .. } => {
                let list: Vec<Option<String>> = names.iter().cloned().map(Some).collect();
                by_list(own, &list, data)?
            }
            _ if own == data.len() => return Ok(None),
            _ => return Err(ClassProblem::Count { found: own, expected: data.len() }),
        };
        let mut sources = vec![Vec::new(); data.len()];
        for (own, targets) in targets.iter().enumerate() {
            let share = -(targets.len() as f32).ln();
            for &target in targets {
                sources[target].push((own, share));
            }
        }
        let shared = sources.iter().filter(|s| !s.is_empty()).count();
        if shared < 2 {
            return Err(ClassProblem::NothingShared { shared });
        }
        let map = Self { own, sources };
        Ok(Some(map).filter(|map| !map.is_identity()))
    }

    fn is_identity(&self) -> bool {
        let mut classes = self.sources.iter().enumerate();
        self.own == self.sources.len() && classes.all(|(class, own)| own[..] == [(class, 0.0)])
    }

    /// Classes of the teacher.
    #[must_use]
    pub fn teacher_classes(&self) -> usize {
        self.own
    }

    /// Classes of the data.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.sources.len()
    }

    /// From `[batch, own]` to `[batch, classes]` as the file's head says.
    ///
    /// # Panics
    /// If `own` is no whole number of rows.
    #[must_use]
    pub fn logits(&self, own: &[f32]) -> Vec<f32> {
        assert!(own.len().is_multiple_of(self.own), "whole rows of {} logits", self.own);
        let mut out = Vec::with_capacity(own.len() / self.own * self.sources.len());
        for row in own.chunks_exact(self.own) {
            let start = out.len();
            out.extend(self.sources.iter().map(|sources| match sources[..] {
                [] => f32::NEG_INFINITY,
                [(own, share)] => row[own] + share,
                _ => log_sum_exp(sources, row),
            }));
            let largest = out[start..].iter().copied().fold(f32::NEG_INFINITY, f32::max);
            // By the map and not by the value: an infinity of the teacher's stays to be seen.
            for (value, sources) in out[start..].iter_mut().zip(&self.sources) {
                if sources.is_empty() {
                    *value = largest - MISSING_BELOW;
                }
            }
        }
        out
    }

    /// The classifier of the mapped classes; nothing if no linear layer gives their logits: a
    /// merged class is no linear function of the vector in front, and a missing one has no row.
    #[must_use]
    pub fn classifier(&self, own: &FrozenClassifier) -> Option<FrozenClassifier> {
        let channels = own.weight.len() / self.own;
        let mut mapped = FrozenClassifier { weight: Vec::new(), bias: Vec::new() };
        for sources in &self.sources {
            let &[(class, share)] = sources.as_slice() else { return None };
            mapped.weight.extend_from_slice(&own.weight[class * channels..][..channels]);
            mapped.bias.push(own.bias[class] + share);
        }
        Some(mapped)
    }

    /// In words, for run records: `80 of 100 classes, 20 missing, 920 of its own left out`.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |test: fn(usize) -> bool| self.sources.iter().filter(|s| test(s.len())).count();
        let used: BTreeSet<usize> = self.sources.iter().flatten().map(|(own, _)| *own).collect();
        let split: BTreeSet<usize> =
            self.sources.iter().flatten().filter(|(_, s)| *s < 0.0).map(|(own, _)| *own).collect();
        let mut text = format!("{} of {} classes", count(|n| n > 0), self.sources.len());
        for (number, what) in [
            (count(|n| n == 0), "missing"),
            (count(|n| n > 1), "merged"),
            (split.len(), "of its own split"),
            (self.own - used.len(), "of its own left out"),
        ] {
            if number > 0 {
                text += &format!(", {number} {what}");
            }
        }
        if text.ends_with("classes") && !self.is_identity() {
            text += ", in another order";
        }
        text
    }
}

fn log_sum_exp(sources: &[(usize, f32)], row: &[f32]) -> f32 {
    let values = sources.iter().map(|&(own, share)| f64::from(row[own] + share));
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    (largest + values.map(|z| (z - largest).exp()).sum::<f64>().ln()) as f32
}

/// Each output is one class of the data or none; all classes of the data must be named. A name that
/// the data lacks is a class of the teacher's own, as in a list of 1,000 names for four of them.
fn by_list(
    own: usize,
    list: &[Option<String>],
    data: &[String],
) -> Result<Vec<Vec<usize>>, ClassProblem> {
    if list.len() != own {
        return Err(ClassProblem::ListLength { found: list.len(), expected: own });
    }
    let places = places(data);
    let unknown = |name: &&String| !places.contains_key(name.as_str());
    let named: BTreeSet<&String> = list.iter().flatten().collect();
    let only_teacher: Vec<String> = named.iter().copied().filter(unknown).cloned().collect();
    let only_data: Vec<String> =
        data.iter().filter(|name| !named.contains(name)).cloned().collect();
    if !only_data.is_empty() {
        return Err(ClassProblem::Names { only_teacher, only_data });
    }
    let target = |name: &Option<String>| {
        name.iter().filter_map(|name| places.get(name.as_str()).copied()).collect()
    };
    Ok(list.iter().map(target).collect())
}

/// What the map names, and equal names for what it does not.
fn by_map(
    own: usize,
    map: &BTreeMap<String, Vec<String>>,
    names: Option<&[String]>,
    data: &[String],
) -> Result<Vec<Vec<usize>>, ClassProblem> {
    let places = places(data);
    let own_places = names.map(self::places).unwrap_or_default();
    let unknown = |name: &str, whose, known: Vec<&String>| {
        let known = known.into_iter().map(String::as_str);
        let nearest = faculty_recipe::nearest(name, known).map(str::to_owned);
        ClassProblem::Unknown { name: name.to_owned(), whose, nearest }
    };
    let mut targets: Vec<Option<Vec<usize>>> = vec![None; own];
    for (key, classes) in map {
        let by_number = || key.parse().ok().filter(|&number: &usize| number < own);
        let Some(place) = own_places.get(key.as_str()).copied().or_else(by_number) else {
            return Err(unknown(key, "the teacher", names.unwrap_or_default().iter().collect()));
        };
        let mut list = Vec::new();
        for class in classes {
            match places.get(class.as_str()) {
                Some(&place) if !list.contains(&place) => list.push(place),
                Some(_) => {}
                None => return Err(unknown(class, "the data", data.iter().collect())),
            }
        }
        targets[place] = Some(list);
    }
    let fill = |(own, target): (usize, Option<Vec<usize>>)| {
        target.unwrap_or_else(|| {
            let name = names.map(|names| names[own].as_str());
            name.and_then(|name| places.get(name).copied()).into_iter().collect()
        })
    };
    Ok(targets.into_iter().enumerate().map(fill).collect())
}

fn places(names: &[String]) -> BTreeMap<&str, usize> {
    names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect()
}

#[cfg(test)]
mod tests;
