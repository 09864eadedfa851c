//! Recipes, and what this program writes itself: checkpoints, caches, run folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, OnceLock};

use faculty_data::{Dataset, ImageSet, idx};
use faculty_distill::cache::plan;
use faculty_distill::recipe::Recipe;
use faculty_distill::{CheckedRun, Start, checkpoint, methods, open_dataset, train};
use faculty_nets::weights;
use faculty_report::Report;
use faculty_teachers::cache::{Manifest, verify};

use crate::input::{SEPARATOR, Scratch, files};

/// A tiny data set of three classes, 8 × 8 grey, and recipes over it.
pub(crate) struct Project(Scratch);

impl Project {
    pub(crate) fn new() -> Self {
        let folder = Scratch::new();
        let set = |count: usize, start: usize| {
            let pixels = (start..start + count * 64).map(|i| (i * i % 251) as u8).collect();
            let labels = (0..count).map(|i| (i % 3) as u32).collect();
            ImageSet::new(1, 8, 8, pixels, labels).expect("labels and pixels fit")
        };
        let classes = ["cat", "dog", "bird"].map(str::to_owned);
        idx::write(&folder.path().join("data"), &set(18, 0), Some(&set(6, 7)), &classes)
            .expect("a temporary folder can be written");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A recipe of one epoch; `more` is appended.
    fn recipe(&self, method: &str, more: &str) -> (Recipe, Dataset) {
        let text = format!(
            "[data]\npath = \"data\"\nviews = 1\nvalidation = 0.0\n[student]\n\
             network = \"resnet8x0.5\"\n[method]\nname = \"{method}\"\n\
             [train]\nepochs = 1\nbatch_size = 9\n{more}"
        );
        let name = self.path().join("recipe.toml");
        let loaded = Recipe::from_str(&text, name, &[], &methods::specs());
        let recipe = loaded.unwrap_or_else(|error| panic!("{error}")).recipe;
        let dataset = open_dataset(&recipe.data).expect("the data was just written");
        (recipe, dataset)
    }

    /// With a teacher of four classes: a table of logits.
    pub(crate) fn with_a_table(&self) -> (Recipe, Dataset) {
        let text = "[[teachers]]\nname = \"a\"\nlogits = \"logits.npy\"\nallow_weak = true\n";
        let (recipe, dataset) = self.recipe("kd", text);
        let parts = [Some(dataset.train()), dataset.test()];
        let ids: Vec<_> = parts.into_iter().flatten().flat_map(|set| set.ids()).collect();
        let shape = format!("({}, 4)", ids.len());
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        while !(header.len() + 11).is_multiple_of(64) {
            header.push(' ');
        }
        header.push('\n');
        let mut table = b"\x93NUMPY\x01\x00".to_vec();
        table.extend((header.len() as u16).to_le_bytes());
        table.extend(header.as_bytes());
        table.extend((0..4 * ids.len()).flat_map(|i| ((i * 7 % 5) as f32).to_le_bytes()));
        self.0.write("logits.npy", &table);
        let lines: String = ids.iter().map(|id| format!("{id}\n")).collect();
        self.0.write("logits.ids.txt", lines.as_bytes());
        (recipe, dataset)
    }

    /// Trains the recipe into the folder `run`.
    fn train(&self, recipe: &Recipe, dataset: &Dataset) -> PathBuf {
        let folder = self.path().join("run");
        let checked = CheckedRun::new(recipe, dataset).expect("the recipe is valid");
        train(checked, &folder, Start::Overwrite, &AtomicBool::new(false), &mut |_| {})
            .expect("it trains");
        folder
    }

    /// With a teacher that is a network, and its outputs in a cache.
    fn with_a_cache(&self) -> (Recipe, Dataset) {
        let (recipe, dataset) = self.recipe("ce", "");
        let student = self.train(&recipe, &dataset).join("student.safetensors");
        fs::rename(student, self.path().join("teacher.safetensors")).expect("both are files");
        let text = "[[teachers]]\nname = \"a\"\nnetwork = \"resnet8x0.5\"\n\
                    weights = \"teacher.safetensors\"\nallow_weak = true\n\
                    [cache]\npath = \"cache\"\n";
        let (recipe, dataset) = self.recipe("kd", text);
        plan(&recipe, &dataset)
            .and_then(|plan| Ok(plan.build(&AtomicBool::new(false), &mut |_| {})?))
            .expect("the cache can be built");
        (recipe, dataset)
    }
}

/// The text of a recipe, then arguments of `--set`, one a line.
pub(crate) fn recipe(bytes: &[u8]) -> bool {
    let [text, sets] = files(bytes);
    let (Ok(text), Ok(sets)) = (str::from_utf8(text), str::from_utf8(sets)) else { return false };
    let sets: Vec<String> = sets.lines().map(str::to_owned).collect();
    let specs = methods::specs();
    match Recipe::from_str(text, "/recipes/recipe.toml", &sets, &specs) {
        Ok(loaded) => {
            assert!(!loaded.explain().is_empty());
            // What a run folder keeps must be the same recipe.
            let written = loaded.recipe.to_toml().expect("a valid recipe can be written");
            let again = Recipe::from_str(&written, "/recipes/recipe.toml", &[], &specs);
            let again = again.unwrap_or_else(|error| panic!("{error}\n{written}"));
            assert_eq!(again.recipe, loaded.recipe, "{written}");
            true
        }
        Err(error) => {
            assert!(!error.problems.is_empty() && !error.to_string().is_empty());
            false
        }
    }
}

/// The header of a checkpoint, without its length; the values are zeros, the checksum is made to
/// fit. A run goes on from it.
pub(crate) fn checkpoint(header: &[u8]) -> bool {
    static PROJECT: OnceLock<(Project, Recipe, Dataset, PathBuf)> = OnceLock::new();
    let (project, recipe, dataset, run) = PROJECT.get_or_init(|| {
        let project = Project::new();
        let (recipe, dataset) = project.recipe("ce", "");
        let run = project.train(&recipe, &dataset);
        (project, recipe, dataset, run)
    });
    let Some(file) = padded(header) else { return false };
    let path = project.path().join("fuzzed.safetensors");
    let Ok((tensors, metadata)) = weights::parse_safetensors(&path, &file) else { return false };
    let mut metadata: std::collections::BTreeMap<_, _> = metadata.into_iter().collect();
    checkpoint::seal(&tensors, &mut metadata);
    let folder = Scratch::new();
    fs::create_dir(folder.path().join("checkpoints")).expect("a temporary folder can be written");
    for name in ["recipe.toml", "metrics.jsonl"] {
        fs::copy(run.join(name), folder.path().join(name)).expect("the run wrote it");
    }
    let last = folder.path().join("checkpoints/last.safetensors");
    if weights::write(&last, &tensors, &metadata).is_err() {
        return false;
    }
    let checked = CheckedRun::new(recipe, dataset).expect("the recipe is valid");
    // Its metrics may be longer or shorter by some digits of a time, which is a warning and no error.
    let stop = AtomicBool::new(false);
    train(checked, folder.path(), Start::Resume, &stop, &mut |_| {}).is_ok()
}

/// A safetensors file with this header and as many zeros as it asks for, if those are few.
fn padded(header: &[u8]) -> Option<Vec<u8>> {
    const MOST: u64 = 4 << 20;
    let tensors: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(header).ok()?;
    let ends = tensors.values().filter_map(|own| own.get("data_offsets")?.get(1)?.as_u64());
    let length = ends.max().unwrap_or(0);
    let zeros = usize::try_from(length).ok().filter(|_| length <= MOST)?;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.resize(file.len() + zeros, 0);
    Some(file)
}

pub(crate) fn checkpoints() -> Vec<Vec<u8>> {
    let project = Project::new();
    let (recipe, dataset) = project.recipe("ce", "");
    let path = project.train(&recipe, &dataset).join("checkpoints/last.safetensors");
    let file = fs::read(path).expect("the run wrote it");
    let (length, rest) = file.split_first_chunk().expect("a safetensors file has a header");
    vec![rest[..u64::from_le_bytes(*length) as usize].to_vec()]
}

/// The first byte says which file of a cache is replaced by the rest; the manifest gets a checksum
/// that fits.
pub(crate) fn cache(bytes: &[u8]) -> bool {
    static PROJECT: OnceLock<Mutex<(Project, Recipe, Dataset)>> = OnceLock::new();
    let project = PROJECT.get_or_init(|| {
        let project = Project::new();
        let (recipe, dataset) = project.with_a_cache();
        Mutex::new((project, recipe, dataset))
    });
    let own = project.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (project, recipe, dataset) = &*own;
    let Some((kind, content)) = bytes.split_first() else { return false };
    let folder = project.path().join("cache");
    let Some(path) = cache_paths(&folder).into_iter().nth((kind - kind.min(&b'0')).into()) else {
        return false;
    };
    let sealed = (path.ends_with("manifest.json"))
        .then(|| serde_json::from_slice::<Manifest>(content).ok())
        .flatten()
        .map(|manifest| manifest.to_bytes());
    let before = fs::read(&path).expect("the cache is complete");
    fs::write(&path, sealed.as_deref().unwrap_or(content)).expect("a temporary file");
    let read = plan(recipe, dataset).and_then(|plan| Ok(verify(&plan, 4, 0)?));
    let used = CheckedRun::new(recipe, dataset).is_ok();
    fs::write(&path, before).expect("a temporary file can be written");
    read.is_ok_and(|found| found.different == 0) && used
}

/// The files of a cache by name.
fn cache_paths(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the cache is there").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.ends_with("lock") => {}
                false => paths.push(path),
            }
        }
    }
    paths.sort();
    paths
}

