//! `faculty watch` beside a run that trains.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::project::Project;
#[cfg(unix)]
use crate::project::{ignores_interrupts, signal};

mod browser;

/// The program at work; ends with its test.
struct Watching {
    child: Child,
    /// `http://127.0.0.1:PORT/TOKEN/`
    address: String,
}

impl Watching {
    fn start(folder: &Path) -> Self {
        let mut child = spawn(folder, &["watch", "runs"]);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut address = String::new();
        out.read_line(&mut address).unwrap();
        assert!(address.starts_with("http://127.0.0.1:"), "{address:?}");
        Self { child, address: address.trim().to_owned() }
    }

    /// `127.0.0.1:PORT` and `/TOKEN/`.
    fn parts(&self) -> (&str, &str) {
        let rest = self.address.strip_prefix("http://").unwrap();
        rest.split_at(rest.find('/').unwrap())
    }

    /// Sends bytes as they are; gives the whole answer.
    fn send(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.parts().0).unwrap();
        // A long one is answered, and closed, before it has been read to its end.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn status(&self, method: &str, target: &str, host: &str) -> String {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = self.send(request.as_bytes());
        answer.lines().next().unwrap_or_default().to_owned()
    }

    fn get(&self, name: &str) -> String {
        let (host, prefix) = self.parts();
        let request = format!("GET {prefix}{name} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = self.send(request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{name}: {head}");
        body.to_owned()
    }

    fn runs(&self) -> Vec<Value> {
        let answer: Value = serde_json::from_str(&self.get("runs.json")).unwrap();
        answer["runs"].as_array().unwrap().clone()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_faculty"))
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A run of 2000 epochs in `runs/a`; ends with its test.
struct Training {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Training {
    fn start(project: &Project) -> Self {
        let long = ["train", "recipe.toml", "--output", "runs/a", "--set", "train.epochs=2000"];
        let mut child = spawn(&project.path("."), &[&long[..], &["--json"]].concat());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until it has written down this epoch.
    fn wait_for(&mut self, epoch: u64) {
        for line in &mut self.lines {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if event["event"] == "epoch" && event["record"]["epoch"].as_u64().unwrap() >= epoch {
                return;
            }
        }
        panic!("the run ended before epoch {epoch}");
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn epoch(run: &Value) -> u64 {
    run["epoch"].as_u64().unwrap()
}

/// Whether the system tells who holds a lock.
fn tells_locks() -> bool {
    Path::new("/proc/locks").exists()
}

#[test]
fn a_run_is_followed_from_its_first_epoch_to_its_end() {
    let project = Project::new();
    std::fs::create_dir(project.path("runs")).unwrap();
    let watching = Watching::start(&project.path("."));
    assert_eq!(watching.runs(), Vec::<Value>::new());

    let mut training = Training::start(&project);
    training.wait_for(1);
    let first = watching.runs()[0].clone();
    assert!(epoch(&first) >= 1, "{first}");
    assert_eq!((&first["name"], &first["epochs"]), (&"a".into(), &2000.into()));
    if tells_locks() {
        assert_eq!(first["state"], "running", "{first}");
        assert!(first["eta_seconds"].as_f64().unwrap() >= 0.0, "{first}");
    }
    let more = epoch(&first) + 2;
    training.wait_for(more);
    let later = watching.runs()[0].clone();
    assert!(epoch(&later) >= more, "{later}");
    assert_ne!(first["version"], later["version"]);
    assert!(later["best"]["top1"].as_f64().unwrap() >= first["best"]["top1"].as_f64().unwrap());
    let curves = watching.get(&format!("curves.json?run={}", later["id"].as_str().unwrap()));
    let curves: Value = serde_json::from_str(&curves).unwrap();
    let titles: Vec<&str> = curves["charts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| own["title"].as_str().unwrap())
        .collect();
    assert!(titles.contains(&"Training loss"), "{titles:?}");
    assert!(titles.contains(&"Accuracy over the epochs"), "{titles:?}");

    // Killed, it is no longer at work; gone on with, it ends.
    drop(training);
    let stopped = watching.runs()[0].clone();
    if tells_locks() {
        assert_eq!((&stopped["state"], &stopped["eta_seconds"]), (&"stopped".into(), &Value::Null));
    }
    let last = format!("train.epochs={}", epoch(&stopped) + 2);
    let go_on = ["train", "recipe.toml", "--output", "runs/a", "--resume-with", &last];
    project.run(&go_on).expect(0);
    let end = watching.runs()[0].clone();
    assert_eq!(end["state"], "finished", "{end}");
    assert_eq!(epoch(&end), epoch(&stopped) + 2, "{end}");
    assert!(end["test"].is_number() && end["id"] == first["id"], "{end}");
    assert_eq!(end["notes"], serde_json::json!([]));
}

#[test]
fn only_whoever_has_the_address_sees_anything_and_nothing_is_written() {
    let project = Project::new();
    project.train("runs/a", &["train.epochs=1"]);
    let files = || -> Vec<_> {
        let times = |path: std::path::PathBuf| {
            let own = std::fs::metadata(&path).unwrap();
            (path, own.len(), own.modified().unwrap())
        };
        project.files().into_iter().map(times).collect()
    };
    let before = files();
    let watching = Watching::start(&project.path("."));
    let (host, prefix) = watching.parts();
    let ok = "HTTP/1.1 200 OK";
    let missing = "HTTP/1.1 404 Not Found";
    assert_eq!(watching.status("GET", prefix, host), ok);
    assert_eq!(watching.status("GET", "/", host), missing);
    assert_eq!(watching.status("GET", "/0123456789abcdef0123456789abcdef/", host), missing);
    assert_eq!(watching.status("GET", prefix, "evil.example"), missing);
    assert_eq!(watching.status("POST", prefix, host), missing);
    let outside = format!("{prefix}../../../../etc/passwd");
    assert_eq!(watching.status("GET", &outside, host), missing);
    let card = format!("{prefix}a/card.json");
    assert_eq!(watching.status("GET", &card, host), missing);
    let bad = "HTTP/1.1 400 Bad Request";
    let long = format!("{prefix}{}", "a".repeat(20_000));
    assert_eq!(watching.status("GET", &long, host), bad);
    assert!(watching.send(b"\x16\x03\x01\x02\x00\r\n\r\n").starts_with(bad));
    // Many connections that say nothing do not keep it from the next one.
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(host).unwrap()).collect();
    drop(silent);
    let page = watching.get("");
    assert!(page.contains("watch.js") && !page.contains("http"), "{page}");
    assert_eq!(watching.runs().len(), 1);
    assert_eq!(files(), before);
}

#[test]
fn what_cannot_be_watched_is_told_with_a_way_out() {
    let project = Project::new();
    std::fs::create_dir(project.path("runs")).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, parts) in [
        (&["watch", "nowhere"][..], &["cannot read `nowhere`", "hint: "][..]),
        (&["watch", "recipe.toml"], &["is a recipe, no run", "hint: "]),
        (&["watch", "runs", "--port", &port], &["cannot listen on 127.0.0.1:", "`--port`"]),
        (&["watch", "runs", "--port", "0"], &["--port"]),
    ] {
        let ran = project.run(arguments).expect(2);
        for part in parts {
            assert!(ran.stderr.contains(part), "no `{part}` in:\n{}", ran.stderr);
        }
        assert_eq!(ran.stdout, "");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_sigterm_end_it_with_0() {
    if ignores_interrupts("ctrl_c_and_sigterm_end_it_with_0") {
        return;
    }
    let project = Project::new();
    std::fs::create_dir(project.path("runs")).unwrap();
    for name in ["-INT", "-TERM"] {
        let mut watching = Watching::start(&project.path("."));
        signal(&watching.child, name);
        assert_eq!(watching.child.wait().unwrap().code(), Some(0), "{name}");
    }
    // The address for programs.
    let mut child = spawn(&project.path("."), &["watch", "runs", "--json"]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    let address = format!("http://127.0.0.1:{}/", event["port"]);
    assert!(event["address"].as_str().unwrap().starts_with(&address), "{line}");
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
