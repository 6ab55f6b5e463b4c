// Colours Python lightly: comments, strings, numbers, keywords and what is called.

const PYTHON = new RegExp([
  "(#[^\\n]*)",
  "([rbfuRBFU]{0,2}(?:\"\"\"[^]*?(?:\"\"\"|$)|'''[^]*?(?:'''|$)|\"(?:\\\\[^]|[^\"\\\\\\n])*\"?|'(?:\\\\[^]|[^'\\\\\\n])*'?))",
  "(\\b\\d[\\w.]*)",
  "([A-Za-z_]\\w*)(\\s*\\()?",
].join("|"), "g");

const KEYWORDS = new Set((
  "False None True and as assert async await break class continue def del elif else except finally for from global if " +
  "import in is lambda nonlocal not or pass raise return try while with yield"
).split(" "));

/** The nodes of a program. */
function painted(code) {
  const nodes = [];
  let end = 0;
  for (const match of code.matchAll(PYTHON)) {
    const [, comment, string, digits, name, call] = match;
    const kind = comment ? "c" : string ? "s" : digits ? "d" : KEYWORDS.has(name) ? "k" : call ? "f" : null;
    if (!kind) continue;
    const text = comment || string || digits || name;
    nodes.push(code.slice(end, match.index), el("span", { class: kind, text }));
    end = match.index + text.length;
  }
  nodes.push(code.slice(end));
  return nodes;
}
