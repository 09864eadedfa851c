//! What is wrong with a recipe as a whole: ranges, and keys that contradict each other.

use super::heads::Heads;
use super::key_path::join;
use super::method::Method;
use super::problems::{Location, Problem, Problems, RecipeError, nearest, shown};
use super::range::quoted;
use super::reader::check_range;
use super::schema::{
    Data, Device, Optimizer, PlanKind, Precision, Recipe, Schedule, Student, Teacher, Train,
    milestones,
};
use super::section::Section as _;
use super::spec::{self, MethodSpec, OptionValue};
use super::validation::Validation;

mod plan;
mod terms;

/// Key of a method's warm-up.
const WARM_UP: &str = "warmup_epochs";

impl Recipe {
    /// Checks a recipe that was built in code, as [`Recipe::load`] checks one from a file.
    ///
    /// # Errors
    /// With all problems; their places are key paths.
    pub fn check(&self, methods: &[MethodSpec]) -> Result<(), RecipeError> {
        let mut found = Problems::new(Location::Code);
        problems(self, methods, &mut found);
        found.refuse()
    }

    /// What is allowed, but probably not meant, in a recipe that was built in code.
    #[must_use]
    pub fn warnings(&self, methods: &[MethodSpec]) -> Vec<Problem> {
        let mut found = Problems::new(Location::Code);
        warnings(self, methods, &mut found);
        found.list
    }
}

/// Everything that makes a recipe unusable.
pub(super) fn problems(recipe: &Recipe, methods: &[MethodSpec], problems: &mut Problems) {
    recipe.visit("", methods, &mut |path, spec, value| {
        if let Some(value) = value {
            check_range(path, &spec, &value, problems);
        }
    });
    normalisation("data", &recipe.data.mean, &recipe.data.std, problems);
    augmentation(&recipe.data, problems);
    mixtures(recipe, problems);
    student_source(&recipe.student, problems);
    teachers(&recipe.teachers, problems);
    fit(recipe, methods, problems);
    plan::problems(recipe, problems);
    if recipe.cache.is_some() && recipe.data.views.is_none() && !problems.knows("data.views") {
        problems.add(
            "cache",
            "a cache needs a limited number of views".to_owned(),
            "add `views = 4` to `[data]`: epoch e then uses view e mod 4 of each sample".to_owned(),
        );
    }
    if recipe.train.early_stopping.is_some()
        && recipe.data.validation == Validation::Share(0.0)
        && !problems.knows("data.validation")
    {
        problems.add(
            "train.early_stopping",
            "early stopping needs a validation split, and `data.validation` is 0".to_owned(),
            "give `data.validation` a share above 0 or a split, or remove `early_stopping`"
                .to_owned(),
        );
    }
    if recipe.train.precision != Precision::F32 && recipe.train.device != Device::Cpu {
        let (precision, device) = (recipe.train.precision.name(), recipe.train.device.name());
        problems.add(
            "train.precision",
            format!(
                "`train.precision` is `{precision}`, but on `train.device = \"{device}\"` plain burn \
                 computes in f32"
            ),
            "set `train.device` to `cpu`, or remove `precision`".to_owned(),
        );
    }
    if !recipe.train.milestones.is_sorted_by(|earlier, later| earlier < later) {
        problems.add(
            "train.milestones",
            "`train.milestones` do not rise".to_owned(),
            "sort them, and name each epoch once".to_owned(),
        );
    }
}

fn normalisation(
    at: &str,
    mean: &Option<Vec<f32>>,
    std: &Option<Vec<f32>>,
    problems: &mut Problems,
) {
    // A value that could not be read is not one that was left out.
    if ["mean", "std"].iter().any(|key| problems.knows(&join(at, key))) {
        return;
    }
    let (key, what) = match (mean, std) {
        (None, None) => return,
        (Some(_), None) => ("mean", "has a `mean` but no `std`".to_owned()),
        (None, Some(_)) => ("std", "has a `std` but no `mean`".to_owned()),
        (Some(mean), Some(std)) if mean.len() == std.len() && !mean.is_empty() => return,
        (Some(mean), Some(std)) => {
            ("std", format!("has {} values in `mean` and {} in `std`", mean.len(), std.len()))
        }
    };
    problems.add(
        &join(at, key),
        format!("`{at}` {what}"),
        "give both, one value a channel, or neither".to_owned(),
    );
}

