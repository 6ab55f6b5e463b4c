// The overview above the tasks: figures with intervals, error kinds, tool calls, cost, and what made the run.

const METRICS = {
  success: "tasks whose final answer is right",
  scep: "steps of the chosen path that ran with every tool call answered",
  correct_path: "the gold path is a subsequence of the calls",
  correct_path_set: "every endpoint of the gold path was called",
  path_recall: "share of the gold path's endpoints that were called",
  path_precision: "share of the called endpoints that are gold",
  duplicates: "sampled candidates that are the same program as a sibling",
  delta_length: "calls more (or fewer) than the gold path has",
  sopr: "tasks that the judge calls solved, an unsure vote counting half",
  sowr: "tasks whose answer beats the reference's, a tie counting half",
  tokens: "tokens of policy and PRM, a task",
  tokens_in: "policy tokens read, a task",
  tokens_out: "policy tokens written, a task",
  prm_tokens: "PRM tokens asked, a task",
  prm_tokens_computed: "PRM tokens computed (not found in a cache), a task",
  executions: "steps executed, a task",
  tool_calls: "tool calls, a task",
  seconds: "wall time of a task",
  usd: "price of a task in USD",
  flops: "floating-point operations of a task: 2 × parameters × tokens of policy, PRM and answer",
  executable_rate: "steps of all trees that ran with every tool call answered",
  tokens_per_solved: "tokens of all tasks, by the number of solved ones",
  seconds_per_solved: "seconds of all tasks, by the number of solved ones",
  usd_per_solved: "USD of all tasks, by the number of solved ones",
  flops_per_solved: "floating-point operations of all tasks, by the number of solved ones",
  seconds_p50: "seconds within which half of the tasks end",
  seconds_p95: "seconds within which 95 % of the tasks end",
};

const KINDS = {
  internal: "a failure of CodeTool, of a benchmark's check or of a service",
  budget: "a budget ended the search before an answer",
  no_code: "the chosen path ends in a step without code",
  syntax: "the last step does not parse",
  tool_error: "a tool call of the last step was not answered",
  unfinished: "the path never says that it is finished",
  wrong_tool: "an endpoint of the gold path was never called",
  wrong_argument: "a call of the reference solution was not made",
  wrong_answer: "the right calls, the wrong answer",
};
const meaning = (kind) => KINDS[kind] || (kind.startsWith("exception:") ? "the last step raised it" : "");

/** Fill the overview, the tasks apart. `choose(kind)` shows the tasks with an error of this kind. */
function summary(run, rows, choose) {
  const { metrics, tasks } = run.metrics;
  byId("state").textContent = state(run, tasks);
  byId("cards").append(...cards(run, rows));
  byId("notes").append(...notes(run, tasks));
  byId("metrics").append(...metricsTable(metrics, run.percent));
  if (run.metrics.groups) byId("metrics").append(groupsTable(run.metrics.groups, metrics));
  byId("errors").append(errors(rows, tasks.missing, choose));
  byId("calls").append(...calls(run));
  byId("ledger").append(ledger(rows));
  byId("made").append(made(run));
  byId("config").textContent = visible(run.config);
}

function state(run, tasks) {
  const done = tasks.asked - tasks.missing;
  const noun = tasks.repeats ? `searches, ${number(tasks.repeats)} of each task` : "tasks";
  const all = tasks.missing ? `unfinished: ${number(done)} of ${number(tasks.asked)} ${noun}` : `${number(tasks.asked)} ${noun}`;
  return `CodeTool report · ${all} · written ${run.written}`;
}

function cards(run, rows) {
  const { metrics, tasks } = run.metrics;
  const card = (name, value, more) => el("div", { class: "card" }, el("span", { class: "soft", text: name }), el("b", { text: value }), more);
  const solved = rows.filter((row) => row.outcome === "solved").length;
  const found = [];
  for (const name of ["success", "sopr", "correct_path"]) {
    const metric = metrics[name];
    if (!metric) continue;
    const counted = name === "success" ? `${number(solved)} of ${number(tasks.checkable ?? metric.n)}` : `${number(metric.n)} tasks`;
    found.push(card(name, percent(metric.value), el("span", { class: "soft", text: `${counted} · ${between(metric, percent)}` })));
    if (found.length) break;
  }
  const share = (count) => el("span", { class: "soft", text: tasks.asked ? `${percent(count / tasks.asked)} of the ${tasks.repeats ? "searches" : "tasks"}` : "" });
  if (tasks.answered !== undefined) found.push(card("with an answer", number(tasks.answered), share(tasks.answered)));
  found.push(card("with a finished path", number(tasks.finished), share(tasks.finished)));
  if (tasks.failures.length) found.push(card("failed internally", number(tasks.failures.length), share(tasks.failures.length)));
  if (tasks.missing) found.push(card("without a result yet", number(tasks.missing), share(tasks.missing)));
  return found;
}

