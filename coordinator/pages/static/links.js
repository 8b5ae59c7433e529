/* The layer of links: colour by their value on the fixed scale, width by messages since the last measurement. */

/** What links may be coloured by: what was measured of their ends, and what else the document has, as of peers. */
function linkColourings({ links }) {
  const { title, unit, scale } = links;
  return [{ name: "measured", title, unit, scale }, ...(links.colourings || [])];
}

/** What is known of each link at a frame of the document: `values` of the colouring, `measured` of its two ends. */
function linkState(whole, frame, colouring) {
  const { values, messages } = whole.links;
  if (frame < 0) return { values: null, measured: null, messages: null };
  const measured = values[frame] || null;
  const coloured = colouring && colouring.values ? nodeValues(colouring, frame) : measured;
  return { values: coloured, measured, messages: (messages && messages[frame]) || null };
}

/** A link is part of the graph of that time if it was measured, or may have been: nothing says that it was silent. */
function isVisible(state, link) {
  if (state.measured && state.measured[link] !== null && state.measured[link] !== undefined) return true;
  return !(state.messages && !state.messages[link]);
}

/** Line width in pixels: by the share of the busiest link's messages; thinner where links are many. */
function linkWidths(links, messages) {
  const [thin, thick] = links.length <= ARROWS_UP_TO ? [1.4, 4.5] : links.length <= 1000 ? [0.8, 2.4] : [0.5, 1.1];
  let [least, most] = [Infinity, 0];
  for (const count of messages || []) [least, most] = [Math.min(least, count || Infinity), Math.max(most, count)];
  if (least >= most) return () => (thin + thick) / 2;
  return (link) => thin + (thick - thin) * (messages[link] / most);
}

/** Draws all links of a frame; `selected` is a peer whose links stand out, or -1. */
function drawLinks(context, graph, whole, { frame, selected: chosen, links: colouring }, theme) {
  const state = linkState(whole, frame, colouring);
  const width = linkWidths(graph.list, state.messages);
  const groups = groupLinks(graph, colouring.scale, state, width, chosen);
  const crowd = clamp(0.33 / graph.coverage, 0.05, 1);
  const isPale = chosen >= 0;
  for (const group of groups) {
    const css = group.colour < 0 ? theme.unknown : theme.links[group.colour].css;
    const least = crowd * (group.colour < 0 ? 0.5 : crowd < 1 ? 0.6 + (0.8 * group.colour) / BUCKETS : 1);
    const alpha = group.stands || (!isPale && graph.arrows) ? 1 : isPale ? least * 0.35 : least;
    strokeGroup(context, graph, group, css, alpha);
  }
  context.globalAlpha = 1;
}

/** Strokes links of one colour and nearly one width by one call of the canvas. */
function strokeGroup(context, graph, { links, wide, stands }, css, alpha) {
  const path = new Path2D();
  const heads = new Path2D();
  for (const link of links) {
    const [fromX, fromY, toX, toY] = graph.ends[link];
    path.moveTo(fromX, fromY);
    path.lineTo(toX, toY);
    if (graph.arrows) addHead(heads, fromX, fromY, toX, toY, wide);
  }
  context.strokeStyle = css;
  context.fillStyle = css;
  context.lineWidth = stands ? Math.max(wide, 1.8) : wide;
  context.globalAlpha = alpha;
  context.stroke(path);
  if (graph.arrows) context.fill(heads);
}

/** How often a place of the square is crossed by a line of one pixel, on average. */
function coverage(graph) {
  let length = 0;
  graph.ends.forEach(([fromX, fromY, toX, toY], link) => {
    if (graph.reverse[link] < link) length += Math.hypot(toX - fromX, toY - fromY); // once for both directions
  });
  return Math.max(length / graph.size ** 2, 1e-9);
}

/** Visible links by colour and width, in the order in which they are drawn: what differs most lies on top. */
function groupLinks(graph, scale, state, width, chosen) {
  const groups = new Map();
  for (let link = 0; link < graph.list.length; link++) {
    if (!isVisible(state, link)) continue;
    const [teacher, student] = graph.list[link];
    const stands = chosen >= 0 && (teacher === chosen || student === chosen);
    const opposite = graph.reverse[link];
    if (!graph.arrows && opposite >= 0 && opposite < link && isVisible(state, opposite)) continue; // the same line
    const value = state.values ? state.values[link] : null;
    const colour = value === null || value === undefined ? -1 : bucket(value, scale);
    const wide = Math.max(Math.round(width(link) * 2) / 2, 0.5);
    const key = (stands ? 1e6 : 0) + (colour + 1) * 100 + wide * 2;
    if (!groups.has(key)) groups.set(key, { key, links: [], colour, wide, stands });
    groups.get(key).links.push(link);
  }
  return [...groups.values()].sort((a, b) => a.key - b.key);
}

function addHead(path, fromX, fromY, toX, toY, wide) {
  const length = Math.hypot(toX - fromX, toY - fromY) || 1;
  const [alongX, alongY] = [(toX - fromX) / length, (toY - fromY) / length];
  const long = 5 + wide;
  const half = 2.2 + wide * 0.7;
  path.moveTo(toX + alongX * 2, toY + alongY * 2);
  path.lineTo(toX - alongX * long - alongY * half, toY - alongY * long + alongX * half);
  path.lineTo(toX - alongX * long + alongY * half, toY - alongY * long - alongX * half);
  path.closePath();
}