/// Something that is mixed, and teachers that can be asked about it.
fn mixtures(recipe: &Recipe, problems: &mut Problems) {
    let data = &recipe.data;
    if data.mixup.is_none() && data.cutmix.is_none() {
        if data.mix_probability != 1.0 {
            problems.add(
                "data.mix_probability",
                "`data.mix_probability` has no effect here: nothing is mixed".to_owned(),
                "add `mixup` or `cutmix`, or remove it".to_owned(),
            );
        }
        return;
    }
    for (index, _) in recipe.teachers.iter().enumerate().filter(|(_, own)| own.logits.is_some()) {
        let path = format!("teachers[{index}].logits");
        problems.add(
            &path,
            format!(
                "`{path}` is a table of samples, and cannot say anything of two that are mixed"
            ),
            "remove `data.mixup` and `data.cutmix`, or give this teacher as a network or ONNX file"
                .to_owned(),
        );
    }
}

/// One policy, and one crop of a range of areas.
fn augmentation(data: &Data, problems: &mut Problems) {
    if data.rand_augment.is_some() && data.trivial_augment {
        problems.add(
            "data.trivial_augment",
            "`data.trivial_augment` and `data.rand_augment` are two policies for one view"
                .to_owned(),
            "keep one of them".to_owned(),
        );
    }
    let path = "data.random_resized_crop";
    let Some([least, most]) = data.random_resized_crop.filter(|_| !problems.knows(path)) else {
        return;
    };
    if least > most {
        problems.add(
            path,
            format!("`{path}` goes from {least} down to {most}"),
            "give the smaller share of the area first".to_owned(),
        );
    }
    if data.crop_padding > 0 && !problems.knows("data.crop_padding") {
        problems.add(
            "data.crop_padding",
            format!("`data.crop_padding` and `{path}` are two crops of one view"),
            "keep one of them".to_owned(),
        );
    }
}

fn teachers(teachers: &[Teacher], problems: &mut Problems) {
    // Names become names of files, in caches and reports.
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    for (index, teacher) in teachers.iter().enumerate() {
        let at = format!("teachers[{index}]");
        normalisation(&at, &teacher.mean, &teacher.std, problems);
        source(&at, teacher, problems);
        heads(&at, teacher, problems);
        let name = shown(&teacher.name);
        if !teacher.name.chars().all(plain) || teacher.name.starts_with('.') {
            problems.add(
                &format!("{at}.name"),
                format!("teacher name `{name}` cannot be a file name"),
                "use letters, digits, `-`, `_`, `+` and `.`, and begin with another one than `.`"
                    .to_owned(),
            );
        }
        if let Some(first) = teachers[..index].iter().position(|other| other.name == teacher.name) {
            problems.add(
                &format!("{at}.name"),
                format!("teachers[{first}] and {at} are both named `{name}`"),
                "give each teacher a name of its own".to_owned(),
            );
        }
    }
}

