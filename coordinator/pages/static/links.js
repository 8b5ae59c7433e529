/* The layer of links: colour by their value on the fixed scale, width by messages since the last measurement. */

/** What is known of each link at a frame of the document. */
function linkState(whole, frame) {
  const { values, messages } = whole.links;
  if (frame < 0) return { values: null, messages: null };
  return { values: values[frame] || null, messages: (messages && messages[frame]) || null };
}

/** A link is part of the graph of that time if it was measured, or may have been: nothing says that it was silent. */
function isVisible(state, link) {
  if (state.values && state.values[link] !== null && state.values[link] !== undefined) return true;
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

/** Draws all links of a frame; `chosen` is a peer whose links stand out, or -1. */
function drawLinks(context, graph, whole, frame, chosen, theme) {
  const state = linkState(whole, frame);
  const width = linkWidths(graph.list, state.messages);
  const groups = groupLinks(graph, whole.links.scale, state, width, chosen);
  const crowd = clamp(0.33 / coverage(graph), 0.07, 1);
  const order = [...groups.keys()].sort((a, b) => a - b);
  for (const key of order) {
    const { path, colour, wide, stands } = groups.get(key);
    context.strokeStyle = colour < 0 ? theme.unknown : theme.links[colour].css;
    context.fillStyle = context.strokeStyle;
    context.lineWidth = stands ? Math.max(wide, 1.8) : wide;
    const least = crowd * (colour < 0 ? 0.5 : crowd < 1 ? 0.6 + (0.8 * colour) / BUCKETS : 1);
    context.globalAlpha = stands || (chosen < 0 && graph.arrows) ? 1 : chosen >= 0 ? least * 0.35 : least;
    context.stroke(path);
    if (graph.arrows) context.fill(path.heads);
  }
  context.globalAlpha = 1;
}

/** How often a place of the square is crossed by a line of one pixel, on average. */
function coverage(graph) {
  let length = 0;
  for (const [fromX, fromY, toX, toY] of graph.ends) length += Math.hypot(toX - fromX, toY - fromY);
  return Math.max(length / graph.size ** 2, 1e-9);
}

/** Links of one colour and nearly one width share a path: one call of the canvas for all of them. */
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
    const wide = Math.round(width(link) * 2) / 2;
    const key = (stands ? 1e6 : 0) + (colour + 1) * 100 + wide * 2; // what differs most lies on top
    if (!groups.has(key)) groups.set(key, { path: newPath(), colour, wide: Math.max(wide, 0.5), stands });
    const { path } = groups.get(key);
    const [fromX, fromY, toX, toY] = graph.ends[link];
    path.moveTo(fromX, fromY);
    path.lineTo(toX, toY);
    if (graph.arrows) addHead(path.heads, fromX, fromY, toX, toY, wide);
  }
  return groups;
}

function newPath() {
  const path = new Path2D();
  path.heads = new Path2D();
  return path;
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
