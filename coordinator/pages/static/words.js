/* What is said beside the pictures: title, status, verdicts, facts; and the state in words for screen readers. */

const QUIET = 400; // milliseconds without a change before the state is read out
const CLASSES = ["running", "finished", "stopped", "interrupted", "failed", "lost"];

/** A status as a chip: a word in a colour that it does not depend on. */
function paintStatus(chip, status, more = "") {
  const kind = CLASSES.find((each) => (status || "").startsWith(each)) || "other";
  chip.className = "pv-chip pv-" + kind;
  replaceChildren(chip, named(status || "unknown"), more ? make("span", {}, more) : null);
}

function progressWords({ status, stage, stage_words: words, completed, total, clock }) {
  if (status !== "running") return total && completed < total ? `, ${completed} of ${total} rounds` : "";
  const now = words && stage !== "rounds" ? `: ${words}` : "";
  return `${now}, ${clock ? clock.name : "round"} ${completed} of ${total}`;
}

class Header {
  constructor(host) {
    this.title = make("h1", { class: "pv-title" });
    this.chip = make("span", { class: "pv-chip" });
    this.contact = make("span", { class: "pv-chip pv-lost", role: "status", hidden: true });
    this.bar = make("progress", { class: "pv-progress", max: "1", "aria-label": "rounds completed" });
    this.headline = make("ul", { class: "pv-headline" });
    this.facts = make("dl", { class: "pv-facts" });
    this.flags = make("ul", { class: "pv-flags" });
    host.append(make("div", { class: "pv-line" }, this.title, this.chip, this.contact), this.bar, this.headline, this.flags, this.facts);
  }

  setContact(kept) {
    this.contact.textContent = kept ? "" : "lost contact: what you see is what came last";
    this.contact.hidden = kept;
  }

  show(whole) {
    replaceChildren(this.title, named(whole.title), whole.name && whole.name !== whole.title ? named(whole.name, "pv-name") : null);
    paintStatus(this.chip, whole.status, progressWords(whole));
    this.bar.hidden = whole.status !== "running";
    this.bar.value = whole.total ? whole.completed / whole.total : 0;
    replaceChildren(this.headline, ...whole.headline.map((words) => make("li", {}, named(words))));
    const flags = [whole.message, ...(whole.flags || [])].filter(Boolean);
    replaceChildren(this.flags, ...flags.map((words) => make("li", {}, named(words))));
    const facts = (whole.facts || []).map(([name, words]) => make("div", {}, make("dt", {}, named(name)), make("dd", {}, named(words))));
    replaceChildren(this.facts, ...facts);
  }
}

/** The state of the picture in one sentence. */
function stateSentence(whole, { round, frame, colouring, selected }) {
  const parts = [`${whole.clock.name} ${Math.floor(round)} of ${whole.clock.to}, ${whole.peers.count} peers`];
  const known = (values) => (values || []).filter((value) => value !== null && value !== undefined);
  const values = known(nodeValues(colouring, frame));
  if (values.length) parts.push(`${colouring.title} ${extent(values, (value) => colouredValue(colouring, value))}`);
  const links = known(linkState(whole, frame).values);
  if (links.length) parts.push(`${whole.links.title} of ${links.length} links ${extent(links, (value) => formatNumber(value))}`);
  for (const [peer, marks] of Object.entries(whole.peers.marks || {})) {
    for (const mark of marks) if (round >= (mark.from || 0)) parts.push(`peer ${peer} ${mark.words}`);
    if (parts.length > 8) break;
  }
  if (selected >= 0) parts.push(`peer ${selected} is chosen`);
  return parts.join("; ");
}

function extent(values, words) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[Math.floor((sorted.length - 1) / 2)];
  return `from ${words(sorted[0])} to ${words(sorted[sorted.length - 1])}, median ${words(middle)}`;
}

/** The same as text: a sentence that is read out when the picture rests, and a table of the peers' values. */
class SpokenState {
  constructor(host, picture) {
    this.picture = picture;
    this.sentence = make("p", { "aria-live": "polite" });
    this.table = make("table");
    host.append(this.sentence, this.table);
  }

  /** To be called for each change: what is said follows when there was none for a while. */
  change(whole, state) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.say(whole, { ...state }), QUIET);
  }

  say(whole, state) {
    const sentence = stateSentence(whole, state);
    this.picture.setAttribute("aria-label", `The graph of peers: ${sentence}`);
    if (this.sentence.textContent !== sentence) this.sentence.textContent = sentence;
    const columns = whole.nodes.map((each) => ({ each, values: nodeValues(each, state.frame) }));
    const head = ["peer", ...whole.nodes.map((each) => each.title)].map((words) => make("th", { scope: "col" }, words));
    const rows = Array.from({ length: whole.peers.count }, (_, peer) => {
      const cells = columns.map(({ each, values }) => make("td", {}, colouredValue(each, values && values[peer])));
      return make("tr", {}, make("th", { scope: "row" }, String(peer)), ...cells);
    });
    const caption = make("caption", {}, `Peers at ${whole.clock.name} ${Math.floor(state.round)}`);
    replaceChildren(this.table, caption, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  }
}
