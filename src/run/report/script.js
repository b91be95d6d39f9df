"use strict";
// Tables sort by the heading that is pressed; figures open large; everything is folded out for printing.
(function () {
  function value(row, column) {
    var cell = row.cells[column];
    var given = cell.getAttribute("data-value");
    var text = given === null ? cell.textContent.trim() : given;
    var number = text === "" ? NaN : Number(text);
    return isNaN(number) ? text : number;
  }
  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return a.localeCompare(b, undefined, { numeric: true });
  }
  function sort(table, column) {
    var heads = table.tHead.rows[0].cells;
    var up = heads[column].getAttribute("aria-sort") !== "ascending";
    var rows = Array.prototype.slice.call(table.tBodies[0].rows);
    rows.sort(function (a, b) { return (up ? 1 : -1) * compare(value(a, column), value(b, column)); });
    rows.forEach(function (row) { table.tBodies[0].appendChild(row); });
    Array.prototype.forEach.call(heads, function (head) { head.removeAttribute("aria-sort"); });
    heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  }
  document.querySelectorAll("table.sorts").forEach(function (table) {
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) button.appendChild(head.firstChild);
      button.addEventListener("click", function () { sort(table, column); });
      head.appendChild(button);
    });
  });

  var links = Array.prototype.slice.call(document.querySelectorAll("figure a.zoom"));
  var dialog = document.getElementById("viewer");
  if (dialog && dialog.showModal && links.length) {
    var image = dialog.querySelector("img");
    var caption = dialog.querySelector("p");
    var frame = dialog.querySelector("div div");
    var at = 0;
    var show = function (index) {
      at = (index + links.length) % links.length;
      var small = links[at].querySelector("img");
      image.src = links[at].href;
      image.alt = small.alt;
      caption.textContent = (at + 1) + " of " + links.length + ": " + links[at].getAttribute("data-caption");
      frame.classList.remove("large");
    };
    var close = function () { dialog.close(); links[at].focus(); };
    links.forEach(function (link, index) {
      link.addEventListener("click", function (event) {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        show(index);
        dialog.showModal();
      });
    });
    dialog.querySelector("[data-do=back]").addEventListener("click", function () { show(at - 1); });
    dialog.querySelector("[data-do=on]").addEventListener("click", function () { show(at + 1); });
    dialog.querySelector("[data-do=size]").addEventListener("click", function () { frame.classList.toggle("large"); });
    dialog.querySelector("[data-do=close]").addEventListener("click", close);
    dialog.addEventListener("cancel", function (event) { event.preventDefault(); close(); });
    dialog.addEventListener("keydown", function (event) {
      if (event.key === "ArrowLeft") show(at - 1);
      if (event.key === "ArrowRight") show(at + 1);
    });
  }

  var folded = [];
  window.addEventListener("beforeprint", function () {
    folded = Array.prototype.slice.call(document.querySelectorAll("details:not([open])"));
    folded.forEach(function (d) { d.open = true; });
  });
  window.addEventListener("afterprint", function () {
    folded.forEach(function (d) { d.open = false; });
  });
})();
