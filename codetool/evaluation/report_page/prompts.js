// The prompts that policy and PRM read at a step, decoded when somebody asks for one. codetool/evaluation/prompt_encoding.py encodes them.

/** The text of a node's prompt: part of another node's, then pieces of this one. */
function promptText(encoded, id, byNode, lines) {
  const [base, keep, pieces] = encoded[id];
  const begins = base === null ? "" : promptText(encoded, base, byNode, lines).slice(0, keep);
  return begins + pieces.map((piece) => {
    if (typeof piece === "string") return piece;
    const [kind, source, start, end] = piece;
    if (kind === "l") return source.map((line) => lines[line]).join("\n");
    const node = byNode.get(source);
    return kind === "t" ? node.text : node.execution.observation.slice(start, end);
  }).join("");
}

/** The messages of a prompt, each under its role. */
function messages(text, ends) {
  return ends.map(([role, end], place) => [
    el("h4", { text: visible(role) }), block(text.slice(place ? ends[place - 1][1] : 0, end), "message")]);
}

/** What is known of how exact a policy's prompt is. */
function exactness(prompts, id) {
  if (!prompts.checked) return "Rebuilt from the recorded tree. No checksum was recorded to compare it with.";
  if (prompts.inexact.includes(id)) return "Rebuilt from the recorded tree. Its checksum is not the recorded one: the text that was sent differed.";
  const shown = prompts.shown[id];
  return `Exactly as sent: its checksum is the recorded one.${shown ? ` It shows ${number(shown)} earlier step${shown > 1 ? "s" : ""} tried here.` : ""}`;
}

/** Details that show a prompt of `reader`, "policy" or "prm", at a node once they are opened. */
function promptDetails(reader, title, place, node, byNode) {
  return el("details", { class: "prompt", "data-reader": reader, ontoggle: async (event) => {
    const details = event.target;
    if (!details.open || details.children.length > 1) return;
    const body = el("div", { text: "Unpacking …" });
    details.append(body);
    const [prompts, lines] = await Promise.all([unpack(`prompts-${place}`), unpack("prompt-lines")]);
    if (!lines) body.textContent = "This page was written without prompts. Write it again with: python run.py stage=report report.folder=FOLDER";
    else if (!prompts || prompts.problem) body.textContent = prompts ? visible(prompts.problem) : "The prompts of this task cannot be rebuilt.";
    else if (!prompts[reader][node.id]) body.textContent = "No prompt is known for this step: the PRM reads none, or is made of several.";
    else body.replaceChildren(
      el("p", { class: "soft", text: reader === "policy" ? exactness(prompts, node.id) : "Rebuilt from the recorded tree." }),
      ...messages(promptText(prompts[reader], node.id, byNode, lines), prompts[reader][node.id][3]).flat());
  } }, el("summary", { text: title }));
}

/** What policy and PRM read at a step, on demand. */
function promptsOf(place, node, byNode) {
  return [promptDetails("policy", "What the policy read", place, node, byNode),
    node.latent !== null && promptDetails("prm", "What the PRM read", place, node, byNode)];
}
