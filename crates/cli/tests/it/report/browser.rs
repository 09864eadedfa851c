//! The page in a real browser, where there is one.

use std::process::Command;

use super::{distilled, read};

/// Works the page as a reader would and writes down what it saw.
const READER: &str = r##"<script>
window.addEventListener("load", function () {
  const seen = {};
  const visible = function () {
    return Array.from(document.querySelectorAll("#examples article")).filter(function (own) {
      return own.getBoundingClientRect().height > 0;
    });
  };
  const form = document.getElementById("filters");
  const choose = function (name, value) {
    form.elements[name].value = value;
    form.elements[name].dispatchEvent(new Event("input", { bubbles: true }));
  };
  seen.form = form.getBoundingClientRect().height > 0;
  seen.all = visible().length;
  seen.total = document.querySelectorAll("#examples article").length;
  choose("class", "0");
  seen.classes = visible().map(function (own) { return own.dataset.class; });
  choose("class", "");
  choose("teacher", "1");
  choose("answer", "wrong");
  seen.wrong = visible().map(function (own) { return own.dataset.teachers.split(" ")[1]; });
  seen.dimmed = document.querySelectorAll("#teachers [data-mark='teacher-1'].chosen").length;
  seen.count = form.elements.count.value;
  form.reset();
  const logs = document.querySelectorAll("button.log");
  if (logs.length > 0) { logs[0].click(); }
  const plot = document.querySelector("svg[data-plot]");
  if (plot) {
    plot.focus();
    plot.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
  }
  const title = document.querySelector("th button");
  if (title) { title.click(); }
  seen.plots = document.querySelectorAll("svg[data-plot]").length;
  setTimeout(function () {
    seen.reading = Array.from(document.querySelectorAll(".reading")).map(function (own) { return own.textContent; }).join(" ");
    seen.sorted = document.querySelectorAll("th[aria-sort]").length;
    seen.again = visible().length;
    seen.charts = Array.from(document.querySelectorAll("figure svg")).filter(function (own) {
      const box = own.getBoundingClientRect();
      return box.width > 100 ? box.height > 30 : false;
    }).length;
    seen.wide = document.documentElement.scrollWidth > window.innerWidth;
    seen.requests = performance.getEntriesByType("resource").map(function (own) { return own.name; })
      .filter(function (own) { return !own.startsWith("data:"); });
    seen.pictures = Array.from(document.images).every(function (own) { return own.naturalWidth > 0; });
    seen.problems = window.problems;
    const out = document.createElement("pre");
    out.id = "seen";
    out.textContent = "SEEN" + JSON.stringify(seen) + "NEES";
    document.body.append(out);
  }, 50);
});
</script>"##;

/// Listens from the very beginning.
const LISTENER: &str = r##"<script>
window.problems = [];
window.addEventListener("error", function (event) { window.problems.push(String(event.message)); }, true);
document.addEventListener("securitypolicyviolation", function (event) {
  window.problems.push("blocked " + event.blockedURI);
});
window.alert = function (text) { window.problems.push("alert " + text); };
</script>"##;

fn browser() -> Option<String> {
    let named = std::env::var("FACULTY_BROWSER").ok();
    let usual = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
    named.into_iter().chain(usual.map(str::to_owned)).find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    })
}

#[test]
fn the_page_works_in_chromium_without_errors_or_requests() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium found; name one in FACULTY_BROWSER");
        return;
    };
    let project = distilled();
    let page = read(&project.path("run/report.html"));
    let page = page
        .replace("<title>", &format!("{LISTENER}<title>"))
        .replace("</body>", &format!("{READER}</body>"));
    project.write("watched.html", page);
    let profile = project.path("profile");
    for width in [390, 1280] {
        let output = Command::new(&browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-extensions"])
            .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=4000"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("--window-size={width},1000"))
            .arg("--dump-dom")
            .arg(format!("file://{}", project.path("watched.html").display()))
            .output()
            .unwrap();
        let dom = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let console: Vec<&str> = errors.lines().filter(|own| own.contains(":CONSOLE")).collect();
        assert!(console.is_empty(), "{console:?}");
        let seen = dom.split_once("\">SEEN").and_then(|(_, rest)| rest.split_once("NEES"));
        let seen = seen.unwrap_or_else(|| panic!("the page wrote nothing:\n{errors}\n{dom}")).0;
        let seen = seen.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
        let list = |name: &str| seen[name].as_array().unwrap().clone();
        assert_eq!(seen["problems"], serde_json::json!([]), "{seen}");
        assert_eq!(seen["requests"], serde_json::json!([]), "{seen}");
        assert_eq!((&seen["form"], &seen["pictures"]), (&true.into(), &true.into()), "{seen}");
        assert_eq!(seen["wide"], false, "the page is wider than the window: {seen}");
        assert!(seen["charts"].as_u64().unwrap() >= 10, "{seen}");
        let all = seen["all"].as_u64().unwrap();
        let total = seen["total"].as_u64().unwrap();
        assert!(all > 0 && all == total.min(12) && seen["again"] == all, "{seen}");
        assert!(list("classes").iter().all(|class| class == "0"), "{seen}");
        assert!((list("classes").len() as u64) < total, "{seen}");
        let wrong = list("wrong");
        assert!(!wrong.is_empty() && wrong.iter().all(|own| own == "1-wrong"), "{seen}");
        let count = seen["count"].as_str().unwrap();
        assert!(count.contains(&format!(" of {total} images")), "{seen}");
        // Twelve are shown at first.
        let found: usize = count.split(' ').next().and_then(|own| own.parse().ok()).unwrap();
        assert_eq!(wrong.len(), found.min(12), "{seen}");
        assert!(seen["plots"].as_u64().unwrap() > 0, "{seen}");
        assert!(seen["reading"].as_str().unwrap().contains("poch"), "{seen}");
        assert!(seen["sorted"].as_u64().unwrap() > 0, "{seen}");
        assert!(seen["dimmed"].as_u64().unwrap() > 3, "{seen}");
    }
}
