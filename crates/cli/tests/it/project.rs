//! A temporary project: a small data set, recipes, and the program run in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use faculty_data::{ImageSet, idx};

/// What the program did.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    command: String,
}

impl Ran {
    /// Fails with everything that is known, unless the exit code is `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}\n{}", self.command, self.stdout, self.stderr);
        self
    }

    /// The last line of stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", self.command))
    }
}

/// Sends a signal, `-INT` for one.
#[cfg(unix)]
pub(crate) fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

/// Whether the tests were started with Ctrl-C ignored, as a shell starts what runs in the background.
/// Programs inherit that and keep it, so that there is nothing to test then.
#[cfg(unix)]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn ignores_interrupts(test: &str) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // Bit 1 is SIGINT, which is signal 2.
    let ignored = mask >> 1 & 1 == 1;
    if ignored {
        eprintln!("{test} is skipped: SIGINT is ignored here, start the tests in the foreground");
    }
    ignored
}

/// A folder that goes away with its test.
pub(crate) struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// With the data set `bands` (three classes, 8×8 grey) and the recipe `recipe.toml`.
    pub(crate) fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        let classes = ["top", "middle", "bottom"].map(str::to_owned);
        let (train, test) = (bands(240, 1), bands(60, 2));
        idx::write(&project.path("bands"), &train, Some(&test), &classes).unwrap();
        project.write("recipe.toml", recipe("ce", ""));
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Runs the program here.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run_in(self.folder.path(), arguments)
    }

    /// A trained network, as `NAME/student.safetensors`.
    pub(crate) fn train(&self, name: &str, sets: &[&str]) {
        let mut arguments = vec!["train", "recipe.toml", "--output", name];
        for set in sets {
            arguments.extend(["--set", set]);
        }
        self.run(&arguments).expect(0);
    }

    /// All files below the project, to see that nothing was written.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, files) } else { files.push(path) }
            }
        }
        let mut files = Vec::new();
        walk(self.folder.path(), &mut files);
        files.sort();
        files
    }
}

/// Runs the program in `folder`.
pub(crate) fn run_in(folder: &Path, arguments: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_faculty"))
        .args(arguments)
        // Wide enough that no line of a table is broken.
        .env("COLUMNS", "400")
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: text(stdout),
        stderr: text(stderr),
        command: format!("faculty {}", arguments.join(" ")),
    }
}

/// A recipe over `bands`; `more` is appended.
pub(crate) fn recipe(method: &str, more: &str) -> String {
    format!(
        "seed = 3\n[data]\npath = \"bands\"\ncrop_padding = 1\n[student]\n\
         network = \"resnet8x0.5\"\n[method]\nname = \"{method}\"\n\
         [train]\nepochs = 2\nbatch_size = 32\n{more}"
    )
}

/// A bright band in the class's third of the rows, under noise.
pub(crate) fn bands(count: usize, seed: u64) -> ImageSet {
    const SIDE: usize = 8;
    let labels: Vec<u32> = (0..count).map(|i| (i % 3) as u32).collect();
    let pixels = (0..count * SIDE * SIDE)
        .map(|i| {
            let (image, pixel) = (i / (SIDE * SIDE), i % (SIDE * SIDE));
            let mixed = (i as u64 + seed * 7919).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let noise = (mixed ^ (mixed >> 29)) >> 40 & 127;
            let band = pixel / SIDE * 3 / SIDE == image % 3;
            (noise + if band { 100 } else { 0 }) as u8
        })
        .collect();
    ImageSet::new(1, SIDE, SIDE, pixels, labels).unwrap()
}

/// Two teachers of a recipe, as `Project::train` leaves them in `a` and `b`.
pub(crate) const TEACHERS: &str = "
[[teachers]]
name = \"a\"
network = \"resnet8x0.5\"
weights = \"a/student.safetensors\"
allow_weak = true

[[teachers]]
name = \"b\"
network = \"resnet8x0.5\"
weights = \"b/student.safetensors\"
allow_weak = true
";
