//! `cargo xtask mpi [--kills N]`: ranks as processes of MPI. The operations, a rank that panics or fails,
//! a training of two ranks against one process, and ranks that are killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time from the death of a rank to the end of all.
const END: Duration = Duration::from_secs(10);

/// Whether there is an MPI to test with; if not, what is missing.
pub(crate) fn missing() -> Option<&'static str> {
    let answers = |program: &str, argument: &str| {
        let mut run = Command::new(program);
        run.arg(argument).stdout(Stdio::null()).stderr(Stdio::null());
        run.status().is_ok_and(|status| status.success())
    };
    if !answers("mpirun", "--version") {
        return Some("there is no `mpirun`");
    }
    (!answers("mpicc", "--version")).then_some("there is no `mpicc`, which knows the headers")
}

/// What is said of it all, or what went wrong.
pub(crate) fn check(root: &Path, kills: usize) -> Result<String, String> {
    operations(root)?;
    let program = build(root)?;
    let work = Work::new(root, program)?;
    let text = work.training()?;
    Ok(format!("{text}\n{}", work.killed(kills)?))
}

/// `mpirun` on this machine, with these ranks, whatever its cores and whoever starts it.
fn mpirun(ranks: usize) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["-n", &ranks.to_string()]);
    for (name, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("OMPI_MCA_hwloc_base_binding_policy", "none"),
        ("OMPI_MCA_btl_vader_single_copy_mechanism", "none"),
        // Ranks that wait let others work: there are more of them than cores.
        ("OMPI_MCA_mpi_yield_when_idle", "1"),
        ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
    ] {
        command.env(name, value);
    }
    command
}

fn run(command: &mut Command) -> Result<Output, String> {
    command.output().map_err(|error| format!("{command:?}: {error}"))
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|own| String::from_utf8_lossy(own));
    format!("{out}{err}")
}

/// Every operation on one to four ranks; then ranks that end early.
fn operations(root: &Path) -> Result<(), String> {
    let cargo = ["test", "--package", "faculty-mpi", "--features", "mpi", "--no-run"];
    let output = run(Command::new(env!("CARGO")).args(cargo).current_dir(root))?;
    let text = said(&output);
    // `Executable tests/ranks.rs (target/debug/deps/ranks-0123)`
    let name = text.lines().find(|line| line.contains("tests/ranks.rs"));
    let name = name.and_then(|line| line.split_once('(')?.1.strip_suffix(')'));
    let program = name.map(|name| root.join(name)).ok_or(text)?;
    for ranks in [1, 2, 3, 4] {
        let output = run(mpirun(ranks).arg(&program))?;
        let text = said(&output);
        if !output.status.success() || !text.contains("all operations as they should be") {
            return Err(format!("{ranks} ranks: {text}"));
        }
    }
    for (what, message, code) in
        [("panic", "rank 2 of 3: panic: ", 101), ("fail", "rank 2 of 3: error: no such file", 2)]
    {
        let started = Instant::now();
        let output = run(mpirun(3).arg(&program).arg(what))?;
        let text = said(&output);
        if !text.contains(message) || output.status.code() != Some(code) {
            return Err(format!("`{what}`: {:?}, {text}", output.status));
        }
        if started.elapsed() > END {
            return Err(format!("`{what}`: all ended after {:?} only", started.elapsed()));
        }
    }
    Ok(())
}

/// The program with MPI, in a folder of its own so that the one without stays as it is.
fn build(root: &Path) -> Result<PathBuf, String> {
    let arguments = ["build", "--release", "--package", "faculty", "--features", "mpi"];
    let output = run(Command::new(env!("CARGO")).args(arguments).current_dir(root))?;
    if !output.status.success() {
        return Err(said(&output));
    }
    let built = root.join("target/release/faculty");
    let folder = root.join("target/mpi");
    let program = folder.join("faculty");
    let copied = fs::create_dir_all(&folder).and_then(|()| fs::copy(&built, &program));
    copied.map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(program)
}

/// A small training, and where its runs go.
struct Work {
    program: PathBuf,
    folder: PathBuf,
    recipe: PathBuf,
}

