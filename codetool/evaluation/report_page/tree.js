// One task: what was asked and answered, its search tree, and the path to the step that is looked at.

/** Show a task. `beside` are the addresses of the tasks before and after it, null at the ends. */
async function showTask(row, beside) {
  const article = byId("task");
  const link = (target, text, key) => (target ? el("a", { href: target, "aria-keyshortcuts": key, text }) : el("span", { class: "soft", text }));
  const body = el("div", { text: "Unpacking …" });
  article.replaceChildren(
    el("nav", { "aria-label": "Tasks" }, link("#", "← all tasks", "Escape"), link(beside.before, "previous", "p"), link(beside.after, "next", "n"),
      el("span", { class: "soft", text: "keys: Esc, p, n; arrows in the tree" })),
    el("h2", { id: "h-task", tabindex: "-1" }, visible(row.task_id), " ", outcome(row)),
    el("p", { class: "query", text: visible(row.query) }),
    el("div", { class: "facts" }, list(facts(row))),
    body);
  byId("h-task").focus({ preventScroll: true });
  scrollTo(0, 0);
  const tree = await unpack(`tree-${row.place}`);
  if (!article.contains(body)) return;  // another task was opened meanwhile
  body.replaceWith(tree && tree.nodes.length ? panes(row, tree.nodes) : el("p", { class: "notice", text: "No step was recorded for this task." }));
}

function facts(row) {
  const pairs = [["answer", row.answer === null ? row.finished ? "none" : "none: the path is not finished" : block(row.answer, "answer")]];
  if (row.expected) pairs.push([`expected ${row.expected.type}`, block(valued(row.expected.value), "expected answer")]);
  if (row.error) pairs.push(["error", el("span", {}, el("span", { class: "mono bad", text: visible(row.error.kind) }), ` ${visible(row.error.message)}`)]);
  if (row.stopped_by) pairs.push(["stopped by", `the budget of ${visible(row.stopped_by)}`]);
  if (row.gold && row.gold.length) pairs.push(["gold path", el("span", { class: "mono", text: visible(row.gold.join(" → ")) })]);
  if (row.template) pairs.push(["template", visible(row.template)]);
  if (row.judged) pairs.push(["judged", `${row.judged.labels.join(", ")}: ${visible(row.judged.reason)}`]);
  const words = Object.entries(row.metrics).filter(([name, value]) => value !== null && !(name in row.ledger) && !["success", "seconds"].includes(name));
  if (words.length) pairs.push(["metrics", words.map(([name, value]) => `${name} ${typeof value === "number" ? exact(value) : value}`).join(" · ")]);
  const cost = Object.entries(row.ledger).filter(([, value]) => value).map(([name, value]) => `${name} ${number(value)}`);
  pairs.push(["cost", [...cost, duration(row.seconds)].join(" · ")]);
  return pairs;
}

const valued = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, Array.isArray(value) && value.length > 8 ? 1 : 0));

/** The tree beside the path to its selected step; at first the chosen path. */
function panes(row, nodes) {
  const byNode = new Map(nodes.map((node) => [node.id, node]));
  const chosen = new Set(row.path);
  const path = el("div", { role: "region", "aria-label": "Path to the selected step" });
  const items = outline(nodes).map(([node, level]) => item(node, level, chosen));
  let selected = null;
  const select = (one, focus) => {
    if (selected) { selected.setAttribute("aria-selected", "false"); selected.tabIndex = -1; }
    selected = one;
    one.setAttribute("aria-selected", "true");
    one.tabIndex = 0;
    if (focus) one.focus();
    path.replaceChildren(...pathTo(byNode, one.dataset.node).map((node, place, all) => step(node, chosen, place === all.length - 1, promptsOf(row.place, node, byNode))));
  };
  const tree = el("div", { class: "tree", role: "tree", "aria-label": `Search tree, ${nodes.length} steps`,
    onclick: (event) => { const one = event.target.closest("[role=treeitem]"); if (one) select(one, true); },
    onkeydown: (event) => { const one = moved(event.key, items, selected); if (one) { event.preventDefault(); select(one, true); } } }, items);
  const last = row.path[row.path.length - 1];
  select(items.find((one) => one.dataset.node === last) || items[0], false);
  return el("div", { class: "panes" }, tree, path);
}

/** The item that a key leads to, null for any other key. */
function moved(key, items, from) {
  const place = items.indexOf(from);
  const level = (one) => Number(one.getAttribute("aria-level"));
  const target = {
    ArrowDown: () => items[place + 1], ArrowUp: () => items[place - 1], Home: () => items[0], End: () => items[items.length - 1],
    ArrowRight: () => (items[place + 1] && level(items[place + 1]) > level(from) ? items[place + 1] : null),
    ArrowLeft: () => items.slice(0, place).reverse().find((one) => level(one) < level(from)),
  }[key];
  return target ? target() || from : null;
}