/// Exactly one source, and no key of another one.
fn source(at: &str, teacher: &Teacher, problems: &mut Problems) {
    let key = |key: &str| join(at, key);
    let (network, weights) = (teacher.network.is_some(), teacher.weights.is_some());
    let given: Vec<&str> = [
        ("network", network),
        ("weights", weights),
        ("onnx", teacher.onnx.is_some()),
        ("logits", teacher.logits.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.then_some(name))
    .collect();
    // A source that could not be read is not one that was left out.
    if ["network", "weights", "onnx", "logits"].iter().any(|name| problems.knows(&key(name))) {
        return;
    }
    let add = |problems: &mut Problems, name: &str, missing: &str| {
        problems.add(
            &key(missing),
            format!("`{at}` has `{name}` but no `{missing}`"),
            format!("add `{missing} = …` to `[[teachers]]`: a network needs both"),
        );
    };
    match given.as_slice() {
        ["network", "weights"] | ["onnx"] | ["logits"] => {}
        [] => problems.add(
            at,
            format!("`{at}` says nothing about where its outputs come from"),
            "give `network` and `weights`, or `onnx`, or `logits`".to_owned(),
        ),
        ["network"] => add(problems, "network", "weights"),
        ["weights"] => add(problems, "weights", "network"),
        several => problems.add(
            &key(several[several.len() - 1]),
            format!("`{at}` has several sources: {}", quoted(several)),
            "keep `network` and `weights`, or `onnx`, or `logits`; a teacher has one source"
                .to_owned(),
        ),
    }
    let onnx = teacher.onnx.is_some();
    let table = teacher.logits.is_some();
    let (heads, head) = (teacher.heads.is_some(), teacher.head.is_some());
    let misplaced = [
        ("weights_key", teacher.weights_key.is_some() && !weights, "belongs to `weights`"),
        ("heads", heads && !network, "belongs to `network`"),
        ("head", head && !network, "belongs to `network`"),
        ("heads", heads && head, "belongs to a whole network, not to a `head`"),
        ("output", teacher.output.is_some() && !onnx, "belongs to `onnx`"),
        ("map", teacher.map.is_some() && !onnx, "belongs to `onnx`"),
        ("output_type", teacher.output_type.is_some() && network, "belongs to `onnx` or `logits`"),
        ("input_size", teacher.input_size.is_some() && table, "says nothing about a table"),
        ("mean", teacher.mean.is_some() && table, "says nothing about a table"),
        ("std", teacher.std.is_some() && table, "says nothing about a table"),
        ("tokenizer", teacher.tokenizer.is_some() && table, "says nothing about a table"),
        ("max_tokens", teacher.max_tokens.is_some() && table, "says nothing about a table"),
        ("precision", teacher.precision != Precision::F32 && table, "says nothing about a table"),
    ];
    for (name, _, why) in misplaced.into_iter().filter(|(_, misplaced, _)| *misplaced) {
        problems.add(
            &key(name),
            format!("`{}` has no effect here: it {why}", key(name)),
            "remove it".to_owned(),
        );
    }
}

/// A key into a file needs the file, and a network has one source.
fn student_source(student: &Student, problems: &mut Problems) {
    if student.onnx.is_some() && student.file.is_some() {
        problems.add(
            "student.file",
            "`student` has two networks: its `onnx` and its `file`".to_owned(),
            "keep `onnx` or `file`".to_owned(),
        );
        return;
    }
    let key = if student.file.is_some() { "file" } else { "onnx" };
    let file = student.own_file().map(|file| file.display().to_string());
    match file {
        Some(file) if file != student.network && !problems.knows("student.network") => problems
            .add(
                "student.network",
                format!(
                    "`student` has two networks: `{}` and its `{key}`",
                    shown(&student.network)
                ),
                format!("keep `network` or `{key}`"),
            ),
        Some(_) if student.file.is_some() && student.fresh.is_some() => problems.add(
            "student.fresh",
            "`student.fresh` has no effect here: a description has no weights".to_owned(),
            "remove it".to_owned(),
        ),
        None if student.fresh.is_some() && !problems.knows("student.onnx") => problems.add(
            "student.fresh",
            "`student.fresh` has no effect here: it belongs to `onnx`".to_owned(),
            "remove it".to_owned(),
        ),
        Some(_) if student.fresh.is_some() && student.weights.is_some() => problems.add(
            "student.fresh",
            "`student.fresh` has no effect beside `weights`".to_owned(),
            "remove one of them".to_owned(),
        ),
        _ => {}
    }
    if student.weights_key.is_some() && student.weights.is_none() {
        problems.add(
            "student.weights_key",
            "`student.weights_key` has no effect here: it belongs to `weights`".to_owned(),
            "remove it, or add `weights = …` to `[student]`".to_owned(),
        );
    }
    if student.from_layers.is_some() && student.weights.is_none() {
        problems.add(
            "student.from_layers",
            "`student.from_layers` has no effect here: it belongs to `weights`".to_owned(),
            "remove it, or add `weights = …` to `[student]`".to_owned(),
        );
    }
}

/// Heads by the names of feature taps, each once.
fn heads(at: &str, teacher: &Teacher, problems: &mut Problems) {
    let Some(Heads::At(taps)) = &teacher.heads else { return };
    let path = join(at, "heads");
    let hint = "give feature taps such as `[\"f1\", \"f2\"]` (`faculty networks`), or `\"all\"`";
    if taps.is_empty() {
        problems.add(&path, format!("`{path}` is empty"), hint.to_owned());
    }
    for (index, tap) in taps.iter().enumerate() {
        let name = shown(tap);
        if Heads::feature(tap).is_none() {
            problems.add(&path, format!("`{path}` has `{name}`, which is no tap"), hint.to_owned());
        } else if taps[..index].contains(tap) {
            let once = "name each tap once".to_owned();
            problems.add(&path, format!("`{path}` has `{name}` twice"), once);
        }
    }
}

/// Method, options and number of teachers.
fn fit(recipe: &Recipe, methods: &[MethodSpec], problems: &mut Problems) {
    let name = recipe.method.name.as_str();
    let Some(spec) = spec::find(methods, name) else {
        let names: Vec<&str> = methods.iter().map(|method| method.name).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("give one of {}", quoted(&names)),
        };
        problems.add("method.name", format!("unknown method `{}`", shown(name)), hint);
        return;
    };
    for option in recipe.method.unfit(spec) {
        problems.add(
            &format!("method.{}", option.key),
            format!("option `{}` of method `{name}` is missing or of another kind", option.key),
            "start from `Method::with_defaults`".to_owned(),
        );
    }
    for key in recipe.method.options.keys() {
        if !spec.options.iter().any(|option| option.key == key) {
            problems.add(
                &format!("method.{key}"),
                format!("method `{name}` has no option `{}`", shown(key)),
                "remove it".to_owned(),
            );
        }
    }
    terms::problems(&recipe.method, methods, problems);
    // Of "all" heads nobody knows the number before the network is built; a run checks again.
    let heads = |teacher: &Teacher| teacher.heads.as_ref().map_or(0, Heads::least);
    let count = recipe.teachers.iter().map(|teacher| 1 + heads(teacher)).sum();
    let terms = !recipe.method.terms.is_empty();
    if terms && recipe.plan.as_ref().is_some_and(|plan| plan.kind == PlanKind::Mutual) {
        problems.add(
            "method.terms",
            "peers exchange logits alone, which terms on maps cannot use".to_owned(),
            "remove `[[method.terms]]`".to_owned(),
        );
    } else if terms && count == 0 && recipe.plan.is_none() {
        problems.add(
            "teachers",
            "terms beside the method need at least 1 teacher, found 0".to_owned(),
            "add `[[teachers]]`, or remove `[[method.terms]]`".to_owned(),
        );
    }
    if !plan::method(recipe, spec, methods, problems) || spec.takes(count) {
        return;
    }
    let uses =
        |other: &&MethodSpec| other.takes(count) && (count == 0 || other.max_teachers != Some(0));
    let others: Vec<&str> = methods.iter().filter(uses).map(|other| other.name).collect();
    let least = spec.min_teachers;
    let (needs, fix) = if count < least {
        (format!("needs at least {}", of_teachers(least)), "add `[[teachers]]`")
    } else {
        (format!("takes at most {}", of_teachers(spec.max_teachers.unwrap_or(count))), "drop some")
    };
    let hint = if others.is_empty() {
        fix.to_owned()
    } else {
        format!("{fix}, or choose another method: {}", quoted(&others))
    };
    problems.add("teachers", format!("method `{name}` {needs}, found {count}"), hint);
}

