/* The panel of a chosen peer: what it is, its curves, whom it hears and who hears it. */

const MOST_ROWS = 60;

class PeerPanel {
  constructor(host, { pick, close, choose }) {
    this.host = host;
    this.choose = choose;
    this.title = make("h3", { class: "pv-peer-title" });
    this.facts = make("ul", { class: "pv-muted pv-peer-facts" });
    const attributes = { type: "button", class: "pv-button", "aria-label": "close this peer", title: "close (Escape)" };
    const button = make("button", { ...attributes, onclick: close }, "\u00d7");
    this.curves = make("div", { class: "pv-charts" });
    this.tables = make("div", { class: "pv-tables" });
    host.append(make("div", { class: "pv-peer-head" }, this.title, button), this.facts, this.tables, this.curves);
    this.column = new ChartColumn(this.curves, pick);
  }

  show(whole, peer, colouring, clock) {
    this.host.hidden = peer < 0;
    this.peer = peer;
    this.drawn = null;
    if (peer < 0) return;
    this.title.textContent = `Peer ${peer}`;
    const curves = [...whole.peer_curves, ...measured(whole, colouring)].filter((curve) => curve.x.length);
    this.column.show(curves.map((curve) => seriesOfPeer(curve, peer)), clock);
  }

  draw(whole, state, theme, everything) {
    if (this.peer < 0) return;
    const words = peerLines(whole, this.peer, state).slice(1);
    fillWith(this.facts, words, (line) => make("li", {}, named(line)));
    const now = `${state.frame} ${everything}`; // what colours the links changes with everything
    if (now !== this.drawn) this.fill(whole, state);
    this.drawn = `${state.frame} false`;
    this.column.draw(state.round, theme, everything);
  }

  fill(whole, state) {
    const { hears, heard } = neighbours(whole, this.peer, state);
    const { title, unit } = state.links;
    const table = (words, rows) => this.table(words, rows, whole, unit ? `${title} (${unit})` : title);
    if (!whole.links.directed) replaceChildren(this.tables, table("exchanges with", hears.concat(heard)));
    else replaceChildren(this.tables, table("hears", hears), table("is heard by", heard));
  }

  table(words, rows, whole, title) {
    const cell = (tag, text, attributes = {}) => make(tag, attributes, named(text));
    const head = [cell("th", "peer", { scope: "col" }), cell("th", title, { scope: "col" })];
    if (whole.links.messages) head.push(cell("th", "messages", { scope: "col" }));
    const body = rows.slice(0, MOST_ROWS).map((row) => {
      const attributes = { type: "button", class: "pv-link", onclick: () => this.choose(row.peer) };
      const cells = [make("td", {}, make("button", attributes, String(row.peer))), cell("td", formatNumber(row.value))];
      if (whole.links.messages) cells.push(cell("td", formatNumber(row.messages, 6)));
      return make("tr", {}, ...cells);
    });
    const more = rows.length > MOST_ROWS ? ` (the ${MOST_ROWS} of ${rows.length} with the highest values)` : "";
    const caption = make("caption", {}, rows.length ? words + more : `${words} nobody`);
    if (!rows.length) return make("table", {}, caption);
    return make("table", {}, caption, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
  }
}

/** The value that colours the peers as a curve, where it was measured more than once and is not one already. */
function measured(whole, colouring) {
  if (!colouring || colouring.frames.length < 2) return [];
  if (whole.peer_curves.some((curve) => curve.name === colouring.name)) return [];
  return [{ ...colouring, x: colouring.frames.map((frame) => whole.frames[frame]), y: colouring.values }];
}

function seriesOfPeer({ title, unit, x, y }, peer) {
  return { title, unit, x, y: y.map((row) => row[peer] ?? null), low: null, high: null, levels: [], floor: null };
}

/** Links of a peer, those with the highest values first: [{peer, value, messages}] of teachers and of students. */
function neighbours(whole, peer, { frame, links }) {
  const state = linkState(whole, frame, links);
  const [hears, heard] = [[], []];
  whole.links.list.forEach(([teacher, student], link) => {
    if ((teacher !== peer && student !== peer) || !isVisible(state, link)) return;
    const value = state.values ? state.values[link] ?? null : null;
    const row = { value, messages: state.messages ? state.messages[link] : null };
    if (student === peer) hears.push({ peer: teacher, ...row });
    else heard.push({ peer: student, ...row });
  });
  const byValue = (a, b) => (b.value ?? -1) - (a.value ?? -1) || a.peer - b.peer;
  return { hears: hears.sort(byValue), heard: heard.sort(byValue) };
}
