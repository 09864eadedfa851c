//! `cargo xtask soak`: the real program under random kills and faults for many minutes; in the end
//! every student must be the undisturbed run's.
//!
//! The data is the demo's. Kills are SIGKILL, SIGINT and SIGTERM at random moments; faults are a limit
//! on the size of files (a disk that fills up in the middle of one), a last checkpoint that is cut
//! short or loses a bit, one that vanishes, leftovers of a killed process, and a damaged file of the
//! cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Plain, weighing, and with trained parts.
const METHODS: [&str; 3] = ["ce", "ca-mkd", "amtml-kd"];

/// What is done to a run before it goes on.
const FAULTS: [&str; 8] = [
    "SIGKILL",
    "SIGINT",
    "SIGTERM",
    "file size limit",
    "last checkpoint cut short",
    "a bit of the last checkpoint",
    "last checkpoint removed",
    "a cache file damaged",
];

/// Soaks for so many minutes; the log goes to stdout as Markdown.
pub(crate) fn soak(root: &Path, minutes: f64) -> Result<String, String> {
    let folder = std::env::temp_dir().join(format!("faculty-soak-{}", std::process::id()));
    let program = root.join("target/release/faculty");
    let soaked = Soak::new(root, &program, &folder).and_then(|mut soak| {
        let until = Instant::now() + Duration::from_secs_f64(60.0 * minutes);
        while Instant::now() < until {
            soak.round()?;
        }
        Ok(soak.log(minutes))
    });
    // After a failure the folder stays, to look into.
    soaked.inspect(|_| drop(fs::remove_dir_all(&folder)))
}

struct Soak {
    program: PathBuf,
    folder: PathBuf,
    random: u64,
    /// Per method: time and result of the undisturbed run.
    expected: Vec<(Duration, RunResult)>,
    rounds: Vec<usize>,
    faults: [usize; FAULTS.len()],
}

/// Bytes of the student, and metrics and card without times.
#[derive(PartialEq, Eq)]
struct RunResult {
    student: Vec<u8>,
    metrics: String,
    card: String,
}