fn of_teachers(count: usize) -> String {
    format!("{count} teacher{}", if count == 1 { "" } else { "s" })
}

/// Everything that is allowed, but probably not meant.
pub(super) fn warnings(recipe: &Recipe, methods: &[MethodSpec], warnings: &mut Problems) {
    let Recipe { teachers, train, .. } = recipe;
    let spec = spec::find(methods, &recipe.method.name);
    if spec.is_some_and(|spec| !recipe.method.uses_teachers(spec)) && !teachers.is_empty() {
        warnings.add(
            "teachers",
            format!("method `{}` does not use the teachers", recipe.method.name),
            "fine as a baseline; else choose another `method.name`".to_owned(),
        );
    }
    for (index, teacher) in teachers.iter().enumerate() {
        let file = |teacher: &Teacher| {
            let sources = [&teacher.weights, &teacher.onnx, &teacher.logits];
            sources.into_iter().find_map(Clone::clone)
        };
        let same = |other: &&Teacher| {
            file(other).is_some()
                && file(other) == file(teacher)
                && other.weights_key == teacher.weights_key
                && other.head == teacher.head
        };
        if let Some(first) = teachers[..index].iter().find(same) {
            let (key, what) = match (&teacher.weights, &teacher.onnx) {
                (Some(_), _) => ("weights", "the same weights"),
                (None, Some(_)) => ("onnx", "the same ONNX file"),
                (None, None) => ("logits", "the same table"),
            };
            warnings.add(
                &format!("teachers[{index}].{key}"),
                format!("teachers `{}` and `{}` have {what}", first.name, teacher.name),
                "a teacher that is named twice counts twice; name another file".to_owned(),
            );
        }
    }
    unused_keys(train, warnings);
    if !recipe.student.freeze.is_empty() && recipe.student.weights.is_none() {
        warnings.add(
            "student.freeze",
            "`student.freeze` holds weights that were drawn at random".to_owned(),
            "add `weights = …` to `[student]`, or remove `freeze`".to_owned(),
        );
    }
    plan::warnings(recipe, warnings);
    let late = train.milestones.iter().filter(|&&milestone| milestone >= train.epochs).count();
    if train.schedule == Schedule::Step && late > 0 {
        let (all, epochs) = (train.milestones.len(), train.epochs);
        warnings.add(
            "train.milestones",
            format!("{late} of {all} milestones are not before the last of {epochs} epochs"),
            "leave `train.milestones` out: by default they follow `train.epochs`".to_owned(),
        );
    }
    if train.warmup_epochs > 0.0 && train.warmup_epochs >= train.epochs as f64 {
        warnings.add(
            "train.warmup_epochs",
            format!("the warm-up lasts all {} epochs", train.epochs),
            "make `train.warmup_epochs` smaller than `train.epochs`".to_owned(),
        );
    }
    for own in warm_ups(recipe, methods) {
        if let Some(what) = own.too_long() {
            let hint = format!("lower `{}`, or raise `train.epochs`", own.key);
            warnings.add(&own.key, what, hint);
        }
    }
}