impl Work {
    fn new(root: &Path, program: PathBuf) -> Result<Self, String> {
        let demo = root.join("crates/cli/demo");
        let demo = demo.canonicalize().map_err(|error| format!("{}: {error}", demo.display()))?;
        let folder = root.join("target/mpi/runs");
        let _ = fs::remove_dir_all(&folder);
        let recipe = folder.join("recipe.toml");
        let at = |name: &str| format!("\"{}", demo.join(name).display());
        let text = fs::read_to_string(demo.join("distill.toml"))
            .map_err(|error| format!("{}: {error}", demo.display()))?
            .replace("\"fashion-mnist", &at("fashion-mnist"))
            .replace("\"teachers/", &(at("teachers") + "/"))
            .replace("[data]", "[data]\ntrain_samples = 1500")
            .replace("epochs = 6", "epochs = 3");
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&recipe, text));
        written.map_err(|error| format!("{}: {error}", recipe.display()))?;
        Ok(Self { program, folder, recipe })
    }

    /// `faculty distill` into a folder of this name, by `ranks` ranks of MPI or as one process.
    fn command(&self, ranks: Option<usize>, name: &str, more: &[&str]) -> Command {
        let mut command = match ranks {
            Some(ranks) => mpirun(ranks),
            None => Command::new(&self.program),
        };
        if ranks.is_some() {
            command.arg(&self.program);
        }
        command.arg("distill").arg(&self.recipe).arg("--output").arg(self.folder.join(name));
        command.args(["--no-report", "--set", "train.checkpoint_minutes=0.005"]).args(more);
        command
    }

    fn run(&self, ranks: Option<usize>, name: &str, more: &[&str]) -> Result<String, String> {
        let mut command = self.command(ranks, name, more);
        let output = run(&mut command)?;
        let text = said(&output);
        if output.status.success() { Ok(text) } else { Err(format!("{command:?}: {text}")) }
    }

    fn student(&self, name: &str) -> Result<Vec<u8>, String> {
        let path = self.folder.join(name).join("student.safetensors");
        fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Accuracy on the test split, percent.
    fn accuracy(&self, name: &str) -> Result<f64, String> {
        let path = self.folder.join(name).join("card.json");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        // The first one behind `"last"` and there behind `"test"`.
        let behind = |text: &'_ str, word: &str| text.split_once(word).map(|own| own.1.to_owned());
        let number = behind(&text, "\"last\"").and_then(|own| behind(&own, "\"test\""));
        let number = number.and_then(|own| behind(&own, "\"top1\":"));
        let number = number.and_then(|own| own.split([',', '}']).next()?.trim().parse().ok());
        number.ok_or_else(|| format!("{}: no accuracy", path.display()))
    }

    /// Two ranks twice, and one process: the same bytes, and nearly the same student.
    fn training(&self) -> Result<String, String> {
        self.run(None, "one", &[])?;
        let text = self.run(Some(2), "two", &[])?;
        self.run(Some(2), "again", &[])?;
        if self.student("two")? != self.student("again")? {
            return Err("two ranks give other bytes the second time".to_owned());
        }
        let copies = text.lines().filter(|line| line.starts_with("epoch 3/3")).count();
        let [one, two] = [self.accuracy("one")?, self.accuracy("two")?];
        if (one - two).abs() > 3.0 || copies > 1 {
            return Err(format!("one process {one} %, two {two} %:\n{text}"));
        }
        Ok(format!("one process {one:.2} %, two ranks {two:.2} %, the same bytes twice"))
    }

    /// Kills one of two ranks somewhere in the training, so many times; the run then goes on.
    fn killed(&self, kills: usize) -> Result<String, String> {
        let started = Instant::now();
        self.run(Some(2), "timed", &[])?;
        let whole = started.elapsed();
        let (mut longest, mut in_the_middle) = (Duration::ZERO, 0);
        for kill in 0..kills {
            let name = format!("killed{kill}");
            let share = 0.15 + 0.7 * (kill as f64 + 0.5) / kills as f64;
            let mut command = self.command(Some(2), &name, &[]);
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let mut child = child.map_err(|error| format!("{command:?}: {error}"))?;
            thread::sleep(whole.mul_f64(share));
            let output = self.folder.join(&name);
            let ranks = processes_with(&format!("{}\0", output.display()), &self.program);
            let victim = ranks.get(kill % 2);
            let died = Instant::now();
            if let Some(id) = victim {
                run(Command::new("kill").args(["-9", id]))?;
            }
            loop {
                let ended = child.try_wait().map_err(|error| error.to_string())?.is_some();
                if ended
                    && processes_with(&format!("{}\0", output.display()), &self.program).is_empty()
                {
                    break;
                }
                if died.elapsed() > END {
                    return Err(format!("{name}: ranks are still there after {END:?}"));
                }
                thread::sleep(Duration::from_millis(20));
            }
            longest = longest.max(died.elapsed());
            in_the_middle += usize::from(!output.join("card.json").exists());
            self.run(Some(2), &name, &["--resume"])?;
            if self.student(&name)? != self.student("two")? {
                return Err(format!("{name}: the resumed run has other bytes"));
            }
        }
        Ok(format!(
            "{kills} times a rank of two was killed, {in_the_middle} times before the end: all ended \
             within {:.1} s, the resumed runs have the bytes of the undisturbed one",
            longest.as_secs_f64()
        ))
    }
}

/// Numbers of the processes of a program that have this in their command line.
fn processes_with(text: &str, program: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_one = |entry: &fs::DirEntry| {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        command.starts_with(&*program.to_string_lossy()) && command.contains(text)
    };
    let mut found: Vec<String> =
        entries.filter(is_one).map(|own| own.file_name().to_string_lossy().into_owned()).collect();
    found.sort();
    found
}
