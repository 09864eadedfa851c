//! The page in a real browser, where there is one.

use super::{distilled, read};
use crate::browser::{Browser, LISTENER, seen};

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

#[test]
fn the_page_works_in_chromium_without_errors_or_requests() {
    let Some(browser) = Browser::find() else { return };
    let project = distilled();
    let page = read(&project.path("run/report.html"));
    let page = page
        .replace("<title>", &format!("{LISTENER}<title>"))
        .replace("</body>", &format!("{READER}</body>"));
    project.write("watched.html", page);
    let address = format!("file://{}", project.path("watched.html").display());
    for width in [390, 1280] {
        let seen = seen(&browser.open(&project.path("profile"), width, &address));
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
