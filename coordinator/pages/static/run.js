/* A run: its parts on the page, what is chosen in them, and when they are drawn. */

class RunView {
  constructor(element, isInlined) {
    this.element = element;
    this.state = { round: 0, frame: -1, selected: -1, colouring: null, links: null };
    this.ticks = [];
    this.build(isInlined);
    this.theme = readTheme(element);
    const redraw = () => this.ask();
    for (const part of [this.picture, this.column, this.panel.column]) part.redraw = redraw;
    new ResizeObserver(() => this.ask(true)).observe(element);
    watchTheme(() => ((this.theme = readTheme(element)), this.ask(true)));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.choose(-1));
  }

  build(isInlined) {
    const box = (name, tag = "div", attributes = {}) => make(tag, { class: name, ...attributes });
    const [head, bar, graph] = [box("pv-head", "header", { hidden: isInlined }), box("pv-bar"), box("pv-graph")];
    const [controls, legend] = [box("pv-controls"), box("pv-legend")];
    const [charts, spoken] = [box("pv-charts"), box("pv-spoken")];
    const peer = box("pv-peer", "section", { hidden: true });
    this.note = box("pv-note", "p");
    const [left, right] = [box("pv-left"), box("pv-right")];
    const { source } = this.element.dataset;
    this.header = new Header(head, isInlined || source.endsWith("/main") ? "" : "/");
    this.colour = make("select", { onchange: () => ((this.chosenColour = this.colour.value), this.pickColour()) });
    this.ofLinks = make("select", { onchange: () => ((this.chosenOfLinks = this.ofLinks.value), this.pickOfLinks()) });
    this.peers = make("select", { onchange: () => this.choose(Number(this.peers.value)) });
    const label = (words, field) => make("label", {}, make("span", {}, words), field);
    const [colour, ofLinks] = [label("colour of peers", this.colour), label("colour of links", this.ofLinks)];
    bar.append(colour, label("peer", this.peers), ofLinks);
    left.append(bar, graph, controls, legend, this.note);
    right.append(peer);
    this.gains = new GainsFigure(right);
    this.gainsHidden = isInlined;
    right.append(charts);
    replaceChildren(this.element, head, make("div", { class: "pv-columns" }, left, right), spoken);
    const pick = (round) => this.setRound(round);
    this.picture = new GraphPicture(graph, (chosen) => this.choose(chosen));
    const scope = isInlined ? this.element : document.body; // the space bar still scrolls a report
    const setVirtual = () => this.show(this.whole, {});
    this.controls = new Controls(controls, { pick, setVirtual, scope });
    const byHand = (round) => this.controls.byHand(round);
    this.legend = new Legend(legend);
    this.column = new ChartColumn(charts, byHand);
    const choose = (chosen) => this.choose(chosen);
    this.panel = new PeerPanel(peer, { pick: byHand, close: () => this.choose(-1), choose });
    this.spoken = new SpokenState(spoken, this.picture.links);
  }

  /** Shows a document, or the one shown already after changes were applied to it. */
  show(whole, changes) {
    const set = (changes && changes.set) || {};
    this.whole = whole;
    this.header.show(whole);
    this.controls.show(whole);
    this.picture.show(whole, changes);
    this.gains.show(this.gainsHidden ? [] : whole.gains);
    this.clock = this.state.clock = this.controls.clock;
    this.column.show(whole.curves.filter(hasValues).map(seriesOf), this.clock);
    if (this.peers.options.length !== whole.peers.count + 1) this.fillPeers();
    if (!changes || set.nodes) this.fillColours();
    this.fillOfLinks();
    this.note.textContent = [whole.links.note, leftOut(whole.links)].filter(Boolean).join(" ");
    if (this.state.selected >= whole.peers.count) this.state.selected = -1;
    this.showPeer();
    this.setRound(this.controls.following ? this.controls.newest : this.state.round);
    this.legendStale = true;
  }

  fillColours() {
    replaceChildren(this.colour, ...this.whole.nodes.map((each) => make("option", { value: each.name }, each.title)));
    this.colour.parentElement.hidden = !this.whole.nodes.length;
    this.pickColour();
  }

  /** Choices of what colours the links; hidden where there is but one. */
  fillOfLinks() {
    const found = linkColourings(this.whole);
    const names = found.map(({ name, title }) => [name, title]);
    fillWith(this.ofLinks, names, ([value, title]) => make("option", { value }, title));
    this.ofLinks.parentElement.hidden = found.length < 2;
    this.pickOfLinks();
  }

  pickOfLinks() {
    const found = linkColourings(this.whole);
    const before = this.state.links;
    this.state.links = found.find((each) => each.name === this.chosenOfLinks) || found[0];
    this.ofLinks.value = this.state.links.name;
    if (before && before.name === this.state.links.name) return; // all else of it is part of the document
    this.legendStale = true;
    this.spoken.change(this.whole, this.state);
    this.ask(true);
  }

  fillPeers() {
    const option = (peer) => make("option", { value: peer }, String(peer));
    const numbers = Array.from({ length: this.whole.peers.count }, (_, peer) => option(peer));
    replaceChildren(this.peers, make("option", { value: "-1" }, "none chosen"), ...numbers);
    this.peers.value = String(this.state.selected);
  }

  /** The colouring that was chosen; else the first that is measured by now: a run that is played is not grey. */
  pickColour() {
    const { nodes } = this.whole;
    const chosen = nodes.find((each) => each.name === this.chosenColour);
    const measured = nodes.find((each) => each.frames.length && each.frames[0] <= this.state.frame);
    this.state.colouring = chosen || measured || nodes[0] || null;
    if (this.state.colouring) this.colour.value = this.state.colouring.name;
    this.legendStale = true;
    this.showPeer();
    this.spoken.change(this.whole, this.state);
    this.ask(true);
  }

  showPeer() {
    this.panel.show(this.whole, this.state.selected, this.state.colouring, this.clock);
  }

  choose(peer) {
    if (!this.whole) return;
    this.state.selected = peer;
    this.peers.value = String(peer);
    this.showPeer();
    this.ask(true);
  }

  setRound(round) {
    if (!this.whole) return;
    this.state.round = clamp(round, this.whole.clock.from, this.controls.newest);
    this.controls.round = this.state.round;
    const frame = lastAtMost(this.whole.frames, this.state.round);
    if (frame !== this.state.frame) {
      this.state.frame = frame;
      this.pickColour();
    }
    this.spoken.change(this.whole, this.state);
    this.ask();
  }

  /** Asks for a picture: one a frame of the screen at most, however much changes. */
  ask(everything = false) {
    this.everything = this.everything || everything;
    if (this.asked || !this.whole) return;
    this.asked = true;
    requestAnimationFrame((now) => {
      this.asked = false;
      this.draw(now);
    });
  }

  draw(now) {
    this.ticks.push(now);
    while (this.ticks[0] < now - 1000) this.ticks.shift();
    if (this.controls.playing) this.advance(now);
    const everything = this.everything;
    this.everything = false;
    this.picture.draw(this.state, this.theme, everything);
    this.controls.draw(this.state.round, this.theme);
    this.column.draw(this.state.round, this.theme, everything);
    this.panel.draw(this.whole, this.state, this.theme, everything);
    this.gains.draw(this.theme, everything);
    if (this.legendStale || everything) this.legend.draw(this.whole, this.state, this.theme);
    this.legendStale = false;
  }

  advance(now) {
    const round = this.controls.roundAt(now);
    if (round === null) {
      this.setRound(this.controls.newest);
      this.controls.setPlaying(false);
    } else this.setRound(round);
    this.ask();
  }
}

function hasValues(curve) {
  return curve.y.some((value) => value !== null);
}

function seriesOf(curve) {
  return { ...curve, floor: curve.low_is };
}

function leftOut(links) {
  return links.left_out ? `${formatNumber(links.left_out, 9)} more links are not drawn.` : "";
}
