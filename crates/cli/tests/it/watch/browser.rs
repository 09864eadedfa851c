//! The page in a real browser, where there is one.

use super::{Training, Watching, epoch, tells_locks};
use crate::browser::{Browser, LISTENER, seen};
use crate::project::{Project, TEACHERS, recipe};

/// The number behind `data-epoch` in the first row of the page.
fn shown_epoch(page: &str) -> u64 {
    let rest = page.split_once("data-epoch=\"").unwrap_or_else(|| panic!("no run in {page}")).1;
    rest.split('"').next().unwrap().parse().unwrap()
}

#[test]
fn the_page_follows_a_run_that_trains() {
    let Some(browser) = Browser::find() else { return };
    let project = Project::new();
    std::fs::create_dir(project.path("runs")).unwrap();
    let watching = Watching::start(&project.path("."));
    let open = |width| browser.open(&project.path("profile"), width, &watching.address);
    let empty = open(390);
    assert!(empty.contains("0 runs, 0 at work"), "{empty}");

    let mut training = Training::start(&project);
    training.wait_for(2);
    let first = open(390);
    assert!(shown_epoch(&first) >= 2);
    assert!(first.matches("<figure>").count() >= 3 && first.contains("<path "), "{first}");
    assert!(first.contains("Training loss") && first.contains("best so far"), "{first}");
    if tells_locks() {
        assert!(first.contains("1 run, 1 at work"), "{first}");
        assert!(first.contains("data-state=\"running\"") && first.contains(" left"), "{first}");
    }
    let more = shown_epoch(&first) + 2;
    training.wait_for(more);
    assert!(shown_epoch(&open(1280)) >= more);
    drop(training);
    let stopped = epoch(&watching.runs()[0]);
    let page = open(1280);
    assert_eq!(shown_epoch(&page), stopped);
    if tells_locks() {
        assert!(page.contains("--resume goes on"), "{page}");
    }
}

/// Works the page as a reader would and writes down what it saw.
const READER: &str = r##"<script>
window.addEventListener("load", function () {
  const seen = {};
  const wide = function () { return document.documentElement.scrollWidth > window.innerWidth; };
  const titles = function () {
    return Array.from(document.querySelectorAll("#charts strong")).map(function (own) { return own.textContent; });
  };
  const ticks = function () { return Array.from(document.querySelectorAll("#runs input")); };
  setTimeout(function () {
    seen.names = ticks().map(function (own) { return own.parentNode.textContent; });
    seen.checked = ticks().map(function (own) { return own.checked; });
    seen.one = titles();
    seen.wide = wide();
    ticks().forEach(function (own) { if (!own.checked) { own.click(); } });
    setTimeout(function () {
      seen.both = titles();
      seen.wideBoth = wide();
      seen.charts = Array.from(document.querySelectorAll("figure svg")).every(function (own) {
        const box = own.getBoundingClientRect();
        return box.width > 100 ? box.height > 30 : false;
      });
      seen.lead = document.getElementById("lead").textContent;
      seen.status = document.getElementById("status").textContent;
      seen.notes = document.getElementById("notes").textContent;
      window.gone = true;
      setTimeout(function () {
        seen.lost = document.getElementById("status").textContent;
        seen.problems = window.problems;
        const out = document.createElement("pre");
        out.id = "seen";
        out.textContent = "SEEN" + JSON.stringify(seen) + "NEES";
        document.body.append(out);
      }, 2500);
    }, 300);
  }, 300);
});
</script>"##;

#[test]
fn the_page_fits_a_telephone_draws_what_is_ticked_and_says_when_nobody_answers() {
    let Some(browser) = Browser::find() else { return };
    let project = Project::new();
    let name = "runs/<img src=x onerror=alert(1)> and a rather long name without an end";
    project.train("a", &["train.epochs=1"]);
    project.train("b", &["train.epochs=1", "seed=4"]);
    project.write("distill.toml", recipe("ca-mkd", TEACHERS));
    project.run(&["distill", "distill.toml", "--output", name]).expect(0);
    project.write("runs/damaged/metrics.jsonl", "{}\n{}\n");
    project.train("runs/plain", &["train.epochs=2"]);
    let watching = Watching::start(&project.path("."));
    // The same page with its parts inside, and the answers that it would get.
    let runs = watching.runs();
    let mut answers = serde_json::Map::new();
    answers.insert("runs.json".to_owned(), watching.get("runs.json").into());
    // Whichever are ticked.
    for ticked in 1..1 << runs.len() {
        let own = runs.iter().enumerate().filter(|(at, _)| ticked >> at & 1 == 1);
        let query: Vec<String> =
            own.map(|(_, run)| format!("run={}", run["id"].as_str().unwrap())).collect();
        let address = format!("curves.json?{}", query.join("&"));
        let answer = watching.get(&address);
        answers.insert(address, answer.into());
    }
    let answers = serde_json::Value::from(answers).to_string().replace('<', "\\u003c");
    let stub = format!(
        "<script>const answers = {answers};\nwindow.fetch = async function (address) {{\n\
         if (window.gone) {{ throw new TypeError('no connection'); }}\n\
         if (!(address in answers)) {{ window.problems.push('asked for ' + address); }}\n\
         return new Response(answers[address]); }};</script>"
    );
    let style = format!("<style>{}</style>", watching.get("watch.css"));
    let script = format!("{stub}<script>{}</script>{READER}", watching.get("watch.js"));
    let page = watching
        .get("")
        .replace("<link rel=\"stylesheet\" href=\"watch.css\">", &style)
        .replace("<script src=\"watch.js\"></script>", &script)
        .replace("<title>", &format!("{LISTENER}<title>"));
    project.write("watched.html", page);
    let address = format!("file://{}", project.path("watched.html").display());
    for width in [390, 1280] {
        let seen = seen(&browser.open(&project.path("profile"), width, &address));
        assert_eq!(seen["problems"], serde_json::json!([]), "{seen}");
        assert_eq!((&seen["wide"], &seen["wideBoth"]), (&false.into(), &false.into()), "{seen}");
        let names = seen["names"].to_string();
        assert!(names.contains("onerror=alert(1)") && names.contains("plain"), "{seen}");
        // The one that was written last.
        let checked = seen["checked"].as_array().unwrap();
        assert_eq!(checked.iter().filter(|own| **own == true).count(), 1, "{seen}");
        let both = seen["both"].to_string();
        assert!(both.contains("What the loss is made of"), "{seen}");
        assert!(both.contains(": Weight at the output"), "{seen}");
        assert!(seen["charts"] == true && seen["one"] != seen["both"], "{seen}");
        assert!(seen["status"].as_str().unwrap().contains("3 runs, 0 at work"), "{seen}");
        assert!(seen["notes"].as_str().unwrap().contains("damaged: `metrics.jsonl`"), "{seen}");
        assert!(seen["lead"].as_str().unwrap().contains("epoch"), "{seen}");
        assert!(seen["lost"].as_str().unwrap().contains("no answer"), "{seen}");
    }
}