pub(crate) fn cache_files() -> Vec<Vec<u8>> {
    let project = Project::new();
    project.with_a_cache();
    let paths = cache_paths(&project.path().join("cache"));
    let file = |(at, path): (usize, &PathBuf)| {
        let content = fs::read(path).expect("the cache is complete");
        [&[b'0' + at as u8][..], &content].concat()
    };
    paths.iter().enumerate().map(file).collect()
}

/// Files of a run folder or of a comparison's folder, from which a report is made.
const RUN_FILES: [&str; 4] = ["card.json", "metrics.jsonl", "report.json", "comparison.json"];

/// Those files, in this order.
pub(crate) fn report(bytes: &[u8]) -> bool {
    let folder = Scratch::new();
    let parts: [&[u8]; RUN_FILES.len()] = files(bytes);
    for (name, content) in RUN_FILES.into_iter().zip(parts) {
        if !content.is_empty() {
            folder.write(name, content);
        }
    }
    let read = Report::load(&[folder.path().to_owned()]);
    if let Ok(report) = &read {
        let page = faculty_report::html::page(report);
        assert!(page.contains("</html>"));
        let _ = faculty_report::text::view(report, 80);
        let _ = (faculty_report::tables::all(report), faculty_report::charts::all(report));
    }
    read.is_ok_and(|report| report.notes.is_empty())
}

pub(crate) fn run_folders() -> Vec<Vec<u8>> {
    let project = Project::new();
    let (mut recipe, dataset) = project.with_a_table();
    recipe.teachers[0].classes = Some(faculty_distill::recipe::Classes::Names(
        ["cat", "dog", "bird", "-"].map(str::to_owned).into(),
    ));
    let run = project.train(&recipe, &dataset);
    let parts = RUN_FILES.map(|name| fs::read(run.join(name)).unwrap_or_default());
    vec![parts.join(SEPARATOR)]
}
