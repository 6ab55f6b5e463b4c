// The table of tasks: filter, order, and rows that are made as they are scrolled to.

const OUTCOMES = { solved: "✓ solved", unsolved: "✗ unsolved", internal: "! internal", unchecked: "– unchecked" };
const TONES = { solved: "good", unsolved: "bad", internal: "warn", unchecked: "soft" };
const PAGE = 200;
const address = (row) => `#task-${encodeURIComponent(wellFormed(row.task_id))}`;
const wellFormed = (text) => text.replace(/\p{Cs}/gu, "\ufffd");

// A column's head may order by several values.
const COLUMNS = [
  { orders: { task: (row) => row.place, template: (row) => row.template || "\uffff" }, kind: "id",
    cell: (row) => [el("a", { href: address(row), text: visible(row.task_id) }), row.template && el("span", { class: "soft under", text: visible(row.template) })] },
  { orders: { outcome: (row) => Object.keys(OUTCOMES).indexOf(row.outcome), error: (row) => (row.error ? row.error.kind : "\uffff") }, kind: "out",
    cell: (row) => [outcome(row), row.error && el("span", { class: "mono under", title: visible(row.error.message), text: visible(row.error.kind) })] },
  { orders: { sopr: (row) => row.metrics.sopr ?? -1 }, n: true, when: (rows) => rows.some((row) => row.judged),
    title: "mean of the judge's votes: Solved 1, Unsure 0.5, Unsolved 0", cell: (row) => exact(row.metrics.sopr) },
  { orders: { query: (row) => row.query }, cell: (row) => el("span", { class: "cut", text: visible(row.query) }) },
  { orders: { answer: (row) => row.answer || "\uffff" }, kind: "answer", cell: (row) => row.answer !== null && el("span", { class: "cut", text: visible(cut(row.answer, 300)) }) },
  { orders: { steps: (row) => row.path.length }, n: true, cell: (row) => number(row.path.length) },
  { orders: { executed: (row) => row.ledger.executions }, n: true, cell: (row) => number(row.ledger.executions) },
  { orders: { calls: (row) => row.ledger.tool_calls }, n: true, cell: (row) => number(row.ledger.tool_calls) },
  { orders: { tokens: (row) => row.ledger.tokens_out }, n: true, title: "policy tokens written", cell: (row) => number(row.ledger.tokens_out) },
  { orders: { time: (row) => row.seconds }, n: true, cell: (row) => duration(row.seconds) },
];

function outcome(row) {
  return el("span", { class: TONES[row.outcome], text: OUTCOMES[row.outcome] });
}

/** What a result line says about its task, and what the table looks for. */
function known(row, place) {
  const word = row.error && row.error.kind === "internal" ? "internal" : row.success === null ? "unchecked" : row.success ? "solved" : "unsolved";
  const parts = [row.task_id, row.query, row.answer, row.template, row.error && `${row.error.kind} ${row.error.message}`];
  return { ...row, place, outcome: word, text: parts.filter(Boolean).join("\n").toLowerCase() };
}

/** The table; returns `{shown(), choose(kind)}`: the rows in the order they stand in, and a filter on an error kind. */
function taskTable(rows) {
  const templates = rows.some((row) => row.template);
  const columns = COLUMNS.filter((column) => !column.when || column.when(rows));
  const body = el("tbody");
  let shown = rows;
  let order = { name: "task", value: COLUMNS[0].orders.task, down: false };
  let made = 0;

  const more = () => {
    body.append(...shown.slice(made, made + PAGE).map(line));
    made = Math.min(made + PAGE, shown.length);
    byId("more").hidden = made === shown.length;
  };
  const line = (row) => el("tr", { onclick: (event) => event.target.closest("a") || getSelection().toString() || (location.hash = address(row)) },
    columns.map((column) => el("td", { class: column.n ? "n" : column.kind, "data-name": column.n ? Object.keys(column.orders)[0] : null }, column.cell(row))));

  const draw = () => {
    const { name, value, down } = order;
    const sign = down ? -1 : 1;
    const compared = (one, other) => (value(one) < value(other) ? -1 : value(one) > value(other) ? 1 : 0);
    shown = rows.filter(wanted(filter())).sort((one, other) => sign * compared(one, other) || one.place - other.place);
    made = 0;
    body.replaceChildren();
    more();
    byId("count").textContent = shown.length === rows.length ? `${number(rows.length)} tasks` : `${number(shown.length)} of ${number(rows.length)} tasks`;
    heads.forEach((head, place) => {
      if (name in columns[place].orders) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      for (const button of head.children) {
        const active = button.dataset.order === name;
        button.textContent = button.dataset.order + (active ? (down ? " ↓" : " ↑") : "");
        button.toggleAttribute("data-active", active);
      }
    });
  };

  const heads = columns.map((column) => el("th", { scope: "col", class: column.n ? "n" : column.kind, title: column.title },
    Object.entries(column.orders).filter(([name]) => templates || name !== "template").map(([name, value]) =>
      el("button", { type: "button", "aria-label": `Order by ${name}`, "data-order": name, onclick: () => {
        order = { name, value, down: order.name === name ? !order.down : Boolean(column.n) };
        draw();
      } }))));
  byId("tasks").append(el("table", {}, el("thead", {}, el("tr", {}, heads)), body));

  choices("f-outcome", Object.keys(OUTCOMES).filter((word) => rows.some((row) => row.outcome === word)));
  choices("f-kind", counted(rows.filter((row) => row.error).map((row) => row.error.kind)).map(([kind]) => kind));
  choices("f-template", [...new Set(rows.map((row) => row.template).filter(Boolean))].sort());
  byId("l-template").hidden = byId("f-template").options.length < 2;
  byId("filter").addEventListener("input", draw);
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  byId("filter").addEventListener("reset", () => setTimeout(draw));
  byId("more").addEventListener("click", more);
  new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && more(), { rootMargin: "600px" }).observe(byId("more"));
  draw();
  return {
    shown: () => shown,
    choose: (kind) => {
      byId("filter").reset();
      byId("f-kind").value = kind;
      setTimeout(draw);
      byId("h-tasks").scrollIntoView();
      byId("h-tasks").focus({ preventScroll: true });
    },
  };
}

function choices(id, values) {
  byId(id).append(el("option", { value: "", text: "all" }), ...values.map((value) => el("option", { value, text: visible(value) })));
}

const filter = () => ({
  words: byId("f-text").value.toLowerCase().split(/\s+/).filter(Boolean),
  outcome: byId("f-outcome").value, kind: byId("f-kind").value, template: byId("f-template").value,
});

/** Whether a row passes the filter: every word occurs in it, and every choice is its own. */
const wanted = ({ words, outcome, kind, template }) => (row) =>
  (!outcome || row.outcome === outcome) && (!kind || (row.error && row.error.kind === kind)) &&
  (!template || row.template === template) && words.every((word) => row.text.includes(word));
