/* The legend beneath the graph: scales with their ends and units, and the marks that occur. */

const SWATCH = [120, 10];

class Legend {
  constructor(host) {
    this.host = host;
  }

  /** Made anew only where its words or colours change: it is asked for each measurement that the slider passes. */
  draw(whole, { colouring, frame, links }, theme) {
    const { messages, list } = whole.links;
    const { title, unit, scale } = links;
    const peers = colouring && `peers: ${colouring.title}${notYet(whole, colouring, frame)}`;
    const widths = messageWords((messages && messages[frame]) || []);
    const kinds = new Set(Object.values(whole.peers.marks || {}).flatMap((marks) => marks.map((mark) => mark.kind)));
    const scales = [colouring && colouring.scale, title, scale];
    const groups = groupNames(whole);
    const looks = JSON.stringify([peers, scales, widths, [...kinds], groups, theme.dark, devicePixelRatio]);
    if (looks === this.drawn) return;
    this.drawn = looks;
    const stops = colouring && (colouring.kind === "diverging" ? theme.diverging : theme.sequential);
    replaceChildren(
      this.host,
      colouring ? scaleEntry(peers, colouring.scale, colouring.unit, stops) : null,
      list.length && scale ? scaleEntry(`links: ${title}`, scale, unit, theme.links) : null,
      widths ? make("span", { class: "pv-key" }, widths.isOne ? null : widthSample(theme), widths.words) : null,
      ...groups.map((name, group) => make("span", { class: "pv-key" }, shapeSample(group, theme), named(name))),
      ...[...kinds].map((kind) => make("span", { class: "pv-key" }, markSample(kind, theme), kind)),
    );
  }
}

function notYet(whole, colouring, frame) {
  const [first] = colouring.frames;
  return first === undefined || first <= frame ? "" : ` (first measured at ${whole.clock.name} ${whole.frames[first]})`;
}

function scaleEntry(words, scale, unit, stops) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const context = prepare(canvas, ...SWATCH);
  stops.forEach((stop, index) => {
    context.fillStyle = stop.css;
    context.fillRect((index * SWATCH[0]) / BUCKETS, 0, SWATCH[0] / BUCKETS + 1, SWATCH[1]);
  });
  const [low, high] = scale.map((value) => (value > 0 && scale[0] < 0 ? "+" : "") + formatNumber(value));
  const ends = make("span", { class: "pv-scale" }, low, canvas, high, make("span", { class: "pv-muted" }, unit));
  return make("span", { class: "pv-key" }, named(words), ends);
}

/** What a link's width says: messages since the last measurement; only their number where all links have the same. */
function messageWords(counts) {
  let [least, most] = [Infinity, 0];
  for (const count of counts) [least, most] = [Math.min(least, count), Math.max(most, count)];
  if (!most) return null;
  const words = "messages since the last measurement";
  const isOne = least === most;
  const number = formatNumber(most, 6);
  return { isOne, words: isOne ? `each link: ${number} ${words}` : `${words}, up to ${number}` };
}

function widthSample(theme) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const context = prepare(canvas, 34, 12);
  context.fillStyle = theme.muted;
  context.beginPath();
  context.moveTo(0, 5.5);
  context.lineTo(34, 3);
  context.lineTo(34, 9);
  context.lineTo(0, 6.5);
  context.fill();
  return canvas;
}

/** What the shapes of peers say; nothing where all are in one group. */
function groupNames({ peers }) {
  const names = peers.group_names || peers.groups || [];
  return names.length > 1 ? names : [];
}

function shapeSample(group, theme) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const context = prepare(canvas, 18, 18);
  const path = new Path2D();
  addShape(path, SHAPES[group % SHAPES.length], 9, SHAPES[group % SHAPES.length].corners === 3 ? 10.5 : 9, 5.5);
  context.fillStyle = theme.unknown;
  context.strokeStyle = theme.muted;
  context.fill(path);
  context.stroke(path);
  return canvas;
}

function markSample(kind, theme) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const context = prepare(canvas, 22, 22);
  context.fillStyle = theme.unknown;
  context.beginPath();
  context.arc(11, 11, 5, 0, 2 * Math.PI);
  context.fill();
  drawMark(context, kind, 11, (MARKS[kind] || {}).shape === "triangle" ? 12 : 11, 5, theme);
  return canvas;
}
