//! Pages in a real browser, where there is one.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Listens from the very beginning.
pub(crate) const LISTENER: &str = r##"<script>
window.problems = [];
window.addEventListener("error", function (event) { window.problems.push(String(event.message)); }, true);
document.addEventListener("securitypolicyviolation", function (event) {
  window.problems.push("blocked " + event.blockedURI);
});
window.alert = function (text) { window.problems.push("alert " + text); };
</script>"##;

/// A Chromium of this machine.
pub(crate) struct Browser(String);

impl Browser {
    /// The one that `FACULTY_BROWSER` names, else one of the usual; a test without one says so and is
    /// skipped.
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    pub(crate) fn find() -> Option<Self> {
        let named = std::env::var("FACULTY_BROWSER").ok();
        let usual =
            ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
        let runs = |name: &String| {
            Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
        };
        let found = named.into_iter().chain(usual.map(str::to_owned)).find(runs);
        if found.is_none() {
            eprintln!("skipped: no Chromium found; name one in FACULTY_BROWSER");
        }
        found.map(Self)
    }

    /// The document of a page after 4 seconds of its own clock. Fails when it wrote to the console, as
    /// an error or a forbidden request does; it reaches no other machine.
    pub(crate) fn open(&self, profile: &Path, width: u32, address: &str) -> String {
        let output = Command::new(&self.0)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-extensions"])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
            .arg("--virtual-time-budget=4000")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("--window-size={width},1000"))
            .arg("--dump-dom")
            .arg(address)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let console: Vec<&str> = errors.lines().filter(|own| own.contains(":CONSOLE")).collect();
        assert!(console.is_empty(), "{console:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// What a script wrote into the page, between `SEEN` and `NEES`.
#[track_caller]
pub(crate) fn seen(document: &str) -> Value {
    let seen = document.split_once("\">SEEN").and_then(|(_, rest)| rest.split_once("NEES"));
    let seen = seen.unwrap_or_else(|| panic!("the page wrote nothing:\n{document}")).0;
    let seen = seen.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&seen).unwrap()
}
