// Unpacks the data of the page and builds elements. Texts of models and tools enter the page as text nodes only.

const byId = (id) => document.getElementById(id);

/** The JSON value of a data script, or null if the page has no such script. */
async function unpack(id) {
  const script = byId(id);
  if (!script) return null;
  const bytes = Uint8Array.from(atob(script.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

/** An element with properties (`class`, `text`, `on…`, attributes) and children; null children are left out. */
function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// What a reader could not see: controls, direction marks, half surrogate pairs. Tabs, newlines and emoji joiners stay.
const UNSEEN = /[^\P{Cc}\n\t]|[^\P{Cf}\u200c\u200d]|\p{Cs}|\p{Zl}|\p{Zp}/gu;

/** The text with unseen characters made visible. */
function visible(text) {
  return String(text).replace(/\r\n/g, "\n").replace(UNSEEN, (letter) => {
    const code = letter.codePointAt(0).toString(16);
    return code.length < 3 ? `\\x${code.padStart(2, "0")}` : `\\u{${code}}`;
  });
}

/** At most so many UTF-16 units of a text, no surrogate pair cut in two. */
const cut = (text, units) => text.slice(0, units).replace(/[\ud800-\udbff]$/, text.length > units ? "" : "$&");

const LONG = 6000;

/** A block of text; a very long one is shown in part until asked for. `paint` makes nodes of a text. */
function block(text, label, kind = "", paint = (part) => [part]) {
  const whole = visible(text);
  const pre = el("pre", { class: kind, "aria-label": label });
  if (whole.length <= LONG) {
    pre.append(...paint(whole));
    return pre;
  }
  pre.append(...paint(cut(whole, LONG)), "…");
  const button = el("button", {
    type: "button",
    text: `Show all ${number(whole.length)} characters`,
    onclick: () => {
      pre.replaceChildren(...paint(whole));
      button.remove();
      pre.tabIndex = -1;
      pre.focus();
    },
  });
  return el("div", {}, pre, button);
}

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
/** A number for people; amounts of more than ten digits, such as floating-point operations, as a power of ten. */
function number(value) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) >= 1e10) return value.toExponential(2);
  return (Math.abs(value) < 1 ? small : plain).format(value);
}
const percent = (value) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)}\u00a0%`);
const exact = (value) => (value === null || value === undefined ? "–" : String(Math.round(value * 1000) / 1000));

/** Seconds in the unit that suits them. */
function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${(1000 * seconds).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return seconds < 120 ? `${seconds.toFixed(1)} s` : `${number(seconds / 60)} min`;
}

/** A table from column heads, `{name, n}` where n marks numbers, and rows of texts or elements. */
function table(columns, rows) {
  return el("table", {},
    el("thead", {}, el("tr", {}, columns.map((column) =>
      el("th", { scope: "col", class: column.n ? "n" : null, title: column.title, text: column.name })))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, place) =>
      el("td", { class: columns[place].n ? "n" : null }, cell))))));
}

/** A list of name and value. */
const list = (pairs) => el("dl", {}, pairs.map(([name, value]) => [el("dt", { text: name }), el("dd", {}, value)]));
