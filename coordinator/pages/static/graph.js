/* The picture of the graph: layers that are drawn only when what they show changed, and what the pointer touches. */

/** Links that are drawn in a millisecond, generously: so long a picture of many links stays before there is another. */
const LINKS_A_MS = 100;

class GraphPicture {
  constructor(host, choose) {
    this.links = make("canvas", { role: "img" });
    this.nodes = make("canvas", { "aria-hidden": "true" });
    this.over = make("canvas", { "aria-hidden": "true" });
    this.tip = make("div", { class: "pv-tip", hidden: true, "aria-hidden": "true" });
    this.host = host;
    host.append(this.links, this.nodes, this.over, this.tip);
    this.drawn = {};
    this.hover = { peer: -1, link: -1 };
    this.redraw = () => {};
    this.over.addEventListener("pointermove", (event) => this.point(event.offsetX, event.offsetY));
    this.over.addEventListener("pointerleave", () => this.point(-99, -99));
    this.over.addEventListener("click", (event) => {
      this.point(event.offsetX, event.offsetY);
      choose(peerAt(this.graph, event.offsetX, event.offsetY));
    });
  }

  /** A document; `changes` say what in it is new, null if all may be. */
  show(whole, changes) {
    this.whole = whole;
    const { set = {}, append = {} } = changes || {};
    if (!changes || set.peers || set.links) this.graph = null;
    const seen = (keys) => keys && ["frames", "nodes", "links", "peers", "clock"].some((key) => key in keys);
    if (!changes || seen(set) || seen(append)) this.drawn = {};
  }

  point(x, y) {
    if (!this.graph) return;
    this.pointer = [x, y];
    this.redraw();
  }

  /** What is under the pointer, searched once a picture at most. */
  touch() {
    const [x, y] = this.pointer || [-99, -99];
    const peer = x < 0 ? -1 : peerAt(this.graph, x, y);
    const state = linkState(this.whole, this.state.frame, this.state.links);
    const link = x < 0 || peer >= 0 ? -1 : linkAt(this.graph, x, y, (each) => isVisible(state, each));
    this.hover = { peer, link };
    this.over.style.cursor = peer >= 0 ? "pointer" : "default";
  }

  /** Draws the layers whose state is not the one drawn last. */
  draw(state, theme, everything) {
    const size = this.host.clientWidth;
    if (!size) return;
    this.state = state;
    if (everything) this.drawn = {};
    if (!this.graph || this.graph.size !== size) {
      this.graph = layOutGraph(this.whole, size);
      this.drawn = {};
    }
    const { frame, round, selected, colouring } = state;
    this.drawLinkLayer(`${frame} ${selected} ${state.links.name}`, theme);
    const looks = `${frame} ${colouring && colouring.name} ${marksKey(this.whole, round)}`;
    this.layer("nodes", looks, this.nodes, (context) => {
      drawNodes(context, this.graph, this.whole, state, theme);
    });
    this.touch();
    const touched = `${frame} ${selected} ${state.links.name} ${this.hover.peer} ${this.hover.link} ${this.pointer}`;
    this.layer("over", touched, this.over, (context) => {
      this.drawOver(context, selected, theme);
      this.drawTip(state);
    });
  }

  /** While the slider is drawn over measurements the links of a crowded graph come after; all else keeps its pace. */
  drawLinkLayer(looks, theme) {
    const isSoon = performance.now() - this.linksDrawn < this.graph.list.length / LINKS_A_MS;
    if (this.drawn.links !== looks && this.drawn.links && isSoon) {
      this.redraw();
      return;
    }
    this.layer("links", looks, this.links, (context) => {
      this.linksDrawn = performance.now();
      drawLinks(context, this.graph, this.whole, this.state, theme);
    });
  }

  layer(name, state, canvas, drawing) {
    if (this.drawn[name] === state) return;
    this.drawn[name] = state;
    drawing(prepare(canvas, this.graph.size, this.graph.size));
  }

  drawOver(context, selected, theme) {
    const { graph, hover } = this;
    const ring = (peer, wide) => {
      context.lineWidth = wide;
      context.beginPath();
      context.arc(graph.x[peer], graph.y[peer], graph.radius + 1.5, 0, 2 * Math.PI);
      context.stroke();
    };
    context.strokeStyle = theme.ink;
    if (hover.peer >= 0) ring(hover.peer, 1.5);
    if (selected >= 0 && selected < graph.count) ring(selected, 3);
    if (hover.link < 0) return;
    const [fromX, fromY, toX, toY] = graph.ends[hover.link];
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(fromX, fromY);
    context.lineTo(toX, toY);
    context.stroke();
  }

  drawTip(state) {
    const { peer, link } = this.hover;
    this.tip.hidden = peer < 0 && link < 0;
    if (this.tip.hidden) return;
    const lines = peer >= 0 ? peerLines(this.whole, peer, state) : linkLines(this.whole, link, state);
    replaceChildren(this.tip, ...lines.map((line) => make("div", {}, named(line))));
    const [x, y] = this.pointer;
    const left = clamp(x + 14, 0, Math.max(0, this.graph.size - this.tip.offsetWidth));
    const below = y + 16 + this.tip.offsetHeight <= this.graph.size;
    this.tip.style.transform = `translate(${left}px, ${below ? y + 16 : y - 10 - this.tip.offsetHeight}px)`;
  }
}

/** Which marks hold at a round, as a text that differs where they do. */
function marksKey(whole, round) {
  const kinds = (peer) => marksAt(whole, peer, round).map((mark) => mark.kind);
  return Object.keys(whole.peers.marks || {}).map((peer) => `${peer}:${kinds(peer)}`).join(" ");
}

/** Value of a link at a frame, and whether it goes both ways; null where it was not measured. */
function linkValueAt(whole, link, { frame, links }) {
  const { values } = linkState(whole, frame, links);
  return (values && values[link]) ?? null;
}

function peerLines(whole, peer, { colouring, frame, round }) {
  const values = nodeValues(colouring, frame);
  const lines = [`peer ${peer}`];
  const group = whole.peers.groups[whole.peers.group_of[peer]];
  if (group) lines.push(group);
  if (colouring) lines.push(`${colouring.title}: ${colouredValue(colouring, values && values[peer])}`);
  return lines.concat(marksAt(whole, peer, round).map((mark) => mark.words));
}

function linkLines(whole, link, state) {
  const [teacher, student] = whole.links.list[link];
  const { messages } = linkState(whole, state.frame, state.links);
  const words = whole.links.directed ? `peer ${teacher} teaches peer ${student}` : `peers ${teacher} and ${student}`;
  const value = withUnit(formatNumber(linkValueAt(whole, link, state)), state.links.unit);
  const lines = [words, `${state.links.title}: ${value}`];
  if (messages) lines.push(`${formatNumber(messages[link], 6)} messages since the last measurement`);
  return lines;
}

/** A value of a colouring in words: differences with their sign. */
function colouredValue(colouring, value) {
  if (value === null || value === undefined) return "not measured yet";
  return withUnit(colouring.kind === "diverging" ? formatSigned(value) : formatNumber(value), colouring.unit);
}
