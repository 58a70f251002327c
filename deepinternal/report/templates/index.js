"use strict";
const body = document.querySelector("tbody");
const heads = [...document.querySelectorAll("thead th")];
for (const head of heads) head.firstElementChild.addEventListener("click", () => {
  const down = head.ariaSort === "ascending";
  heads.forEach((other) => other.removeAttribute("aria-sort"));
  head.ariaSort = down ? "descending" : "ascending";
  const numbers = head.classList.contains("number");
  const value = (row) => row.cells[head.cellIndex].dataset.sort;
  const order = (a, b) => numbers ? a - b : a.localeCompare(b, undefined, { numeric: true });
  const rows = [...body.rows].sort((one, two) => {
    const [a, b] = [value(one), value(two)];
    if (!a || !b) return (a ? 0 : 1) - (b ? 0 : 1); // missing values come last
    return down ? order(b, a) : order(a, b);
  });
  body.append(...rows);
});