/** Every node with its level, children below their parents; a node whose parent is unknown stands at the top. */
function outline(nodes) {
  const children = new Map();
  const ids = new Set(nodes.map((node) => node.id));
  for (const node of nodes) {
    const parent = ids.has(node.parent) ? node.parent : null;
    children.set(parent, [...(children.get(parent) || []), node]);
  }
  const lines = [];
  const open = (children.get(null) || []).map((node) => [node, 1]).reverse();
  while (open.length) {
    const [node, level] = open.pop();
    lines.push([node, level]);
    open.push(...(children.get(node.id) || []).map((child) => [child, level + 1]).reverse());
  }
  return lines;
}

function pathTo(byNode, id) {
  const path = [];
  for (let node = byNode.get(id); node && !path.includes(node); node = byNode.get(node.parent)) path.unshift(node);
  return path;
}

function item(node, level, chosen) {
  const one = el("div", { role: "treeitem", tabindex: "-1", "aria-level": level, "aria-selected": "false", "data-node": node.id, class: chosen.has(node.id) ? "chosen" : null },
    el("span", { class: "say" }, el("span", { class: "mono soft", text: visible(node.id) }), ` ${said(node) || "(no words)"}`), tags(node, chosen));
  one.style.setProperty("--level", level);
  return one;
}

const failed = (node) => node.execution && !["ok", "no_code"].includes(node.execution.status);

/** What there is to say about a node in a few words. */
function tags(node, chosen) {
  const status = node.execution ? node.execution.status : "not run";
  const texts = [
    [status === "ok" ? "✓ ok" : failed(node) ? `✗ ${status}` : status, status === "ok" ? "good" : failed(node) ? "bad" : "warn"],
    [`spot ${exact(node.spot)}`],
    node.latent !== null && [`latent ${exact(node.latent)}`],
    [`Σ ${exact(node.cumulative)}`, "", "cumulative reward of the path up to here"],
    node.multiplicity > 1 && [`merged ${node.multiplicity}`, "warn", "candidates with this same program"],
    node.finished && ["■ finished", "good"],
    chosen.has(node.id) && ["★ chosen", "chosen-tag"],
  ];
  return el("span", {}, texts.filter(Boolean).map(([text, kind, title]) => el("span", { class: `tag ${kind || ""}`, title, text })));
}

/** The model's words for a step in one line: no markers, no code. */
function said(node) {
  const words = cut(node.text || "", 4000).replace(/```[^]*?(?:```|$)/g, " ")
    .replace(/^#+\s*Step\s*\d+\s*:?|\[Step\s*\d+\s*Finished\]|\[All\s+Finished\]|^[ \t]*Python Code:[ \t]*$/gm, " ");
  return visible(cut(words.replace(/\s+/g, " ").trim(), 300));
}

function step(node, chosen, selected, prompts) {
  const run = node.execution;
  return el("section", { class: selected ? "step selected" : "step", "aria-label": `Step ${node.depth}` },
    el("h3", {}, `Step ${node.depth}`, said(node) ? `: ${said(node)}` : "", " ", el("span", { class: "mono soft", text: visible(node.id) })),
    tags(node, chosen),
    node.code !== null && [el("h4", { text: "Code" }), block(node.code, "code", "", painted)],
    run && run.error && [el("h4", { text: "Error" }), block(run.error, "error", "error")],
    run && (run.observation || run.status === "ok") && [
      el("h4", { text: run.observation ? `Observation · ${duration(run.seconds)}` : `Nothing was printed · ${duration(run.seconds)}` }),
      run.observation && block(run.observation, "observation")],
    run && run.calls.length > 0 && callTable(run.calls),
    el("details", { ontoggle: (event) => event.target.open && event.target.children.length === 1 && event.target.append(block(node.text || "", "text of the model")) },
      el("summary", { text: "As the model wrote it" })),
    prompts);
}

function callTable(calls) {
  const columns = [{ name: "tool call" }, { name: "status", n: true }, { name: "answered by" }, { name: "effect" }, { name: "time", n: true }];
  const rows = calls.map((call) => [
    el("span", { class: "mono", text: visible(`${call.method} ${call.url}${asked(call.arguments)}`) }),
    el("span", { class: call.provenance && call.http_status < 300 ? "good" : "bad", text: call.http_status }),
    call.provenance || "nobody",
    el("span", { class: call.effect === "write" ? "warn" : null, text: call.effect }),
    duration(call.seconds),
  ]);
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Tool calls" }, table(columns, rows));
}

const asked = (values) => Object.entries(values || {}).map(([name, value]) => ` ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`).join("");