/// The warm-up of a method or of one of its terms.
#[derive(Debug)]
pub struct MethodWarmUp {
    key: String,
    method: String,
    /// Its epochs here, and by default.
    epochs: i64,
    default: i64,
    /// Of the run.
    run: usize,
    help: &'static str,
}

impl MethodWarmUp {
    fn of(at: &str, method: &Method, methods: &[MethodSpec], run: usize) -> Option<Self> {
        let spec = spec::find(methods, &method.name)?;
        let option = spec.options.iter().find(|own| own.key == WARM_UP)?;
        let OptionValue::Integer(default) = option.default else { return None };
        Some(Self {
            key: join(at, WARM_UP),
            method: method.name.clone(),
            epochs: method.integer(WARM_UP)?,
            default,
            run,
            help: option.help,
        })
    }

    fn lasts(&self, epochs: i64) -> bool {
        epochs > 0 && usize::try_from(epochs).is_ok_and(|epochs| epochs >= self.run)
    }

    /// What to say where it is not over before the last epoch.
    fn too_long(&self) -> Option<String> {
        let Self { method, epochs, run, help, .. } = self;
        let said =
            || format!("`{WARM_UP}` of `{method}` is {epochs}, `train.epochs` {run} ({help})");
        self.lasts(*epochs).then(said)
    }

    /// The same where it only is over since the recipe has a shorter one than the published.
    #[must_use]
    pub fn too_long_as_published(&self) -> Option<String> {
        let Self { method, epochs, default, run, help, .. } = self;
        let shorter = || {
            format!(
                "`{WARM_UP}` of `{method}` is {epochs} instead of {default}, `train.epochs` {run} \
                 ({help})"
            )
        };
        self.too_long().or_else(|| self.lasts(*default).then(shorter))
    }
}

/// Warm-ups of the method and of its terms.
#[must_use]
pub fn warm_ups(recipe: &Recipe, methods: &[MethodSpec]) -> Vec<MethodWarmUp> {
    let terms = recipe.method.terms.iter().enumerate();
    let terms = terms.map(|(at, term)| (format!("method.terms[{at}]"), &term.method));
    std::iter::once(("method".to_owned(), &recipe.method))
        .chain(terms)
        .filter_map(|(at, own)| MethodWarmUp::of(&at, own, methods, recipe.train.epochs))
        .collect()
}

/// Keys that were changed, but say something about another optimiser or schedule.
fn unused_keys(train: &Train, warnings: &mut Problems) {
    let plain = Train::default();
    let sgd = train.optimizer == Optimizer::Sgd;
    let step = train.schedule == Schedule::Step;
    let unused = [
        (!sgd && train.momentum != plain.momentum, "momentum", "optimizer", "sgd"),
        (!sgd && train.nesterov != plain.nesterov, "nesterov", "optimizer", "sgd"),
        (sgd && train.betas != plain.betas, "betas", "optimizer", "adamw"),
        (sgd && train.epsilon != plain.epsilon, "epsilon", "optimizer", "adamw"),
        (!step && train.milestones != milestones(train.epochs), "milestones", "schedule", "step"),
        (!step && train.decay != plain.decay, "decay", "schedule", "step"),
    ];
    for (_, key, chooser, choice) in unused.into_iter().filter(|(unused, ..)| *unused) {
        warnings.add(
            &format!("train.{key}"),
            format!("`train.{key}` has no effect here"),
            format!("it belongs to `train.{chooser} = \"{choice}\"`; remove it or choose that"),
        );
    }
    if sgd && train.nesterov && train.momentum == 0.0 {
        warnings.add(
            "train.momentum",
            "`train.nesterov` has no effect without momentum".to_owned(),
            "set `train.nesterov = false`, or a `train.momentum` above 0".to_owned(),
        );
    }
}
