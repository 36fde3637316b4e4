(() => {
"use strict";
const root = document.documentElement;
root.classList.add("js");
const all = (selector, where) => Array.from((where || document).querySelectorAll(selector));

/* Tables: a button in each heading that says how to sort; undefined values stay last. */
const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
const sort = (table, heading) => {
  const column = heading.cellIndex, number = heading.dataset.sort === "number";
  const current = heading.getAttribute("aria-sort");
  const up = current ? current === "descending" : heading.dataset.first !== "descending";
  const order = new Intl.Collator(undefined, { numeric: true });
  const rows = Array.from(table.tBodies[0].rows).map((row) => ({ row, key: value(row, column) }));
  rows.sort((a, b) => {
    if (a.key === "" || b.key === "") return (a.key === "") - (b.key === "");
    const way = number ? a.key - b.key : order.compare(a.key, b.key);
    return up ? way : -way;
  });
  table.tBodies[0].append(...rows.map((entry) => entry.row));
  all("th[aria-sort]", table).forEach((th) => th.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
};
all("table.sortable").forEach((table) => {
  all("thead th[data-sort]", table).forEach((heading) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(table, heading));
  });
});

/* Filters of the images: the table's rows and the drawings carry the same marks. */
const form = document.getElementById("filters");
if (form) {
  const rows = all("#image-table tbody tr"), shown = all("article.image");
  const note = document.getElementById("filtered");
  const has = (list, wanted) => !wanted || (list || "").split(" ").includes(wanted);
  const apply = () => {
    const want = Object.fromEntries(new FormData(form));
    const words = want.words.trim().toLowerCase();
    const fits = (element) => {
      const data = element.dataset;
      return has(data.who, want.who) && has(data.who, want.other) && has(data.labels, want.label)
        && has(data.kinds, want.kind) && has(data.source, want.source)
        && (!words || data.name.toLowerCase().includes(words));
    };
    rows.forEach((row) => { row.hidden = !fits(row); });
    shown.forEach((article) => { article.hidden = !fits(article); });
    const count = (list) => list.filter((element) => !element.hidden).length;
    note.textContent = `${count(rows)} of ${rows.length} rows, ${count(shown)} of ${shown.length} drawings`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("click", (event) => {
    const cell = event.target.closest("[data-pair], [data-only]");
    if (!cell) return;
    form.reset();
    /* The matrix counts its own rows; data-codes says who they are in the filters ("-": nobody there). */
    const matrix = cell.closest("[data-codes]");
    const people = matrix
      ? cell.dataset.pair.split(" ").map((k) => matrix.dataset.codes.split(" ")[k]).filter((k) => k !== "-")
      : [cell.dataset.only];
    [form.elements.who.value, form.elements.other.value] = [people[0] ?? "", people[1] ?? ""];
    apply();
  });
  apply();
}

/* Drawings: layers on and off; a conflict in the list lights up in the drawing. */
all("article.image").forEach((article) => {
  article.addEventListener("change", (event) => {
    const layer = event.target.dataset.toggle;
    if (layer === undefined) return;
    all(`svg.overlay [data-layer="${layer}"]`, article)
      .forEach((group) => group.classList.toggle("off", !event.target.checked));
  });
  const light = (event, on) => {
    const entry = event.target.closest("[data-conflict]");
    if (!entry) return;
    all(`[data-conflict="${entry.dataset.conflict}"]`, article)
      .forEach((element) => element.classList.toggle("lit", on));
  };
  article.addEventListener("mouseover", (event) => light(event, true));
  article.addEventListener("mouseout", (event) => light(event, false));
});

/* On paper everything is open. */
addEventListener("beforeprint", () => all("details").forEach((d) => {
  d.dataset.was = d.open ? "open" : "";
  d.open = true;
}));
addEventListener("afterprint", () => all("details").forEach((d) => { d.open = d.dataset.was === "open"; }));
})();
