// Starts the page, and shows the overview or the task that the address names.

async function main() {
  const [run, lines] = await Promise.all([unpack("run"), unpack("lines")]);
  const rows = lines.map(known);
  const places = new Map(rows.map((row) => [wellFormed(row.task_id), row]));
  const tasks = taskTable(rows);
  summary(run, rows, tasks.choose);
  let left = 0;

  const beside = (row) => {
    const shown = tasks.shown().includes(row) ? tasks.shown() : rows;
    const place = shown.indexOf(row);
    return { before: place > 0 ? address(shown[place - 1]) : null, after: place + 1 < shown.length ? address(shown[place + 1]) : null };
  };
  const named = () => {
    if (!location.hash.startsWith("#task-")) return null;
    try {
      return places.get(decodeURIComponent(location.hash.slice(6))) || null;
    } catch {
      return null;
    }
  };
  const route = async () => {
    const row = named();
    if (row && byId("task").hidden) left = scrollY;
    byId("overview").hidden = Boolean(row);
    byId("task").hidden = !row;
    document.title = row ? `${visible(row.task_id)} · ${run.name}` : run.name;
    if (row) await showTask(row, beside(row));
    else scrollTo(0, left);
  };

  addEventListener("hashchange", route);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const row = named();
    const target = row && { Escape: "#", p: beside(row).before, n: beside(row).after }[event.key];
    if (target) location.hash = target;
    else if (!row && event.key === "/") {
      event.preventDefault();
      byId("f-text").focus();
    }
  });
  await route();
  document.documentElement.dataset.ready = Math.round(performance.now());
}

main().catch((error) => {
  byId("state").textContent = `This report cannot be shown: ${error.message}. It needs a browser of 2023 or later.`;
});
