"use strict";
// Works on what is there: without this script everything is shown.
(function () {
  const form = document.getElementById("filters");
  if (!form) { return; }
  form.hidden = false;
  const cards = Array.from(document.querySelectorAll("#examples article"));
  const section = document.getElementById("teachers");
  const marked = Array.from(document.querySelectorAll("[data-mark^='teacher-']"));
  const more = document.getElementById("more-examples");
  const FIRST = 12, PRINTED = 6;
  let most = FIRST;
  const none = document.getElementById("no-examples");
  const chosen = function (name) { return form.elements[name] ? form.elements[name].value : ""; };

  function fits(card, teacher, label, answer) {
    if (label !== "") { if (card.dataset.class !== label) { return false; } }
    if (answer === "") { return true; }
    const said = card.dataset.teachers.split(" ");
    // Without a teacher: any of them.
    return said.some(function (own) {
      const parts = own.split("-");
      return (teacher === "" || parts[0] === teacher) ? parts[1] === answer : false;
    });
  }

  function apply() {
    const teacher = chosen("teacher"), label = chosen("class"), answer = chosen("answer");
    let fitting = 0;
    cards.forEach(function (card) {
      if (fits(card, teacher, label, answer)) { fitting += 1; card.hidden = fitting > most; }
      else { card.hidden = true; }
      card.classList.toggle("late", fitting > PRINTED);
    });
    const shown = Math.min(fitting, most);
    if (more) {
      more.hidden = most >= fitting;
      more.textContent = "more (" + (fitting - shown) + " left)";
    }
    if (none) { none.hidden = shown !== 0 || cards.length === 0; }
    if (form.elements.count) { form.elements.count.value = fitting + " of " + cards.length + " images" + (fitting > shown ? ", first " + shown + " shown" : ""); }
    section.classList.toggle("one-teacher", teacher !== "");
    marked.forEach(function (own) {
      own.classList.toggle("chosen", own.dataset.mark === "teacher-" + teacher);
    });
  }

  if (more) { more.addEventListener("click", function () { most += FIRST; apply(); }); }
  form.addEventListener("input", function () { most = FIRST; apply(); });
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("reset", function () { most = FIRST; setTimeout(apply, 0); });
  apply();
})();

// Tables: sorted by a click on a title; a word where they are wider than the window.
document.querySelectorAll(".scroll").forEach(function (box) {
  const body = box.querySelector("tbody"), heads = Array.from(box.querySelectorAll("thead th"));
  const wide = function () {
    const own = box.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("more-right", own);
    if (own) { box.tabIndex = 0; } else { box.removeAttribute("tabindex"); }
  };
  addEventListener("resize", wide);
  box.addEventListener("sorted", wide);
  const folded = box.closest("details");
  if (folded) { folded.addEventListener("toggle", wide); }
  if (body.rows.length > 2) {
    heads.forEach(function (head, at) {
      if (head.textContent === "value") { return; }
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent || "name";
      head.replaceChildren(button);
      button.addEventListener("click", function () { sort(head, at); });
    });
  }
  function sort(head, at) {
    const number = head.classList.contains("n");
    const down = head.ariaSort ? head.ariaSort === "ascending" : number;
    heads.forEach(function (own) { own.ariaSort = null; });
    head.ariaSort = down ? "descending" : "ascending";
    const key = function (row) {
      const text = row.cells[at].textContent;
      return number ? parseFloat(text.replace(/^[^\d-]+/, "")) : text;
    };
    Array.from(body.rows).sort(function (one, two) {
      const a = key(one), b = key(two);
      // What is no number stays last.
      if (number) { return isNaN(a) ? (isNaN(b) ? 0 : 1) : isNaN(b) ? -1 : down ? b - a : a - b; }
      return down ? b.localeCompare(a) : a.localeCompare(b);
    }).forEach(function (row) { body.append(row); });
  }
  wide();
});

// Runs: switched off in every chart.
const runs = document.getElementById("runs");
if (runs) {
  runs.hidden = false;
  const apply = function () {
    Array.from(runs.elements).forEach(function (own) {
      document.querySelectorAll("[data-mark='" + own.value + "']").forEach(function (one) {
        one.toggleAttribute("hidden", !own.checked);
      });
    });
  };
  runs.addEventListener("change", apply);
  apply();
}

// Charts: a logarithmic axis, and all curves read at one epoch.
document.querySelectorAll("button.log").forEach(function (button) {
  button.hidden = false;
  button.addEventListener("click", function () {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    button.parentNode.querySelectorAll("svg").forEach(function (own, at) {
      own.toggleAttribute("hidden", (at === 1) !== on);
    });
  });
});
const plots = Array.from(document.querySelectorAll("svg[data-plot]")).map(function (svg) {
  const [first, last, left, right, top, bottom] = svg.dataset.plot.split(" ").map(Number);
  const line = document.createElementNS(svg.namespaceURI, "path");
  line.setAttribute("class", "l-faint");
  svg.append(line);
  const reading = svg.parentNode.querySelector(".reading") || document.createElement("div");
  reading.className = "reading";
  reading.textContent = "Point at the chart, or use ← and →, to read all curves at one epoch.";
  svg.parentNode.append(reading);
  const curves = Array.from(svg.querySelectorAll("[data-points]")).map(function (group) {
    const points = new Map(group.dataset.points.split(" ").map(function (own) { return own.split(":"); }));
    return { group: group, points: points };
  });
  return { svg, first, last, left, right, top, bottom, line, reading, curves };
});
let epoch = null;
function read(at) {
  epoch = at;
  plots.forEach(function (plot) {
    const inside = at >= plot.first ? plot.last >= at : false;
    const x = plot.left + (at - plot.first) / (plot.last - plot.first || 1) * (plot.right - plot.left);
    plot.line.setAttribute("d", inside ? "M" + x + " " + plot.top + "V" + plot.bottom : "");
    if (!inside) { return; }
    plot.reading.textContent = "epoch " + at;
    plot.curves.forEach(function (own) {
      if (own.group.hasAttribute("hidden") || !own.points.has(String(at))) { return; }
      const value = document.createElement("b");
      value.textContent = own.points.get(String(at));
      plot.reading.append(" · " + own.group.dataset.name + " ", value);
    });
  });
}
plots.forEach(function (plot) {
  plot.svg.tabIndex = 0;
  const point = function (event) {
    const box = plot.svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * plot.svg.viewBox.baseVal.width;
    const share = Math.min(1, Math.max(0, (x - plot.left) / (plot.right - plot.left || 1)));
    read(Math.round(plot.first + share * (plot.last - plot.first)));
  };
  plot.svg.addEventListener("pointermove", point);
  plot.svg.addEventListener("pointerdown", point);
  plot.svg.addEventListener("keydown", function (event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) { return; }
    event.preventDefault();
    read(Math.min(plot.last, Math.max(plot.first, (epoch === null ? plot.first : epoch + step))));
  });
});
