/* What is said beside the pictures: title, status, verdicts, facts; and the state in words for screen readers. */

const QUIET = 400; // milliseconds without a change before the state is read out
const SAY_AFTER = 8000; // and, of a run that goes on, how long it may take at most
const CLASSES = ["running", "finished", "stopped", "interrupted", "failed", "lost"];

/** A status as a chip: a word in a colour that it does not depend on. */
function paintStatus(chip, status, more = "") {
  const kind = CLASSES.find((each) => (status || "").startsWith(each)) || "other";
  chip.className = "pv-chip pv-" + kind;
  replaceChildren(chip, named(status || "unknown"), more ? make("span", {}, more) : null);
}

function progressWords({ status, stage, stage_words: words, completed, total, clock }) {
  const progress = `${formatNumber(completed, 9)} of ${formatNumber(total, 9)}`;
  if (status !== "running") return total && completed < total ? `, ${progress} rounds` : "";
  const now = words && stage !== "rounds" ? `: ${words}` : "";
  return `${now}, ${clock ? clock.name : "round"} ${progress}`;
}

/** Verdicts, a line each: those that claim something stand out by weight, colour and shape, as in the report. */
function fillHeadline(list, { headline, tones }) {
  const lines = (headline || []).map((words, index) => [words, (tones || [])[index]]);
  fillWith(list, lines, ([words, tone]) => make("li", tone ? { class: `pv-tone pv-tone-${tone}` } : {}, named(words)));
}

/** Tables of a run, each with its title: who lies, and on whose classes peers are how good. */
function fillTables(host, tables) {
  const cells = (kind, words) => words.map((word) => make(kind, {}, named(word)));
  fillWith(host, tables, ({ title, names, rows }) => {
    const lines = rows.map((row) => make("tr", {}, ...cells("td", row)));
    const head = make("tr", {}, ...cells("th", names));
    return make("table", {}, make("caption", {}, title), head, ...lines);
  });
  host.hidden = !tables.length;
}

class Header {
  /** `home`: address of the list that the run is in, or empty. */
  constructor(host, home) {
    if (home) host.append(make("nav", { class: "pv-nav" }, make("a", { href: home }, "\u2190 all runs")));
    this.title = make("h1", { class: "pv-title" });
    this.chip = make("span", { class: "pv-chip" });
    this.contact = make("span", { class: "pv-chip pv-lost", role: "status", hidden: true });
    this.bar = make("progress", { class: "pv-progress", max: "1", "aria-label": "rounds completed" });
    this.headline = make("ul", { class: "pv-headline" });
    this.facts = make("dl", { class: "pv-facts" });
    this.flags = make("ul", { class: "pv-flags" });
    const line = make("div", { class: "pv-line" }, this.title, this.chip, this.contact);
    this.tables = make("div", { class: "pv-tables" });
    host.append(line, this.bar, this.headline, this.tables, this.flags, this.facts);
  }

  setContact(kept) {
    this.contact.textContent = kept ? "" : "lost contact: what you see is what came last";
    this.contact.hidden = kept;
  }

  show(whole) {
    const names = whole.name && whole.name !== whole.title ? [whole.title, whole.name] : [whole.title];
    fillWith(this.title, names, (name) => named(name, name === whole.title ? "" : "pv-name"));
    paintStatus(this.chip, whole.status, progressWords(whole));
    this.bar.hidden = whole.status !== "running";
    this.bar.value = whole.total ? whole.completed / whole.total : 0;
    fillHeadline(this.headline, whole);
    fillTables(this.tables, whole.tables || []);
    const item = (words) => make("li", {}, named(words));
    fillWith(this.flags, [whole.message, ...(whole.flags || [])].filter(Boolean), item);
    const fact = ([name, words]) => make("div", {}, make("dt", {}, named(name)), make("dd", {}, named(words)));
    fillWith(this.facts, whole.facts || [], fact);
  }
}

/** The state of the picture in one sentence. */
function stateSentence(whole, { round, frame, colouring, selected, links: ofLinks, clock }) {
  const parts = [`${clock.words(round)}, ${whole.peers.count} peers`];
  const known = (values) => (values || []).filter((value) => value !== null && value !== undefined);
  const values = known(nodeValues(colouring, frame));
  if (values.length) parts.push(`${colouring.title} ${extent(values, (value) => colouredValue(colouring, value))}`);
  const links = known(linkState(whole, frame, ofLinks).values);
  const span = links.length ? extent(links, (value) => withUnit(formatNumber(value), ofLinks.unit)) : "";
  if (span) parts.push(`${ofLinks.title} of ${links.length} links ${span}`);
  for (const peer of Object.keys(whole.peers.marks || {})) {
    for (const mark of marksAt(whole, peer, round)) parts.push(`peer ${peer} ${mark.words}`);
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
    this.since = this.since || performance.now();
    const wait = clamp(this.since + SAY_AFTER - performance.now(), 0, QUIET);
    this.timer = setTimeout(() => this.say(whole, { ...state }), wait);
  }

  say(whole, state) {
    this.since = 0;
    const sentence = stateSentence(whole, state);
    this.picture.setAttribute("aria-label", `The graph of peers: ${sentence}`);
    if (this.sentence.textContent !== sentence) this.sentence.textContent = sentence;
    const counts = [whole.peers.count, whole.frames.length, ...whole.nodes.map((each) => each.frames.length)];
    const now = `${state.frame} ${counts}`;
    if (now !== this.said) this.fillTable(whole, state);
    this.said = now;
  }

  fillTable(whole, state) {
    const columns = whole.nodes.map((each) => ({ each, values: nodeValues(each, state.frame) }));
    const groups = groupNames(whole);
    const titles = ["peer", ...(groups.length ? ["group"] : []), ...whole.nodes.map((each) => each.title)];
    const head = titles.map((words) => make("th", { scope: "col" }, words));
    const rows = Array.from({ length: whole.peers.count }, (_, peer) => {
      const cells = columns.map(({ each, values }) => make("td", {}, colouredValue(each, values && values[peer])));
      if (groups.length) cells.unshift(make("td", {}, named(groups[whole.peers.group_of[peer]])));
      return make("tr", {}, make("th", { scope: "row" }, String(peer)), ...cells);
    });
    const at = `${whole.clock.name} ${whole.frames[state.frame] ?? NONE}`;
    const caption = make("caption", {}, `Peers as measured at ${at}`);
    replaceChildren(this.table, caption, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  }
}