function notes(run, tasks) {
  const { metrics } = run.metrics;
  const texts = [...run.notes];
  const judged = metrics.sopr;
  if (judged) texts.push(`sopr: standard error over tasks ${percent(judged.standard_error)}; deviation over rounds of votes ${percent(judged.vote_deviation)}, which is no interval.`);
  if (!tasks.checkable && !judged) texts.push("No answer of these tasks can be checked, so there is no success rate.");
  else if (tasks.checkable && tasks.checkable < tasks.asked) texts.push(`success counts the ${number(tasks.checkable)} tasks whose answer can be checked.`);
  if (tasks.repeats) texts.push(`Each task was searched ${number(tasks.repeats)} times; the table of tasks has a row for each search. Intervals draw whole tasks. pass@k: one of k searches succeeds; pass^k: all k do.`);
  if (tasks.missing) texts.push("Tasks without a result count as unsolved in every rate.");
  if (tasks.failures.length) texts.push("Tasks that failed internally count as unsolved.");
  return texts.map((text) => el("p", { class: "notice", text: visible(text) }));
}

const between = (metric, show, prefix = "") =>
  metric[`${prefix}low`] === null || metric[`${prefix}low`] === undefined
    ? "–" : `${show(metric[`${prefix}low`]).replace("\u00a0%", "")} … ${show(metric[`${prefix}high`])}`;

function metricsTable(metrics, shares) {
  const clustered = Object.values(metrics).some((metric) => "template_low" in metric);
  const columns = [{ name: "metric" }, { name: "value", n: true }, { name: "95 % interval", n: true }];
  if (clustered) columns.push({ name: "by template", n: true, title: "95 % interval with whole templates drawn" });
  columns.push({ name: "" }, { name: "tasks", n: true });
  const rows = Object.entries(metrics).map(([name, metric]) => {
    const share = shares.includes(name);
    const show = share ? percent : number;
    const row = [el("span", { title: METRICS[name] }, name), show(metric.value), between(metric, show)];
    if (clustered) row.push(between(metric, show, "template_"));
    row.push(share ? interval(metric) : "", number(metric.n));
    return row;
  });
  const drawn = table(columns, rows);
  return clustered ? [drawn, el("p", { class: "soft", text: "“by template”: the 95 % interval with whole templates drawn instead of single tasks." })] : [drawn];
}

/** The shares of each group of tasks. */
function groupsTable(groups, metrics) {
  const names = ["success", "sopr", "scep", "correct_path"].filter((name) => name in metrics);
  const columns = [{ name: "group" }, ...names.map((name) => ({ name, n: true })), { name: "tasks", n: true }];
  const rows = Object.entries(groups).map(([group, each]) => [
    visible(group),
    ...names.map((name) => (each.metrics[name] ? `${percent(each.metrics[name].value)} (${between(each.metrics[name], percent)})` : "–")),
    number(each.asked),
  ]);
  return table(columns, rows);
}

/** A share and its interval on a line from 0 to 1. */
function interval(metric) {
  const drawn = el("span", { class: "interval", "aria-hidden": "true" });
  if (metric.low !== null) {
    const range = el("i");
    range.style.left = `${100 * metric.low}%`;
    range.style.width = `${100 * (metric.high - metric.low)}%`;
    drawn.append(range);
  }
  const point = el("b");
  point.style.left = `${100 * metric.value}%`;
  drawn.append(point);
  return drawn;
}

function counted(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1] || (one[0] < other[0] ? -1 : 1));
}