impl Soak {
    fn new(root: &Path, program: &Path, folder: &Path) -> Result<Self, String> {
        copy(&root.join("crates/cli/demo"), &folder.join("demo"))?;
        let mut soak = Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            random: 0x2545_f491_4f6c_dd1d,
            expected: Vec::new(),
            rounds: vec![0; METHODS.len()],
            faults: [0; FAULTS.len()],
        };
        for method in METHODS {
            soak.clear();
            let began = Instant::now();
            let arguments = soak.arguments(method, false);
            soak.undisturbed(&arguments)?;
            soak.expected.push((began.elapsed(), soak.result()?));
        }
        Ok(soak)
    }

    fn arguments(&self, method: &str, resume: bool) -> Vec<String> {
        let name = format!("method.name={method}");
        let [output, cache] = ["run", "cache"].map(|own| self.folder.join(own));
        let (output, cache) = (output.display().to_string(), cache.display().to_string());
        let cache = format!("cache.path={cache}");
        let command = if method == "ce" { "train" } else { "distill" };
        let mut all = vec![command, "demo/distill.toml", "--output", &output, "--set", &name];
        // Short runs, so that there are many of them.
        let sets = ["train.epochs=3", "data.views=2", "data.train_samples=1500"];
        let sets = [&sets[..], &["train.checkpoint_minutes=0.002"]].concat();
        all.extend(sets.iter().flat_map(|set| ["--set", set]));
        if method != "ce" {
            all.extend(["--set", &cache]);
        }
        all.extend(resume.then_some("--resume"));
        all.into_iter().map(str::to_owned).collect()
    }

    /// One run with faults until it ends, compared with the undisturbed one.
    fn round(&mut self) -> Result<(), String> {
        let at = self.next(METHODS.len());
        let method = METHODS[at];
        self.clear();
        let whole = self.expected[at].0;
        // The last part is left alone.
        for part in 0.. {
            let resume = self.run().join("recipe.toml").exists();
            let arguments = self.arguments(method, resume);
            let fault = if part < 5 { Some(self.next(FAULTS.len())) } else { None };
            let limit = (fault == Some(3)).then(|| 64 * (1 + self.next(40)));
            let child = self.start(&arguments, limit)?;
            if let Some(fault) = fault {
                self.faults[fault] += 1;
                self.disturb(fault, &child, whole)?;
            }
            let output = child.wait_with_output().map_err(|e| format!("waiting: {e}"))?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => break,
                // Killed, stopped, or a fault of a file that was reported.
                None | Some(130 | 2) if fault.is_some() => {
                    if output.status.code() == Some(2) && !text.contains("hint: ") {
                        return Err(format!("{method}: no hint:\n{text}"));
                    }
                    self.damage(fault.unwrap_or(0))?;
                }
                // What a fault of an earlier part left: a file of the cache has to be built again.
                Some(2) if text.contains("delete that file") && part < 40 => self.fix(&text)?,
                code => return Err(format!("{method}: ended with {code:?}:\n{text}")),
            }
        }
        if self.result()? != self.expected[at].1 {
            let folder = self.folder.display();
            return Err(format!(
                "{method}: another result than the undisturbed run's, in {folder}"
            ));
        }
        self.rounds[at] += 1;
        Ok(())
    }

    /// Ends the child, soon.
    fn disturb(&mut self, fault: usize, child: &Child, whole: Duration) -> Result<(), String> {
        let share = self.next(1000) as f64 / 1000.0;
        let name = match fault {
            1 => "-INT",
            2 => "-TERM",
            // It ends by itself.
            3 => return Ok(()),
            _ => "-KILL",
        };
        std::thread::sleep(whole.mul_f64(0.6 * share));
        let id = child.id().to_string();
        // One that is through already is no error.
        let sent = Command::new("kill").args([name, &id]).stderr(Stdio::null()).status();
        sent.map(drop).map_err(|e| format!("kill: {e}"))
    }

    /// Damages what a killed run left.
    fn damage(&mut self, fault: usize) -> Result<(), String> {
        let last = self.run().join("checkpoints/last.safetensors");
        // Without the one before it nothing is left to go on from: that is no fault to recover.
        if !last.with_file_name("previous.safetensors").exists() && fault != 7 {
            return Ok(());
        }
        let path = match fault {
            4..=6 if last.exists() => last,
            7 => match self.cache_files().as_slice() {
                [] => return Ok(()),
                files => files[(self.random % files.len() as u64) as usize].clone(),
            },
            _ => return Ok(()),
        };
        let failed = |e| format!("{}: {e}", path.display());
        let mut bytes = fs::read(&path).map_err(failed)?;
        let place = self.next(bytes.len().max(1));
        match fault {
            4 => bytes.truncate(place),
            6 => return fs::remove_file(&path).map_err(failed),
            _ => bytes[place] ^= 1 << (place % 8),
        }
        fs::write(&path, bytes).map_err(failed)
    }

    /// Does what the hint of a damaged cache file says: deletes it.
    fn fix(&self, text: &str) -> Result<(), String> {
        // Other lines name the folder of the cache.
        let named = text.split('`').map(|own| self.folder.join(own));
        let path = named.rev().find(|path| path.is_file());
        let path = path.ok_or_else(|| format!("no file is named:\n{text}"))?;
        fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn cache_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.join("cache/teachers")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|own| own == "safetensors") {
                    files.push(path);
                }
            }
        }
        files.sort();
        files
    }

    fn result(&self) -> Result<RunResult, String> {
        let read = |name: &str| {
            let path = self.run().join(name);
            fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))
        };
        let text = |name: &str| Ok::<_, String>(timeless(&String::from_utf8_lossy(&read(name)?)));
        Ok(RunResult {
            student: read("student.safetensors")?,
            metrics: text("metrics.jsonl")?,
            card: text("card.json")?,
        })
    }

    fn run(&self) -> PathBuf {
        self.folder.join("run")
    }

    fn clear(&self) {
        for name in ["run", "cache"] {
            let _ = fs::remove_dir_all(self.folder.join(name));
        }
    }

    /// Starts the program, with a limit in KiB on every file that it writes.
    fn start(&self, arguments: &[String], limit: Option<usize>) -> Result<Child, String> {
        // A limit that is met is an error of the write, since the signal is ignored.
        let shell = match limit {
            Some(limit) => format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\""),
            None => "exec \"$0\" \"$@\"".to_owned(),
        };
        Command::new("bash")
            .args(["-c", &shell])
            .arg(&self.program)
            .args(arguments)
            .current_dir(&self.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", self.program.display()))
    }

    fn undisturbed(&self, arguments: &[String]) -> Result<(), String> {
        let output = self.start(arguments, None)?.wait_with_output();
        let output = output.map_err(|e| format!("waiting: {e}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// A number below `below`, the same in every soak.
    fn next(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ((self.random >> 20) % below as u64) as usize
    }

    fn log(&self, minutes: f64) -> String {
        let mut text =
            format!("{minutes} minutes, every student, metric and card as undisturbed.\n");
        text += "\n| runs | equal to the undisturbed run |\n|---|---:|\n";
        for (method, rounds) in METHODS.iter().zip(&self.rounds) {
            text += &format!("| {method} | {rounds} |\n");
        }
        text += "\n| fault | times |\n|---|---:|\n";
        for (fault, times) in FAULTS.iter().zip(&self.faults) {
            text += &format!("| {fault} | {times} |\n");
        }
        text
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |e| format!("{}: {e}", from.display());
    if !from.is_dir() {
        return fs::copy(from, to).map(drop).map_err(failed);
    }
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// JSON text without the values that depend on the clock.
fn timeless(text: &str) -> String {
    let mut kept = String::new();
    for part in text.split_inclusive([',', '{', '}', '\n']) {
        let key = part.trim_start().split(':').next().unwrap_or_default().trim_matches('"');
        if !key.ends_with("seconds") && key != "images_per_second" {
            kept += part;
        }
    }
    kept
}
