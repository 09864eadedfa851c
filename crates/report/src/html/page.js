"use strict";
// Filters of the teacher explorer. Without this script everything is shown.
(function () {
  const form = document.getElementById("filters");
  if (!form) { return; }
  form.hidden = false;
  const cards = Array.from(document.querySelectorAll("#examples article"));
  const section = document.getElementById("teachers");
  const marked = Array.from(document.querySelectorAll("[data-mark^='teacher-']"));
  const none = document.getElementById("no-examples");
  const chosen = function (name) { return form.elements[name] ? form.elements[name].value : ""; };

  function fits(card, teacher, wanted, answer) {
    if (wanted !== "") { if (card.dataset.class !== wanted) { return false; } }
    if (answer === "") { return true; }
    const said = card.dataset.teachers.split(" ");
    // Without a teacher: any of them.
    return said.some(function (own) {
      const parts = own.split("-");
      return (teacher === "" || parts[0] === teacher) ? parts[1] === answer : false;
    });
  }

  function apply() {
    const teacher = chosen("teacher"), wanted = chosen("class"), answer = chosen("answer");
    let shown = 0;
    cards.forEach(function (card) {
      card.hidden = !fits(card, teacher, wanted, answer);
      if (!card.hidden) { shown += 1; }
    });
    if (none) { none.hidden = shown !== 0 || cards.length === 0; }
    if (form.elements.count) { form.elements.count.value = shown + " of " + cards.length + " images"; }
    section.classList.toggle("one-teacher", teacher !== "");
    marked.forEach(function (own) {
      own.classList.toggle("chosen", own.dataset.mark === "teacher-" + teacher);
    });
  }

  form.addEventListener("input", apply);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("reset", function () { setTimeout(apply, 0); });
  apply();
})();
