"use strict";
// Asks for the runs every 2 seconds, and for curves when a run that is drawn has changed. All names go
// into the page as text; charts are SVG that was made by faculty.
(function () {
  const WAIT = 2000, MOST = 8, COLUMNS = 11;
  const at = function (id) { return document.getElementById(id); };
  const rows = new Map();
  let chosen = location.hash.slice(1).split(",").filter(Boolean);
  let touched = chosen.length > 0, drawn = "", drawing = false, runs = [];

  function say(node, text) { if (node.textContent !== text) { node.textContent = text; } }
  function fixed(value, digits) { return value === null ? "–" : value.toFixed(digits); }
  function duration(seconds) {
    if (seconds === null) { return "–"; }
    const s = Math.max(0, Math.round(seconds));
    if (s >= 86400) { return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h"; }
    if (s >= 3600) { return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min"; }
    return s >= 60 ? Math.floor(s / 60) + " min " + s % 60 + " s" : s + " s";
  }
  // Accuracies in percent, of language models bits a character.
  function measured(run, value) { return value === null ? "–" : run.measure === "bits" ? value.toFixed(4) + " bits" : value.toFixed(2); }
  function unit(run) { return run.measure === "bits" ? " bits a character" : " %"; }
  function number(run, value) { return value.toFixed(run.measure === "bits" ? 4 : 2) + unit(run); }
  function epochs(run) { return run.epochs === null ? String(run.epoch) : run.epoch + " of " + run.epochs; }

  function choose(id, on) {
    touched = true;
    chosen = chosen.filter(function (own) { return own !== id; });
    if (on) { chosen.push(id); }
    // The latest choice counts.
    chosen = chosen.slice(-MOST);
    history.replaceState(null, "", "#" + chosen.join(","));
    show();
  }

  function row(run) {
    const line = document.createElement("tr"), name = document.createElement("th"), label = document.createElement("label");
    const tick = document.createElement("input"), text = document.createElement("span");
    tick.type = "checkbox";
    tick.addEventListener("change", function () { choose(run.id, tick.checked); });
    label.append(tick, text);
    name.append(label);
    line.append(name);
    for (let n = 1; n < COLUMNS; n += 1) { line.append(document.createElement("td")); }
    const own = { line: line, tick: tick, text: text, cells: Array.from(line.querySelectorAll("td")) };
    [1, 2, 3, 4, 5, 6, 9].forEach(function (n) { own.cells[n].className = "n"; });
    own.count = document.createElement("span");
    own.bar = document.createElement("progress");
    own.cells[1].append(own.count, own.bar);
    return own;
  }

  function fill(own, run) {
    const cells = own.cells;
    own.line.dataset.state = run.state;
    own.line.dataset.epoch = run.epoch;
    own.tick.checked = chosen.includes(run.id);
    say(own.text, run.name);
    say(cells[0], run.state === "stopped" ? (run.resumable ? "stopped, --resume goes on" : "stopped") : run.state);
    cells[0].className = run.state;
    say(own.count, epochs(run));
    own.bar.hidden = run.state !== "running" || !run.epochs;
    own.bar.max = run.epochs || 1;
    own.bar.value = run.epoch;
    say(cells[2], duration(run.eta_seconds));
    say(cells[3], fixed(run.loss, 3));
    say(cells[4], measured(run, run.validation));
    say(cells[5], run.best === null ? "–" : measured(run, run.best[run.measure]) + " (" + run.unit + " " + run.best.epoch + ")");
    say(cells[6], measured(run, run.test));
    say(cells[7], run.method === null ? "–" : run.method);
    say(cells[8], run.student === null ? "–" : run.student);
    say(cells[9], run.age_seconds === null ? "–" : duration(run.age_seconds) + " ago");
  }

  function lead() {
    const run = runs.find(function (own) { return own.id === chosen[chosen.length - 1]; });
    if (!run) { say(at("lead"), ""); say(at("more"), ""); return; }
    let words = run.state + ", " + run.unit + " " + epochs(run);
    if (run.eta_seconds !== null) { words += ", " + duration(run.eta_seconds) + " left"; }
    if (run.best !== null) {
      words += (run.state === "finished" ? ", best " : ", best so far ") + number(run, run.best[run.measure]) + " on the validation split (" + run.unit + " " + run.best.epoch + ")";
    }
    if (run.test !== null) { words += ", test " + number(run, run.test); }
    say(at("lead"), words);
    say(at("more"), [run.name, run.method, run.student].filter(Boolean).join(" · "));
  }

  function show() {
    // What runs is looked at first, then what was written last.
    const order = runs.slice().sort(function (a, b) {
      const first = Number(b.state === "running") - Number(a.state === "running");
      const age = function (run) { return run.age_seconds === null ? Infinity : run.age_seconds; };
      return first || (a.state === "running" ? 0 : age(a) - age(b)) || 0;
    });
    // Until somebody chooses: the first.
    if (!touched) { chosen = order.slice(0, 1).map(function (run) { return run.id; }); }
    const body = at("runs"), ids = new Set(order.map(function (run) { return run.id; }));
    rows.forEach(function (own, id) { if (!ids.has(id)) { own.line.remove(); rows.delete(id); } });
    order.forEach(function (run, place) {
      if (!rows.has(run.id)) { rows.set(run.id, row(run)); }
      const own = rows.get(run.id);
      fill(own, run);
      // Only what is out of place is moved: moving takes the focus away.
      if (body.children[place] !== own.line) { body.insertBefore(own.line, body.children[place] || null); }
    });
    at("table").hidden = order.length === 0;
    at("none").hidden = order.length !== 0;
    lead();
    draw();
  }

  function figure(chart) {
    const own = document.createElement("figure"), words = document.createElement("figcaption");
    const title = document.createElement("strong"), caption = document.createElement("span");
    title.textContent = chart.title;
    caption.textContent = chart.caption;
    words.append(title, caption);
    const svg = new DOMParser().parseFromString(chart.svg, "image/svg+xml").documentElement;
    own.append(words, document.importNode(svg, true));
    return own;
  }

  async function draw() {
    const own = runs.filter(function (run) { return chosen.includes(run.id); });
    const listed = own.map(function (run) { return run.id + run.version; }).join();
    if (listed === drawn || drawing) { return; }
    drawing = true;
    try {
      const query = own.map(function (run) { return "run=" + run.id; }).join("&");
      const answer = await ask("curves.json?" + query);
      const charts = answer.charts.map(figure), box = at("charts");
      // Rows without holes, where the screen is wide enough to choose.
      box.className = [1, 2, 4].includes(charts.length) ? "figures even" : "figures";
      box.replaceChildren.apply(box, charts);
      drawn = listed;
    } catch (error) {
      drawing = false;
      lost();
      return;
    }
    drawing = false;
    // Somebody may have chosen others meanwhile.
    draw();
  }

  async function ask(address) {
    const answer = await fetch(address, { cache: "no-store" });
    if (!answer.ok) { throw new Error(String(answer.status)); }
    return answer.json();
  }

  function lost() {
    at("status").className = "lost";
    say(at("status"), "no answer: is faculty watch still running?");
  }

  async function look() {
    try {
      const answer = await ask("runs.json");
      runs = answer.runs;
      const busy = runs.filter(function (run) { return run.state === "running"; }).length;
      say(at("title"), answer.title);
      document.title = (busy > 0 ? "● " : "") + answer.title + " · faculty watch";
      at("status").className = "";
      say(at("status"), runs.length + (runs.length === 1 ? " run, " : " runs, ") + busy + " at work");
      const notes = answer.notes.slice();
      runs.forEach(function (run) { run.notes.forEach(function (note) { notes.push(run.name + ": " + note); }); });
      at("notes").hidden = notes.length === 0;
      at("notes").replaceChildren.apply(at("notes"), notes.map(function (note) {
        const line = document.createElement("li");
        line.textContent = note;
        return line;
      }));
      show();
    } catch (error) {
      lost();
    }
    setTimeout(look, WAIT);
  }

  look();
})();
