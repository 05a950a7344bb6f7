"use strict";

// The table is complete and sorted without this script, which only rearranges its rows.
const table = document.getElementById("module-table");
const body = table.tBodies[0];
const filter = document.getElementById("filter");
const shown = document.getElementById("shown");
const everyRow = [...body.rows];

function valueIn(row, column) {
  const content = row.cells[column].textContent;
  return column === 0 ? content : Number(content.replace(/[,%]/g, ""));
}

function compare(first, second) {
  return typeof first === "string" ? first.localeCompare(second) : first - second;
}

function sortBy(header) {
  const column = header.cellIndex;
  // What is largest is asked for first, except of names.
  const initial = column === 0 ? "ascending" : "descending";
  const opposite = { ascending: "descending", descending: "ascending" };
  const order = opposite[header.getAttribute("aria-sort")] ?? initial;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  body.append(...everyRow.sort((a, b) => sign * compare(valueIn(a, column), valueIn(b, column))));
}

function showMatches() {
  const wanted = filter.value.trim().toLowerCase();
  let count = 0;
  for (const row of everyRow) {
    row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    count += row.hidden ? 0 : 1;
  }
  shown.value = `${count.toLocaleString("en")} of ${everyRow.length.toLocaleString("en")} modules`;
}

for (const header of table.tHead.rows[0].cells) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}
filter.addEventListener("input", showMatches);
showMatches();
