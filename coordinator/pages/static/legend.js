/* The legend beneath the graph: scales with their ends and units, and the marks that occur. */

const SWATCH = [120, 10];

class Legend {
  constructor(host) {
    this.host = host;
  }

  draw(whole, { colouring, frame }, theme) {
    const parts = [];
    if (colouring) {
      const [first] = colouring.frames;
      const isKnown = first === undefined || first <= frame;
      const when = isKnown ? "" : ` (first measured at ${whole.clock.name} ${whole.frames[first]})`;
      const stops = colouring.kind === "diverging" ? theme.diverging : theme.sequential;
      parts.push(scaleEntry(`peers: ${colouring.title}${when}`, colouring.scale, colouring.unit, stops));
    }
    const { title, unit, scale, messages, list } = whole.links;
    if (list.length && scale) parts.push(scaleEntry(`links: ${title}`, scale, unit, theme.links));
    parts.push(messagesEntry((messages && messages[frame]) || [], theme));
    const kinds = new Set(Object.values(whole.peers.marks || {}).flatMap((marks) => marks.map((mark) => mark.kind)));
    for (const kind of kinds) parts.push(make("span", { class: "pv-key" }, markSample(kind, theme), kind));
    replaceChildren(this.host, ...parts);
  }
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

/** What a link's width says: messages since the last measurement; only a number where all links have the same. */
function messagesEntry(counts, theme) {
  let [least, most] = [Infinity, 0];
  for (const count of counts) [least, most] = [Math.min(least, count), Math.max(most, count)];
  if (!most) return null;
  const words = "messages since the last measurement";
  if (least === most) return make("span", { class: "pv-key" }, `each link: ${formatNumber(most, 6)} ${words}`);
  return make("span", { class: "pv-key" }, widthSample(theme), `${words}, up to ${formatNumber(most, 6)}`);
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

function markSample(kind, theme) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const context = prepare(canvas, 22, 22);
  context.fillStyle = theme.unknown;
  context.beginPath();
  context.arc(11, 11, 5, 0, 2 * Math.PI);
  context.fill();
  drawMark(context, kind, 11, kind === "lying" ? 12 : 11, 5, theme);
  return canvas;
}