function errors(rows, missing, choose) {
  const kinds = counted(rows.filter((row) => row.error).map((row) => row.error.kind));
  if (!kinds.length) return el("p", { text: missing ? "No error so far." : "No error in any task." });
  const highest = kinds[0][1];
  return el("ul", { class: "kinds" }, kinds.map(([kind, count]) => {
    const bar = el("i", { "aria-hidden": "true" });
    bar.style.width = `${(100 * count) / highest}%`;
    return el("li", {}, el("button", { type: "button", title: `Show tasks: ${meaning(kind)}`, onclick: () => choose(kind) },
      bar, el("span", { class: "mono", text: visible(kind) }), el("span", { class: "soft", text: meaning(kind) }),
      el("span", { text: number(count) })));
  }));
}

function calls(run) {
  if (!run.calls.length) return ["None."];
  const columns = [{ name: "answered by" }, { name: "effect" }, { name: "calls", n: true }, { name: "failed", n: true }, { name: "mean wait", n: true }];
  const rows = run.calls.map((each) =>
    [each.provenance || "nobody", each.effect, number(each.calls), number(each.failed), duration(each.seconds / each.calls)]);
  return [table(columns, rows), el("p", { class: "soft", text: `in the ${number(run.nodes)} steps of all trees` })];
}

const AMOUNTS = {
  tokens_in: "policy tokens in", tokens_in_cached: "of these from a prefix cache", tokens_out: "policy tokens out",
  prm_tokens: "PRM tokens", prm_tokens_computed: "PRM tokens computed",
  answer_tokens_in: "answer tokens in", answer_tokens_out: "answer tokens out",
  simulator_tokens_in: "simulator tokens in", simulator_tokens_out: "simulator tokens out",
  judge_tokens_in: "judge tokens in", judge_tokens_out: "judge tokens out",
  executions: "steps executed", executions_ran: "of these ran", tool_calls: "tool calls",
  tool_calls_recorded: "of these recorded", tool_calls_replica: "of these by the replica",
  tool_calls_simulated: "of these simulated", tool_calls_live: "of these live", tool_calls_unanswered: "of these unanswered",
};
/** Amounts that are shown also where they are 0. */
const ALWAYS = ["tokens_in", "tokens_out", "prm_tokens", "prm_tokens_computed", "executions", "tool_calls"];

function ledger(rows) {
  const total = (name) => rows.reduce((sum, row) => sum + (row.ledger[name] || 0), 0);
  const shown = Object.entries(AMOUNTS).filter(([name]) => ALWAYS.includes(name) || total(name));
  const pairs = shown.map(([name, words]) => [words, number(total(name))]);
  if (rows.some((row) => row.ledger.usd !== null)) pairs.push(["USD", number(total("usd"))]);
  if (rows.some((row) => row.ledger.flops)) pairs.push(["FLOPs", number(total("flops"))]);
  pairs.push(["task time, summed", duration(rows.reduce((sum, row) => sum + row.seconds, 0))]);
  for (const name of [...new Set(rows.flatMap((row) => Object.keys(row.component_seconds || {})))].sort()) {
    const seconds = (kind) => rows.reduce((sum, row) => sum + ((row.component_seconds || {})[name] || { [kind]: 0 })[kind], 0);
    pairs.push([`${name} at work, busy`, `${duration(seconds("wall"))}, ${duration(seconds("busy"))}`]);
  }
  return list(pairs);
}

function made(run) {
  const pairs = [["run folder", visible(run.name)]];
  for (const [name, value] of Object.entries(run.settings)) pairs.push([name, visible(told(value) || "none")]);
  for (const [name, value] of Object.entries(run.made_from)) pairs.push([visible(name), el("span", { class: "mono", text: visible(value) })]);
  pairs.push(["code was confined by", run.confined.length ? visible(run.confined.join(" — and later: ")) : "not recorded"]);
  return list(pairs);
}

/** Settings in one line, the chosen option first; what is null is left out. */
function told(value) {
  if (value === null || typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map(told).join(", ")}]`;
  const parts = Object.entries(value).filter(([name, item]) => !["_target_", "_option_", "prompt", "second_look"].includes(name) && item !== null)
    .map(([name, item]) => (typeof item === "object" && !Array.isArray(item) ? `${name}: ${told(item)}` : `${name} ${told(item)}`));
  const option = value._option_ ? [String(value._option_)] : [];
  return [...option, ...parts].join(" · ");
}
