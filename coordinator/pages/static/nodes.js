/* The layer of peers: colour by a value of their own, marks by what became of them, labels where they fit. */

/** Values of a colouring at a frame: those measured last, or null where none were yet. */
function nodeValues(colouring, frame) {
  if (!colouring) return null;
  const at = lastAtMost(colouring.frames, frame);
  return at < 0 ? null : colouring.values[at];
}

/** How the kinds of marks are drawn around a peer: shape, whether it is a bad sign, dashes. Others are a plain ring. */
const MARKS = {
  dropped: { shape: "crossed", isBad: true },
  collapsed: { shape: "ring", isBad: true, dashes: [4, 3] },
  frozen: { shape: "square" },
  offline: { shape: "ring", dashes: [1.5, 3] },
  lying: { shape: "triangle", isBad: true },
};

/** The shape of a peer tells its group, where there are several; each as a polygon of about the area of the circle. */
const SHAPES = [
  { corners: 0, size: 1 },
  { corners: 4, size: 1.25, turn: Math.PI / 4 },
  { corners: 4, size: 1.25 },
  { corners: 3, size: 1.5 },
  { corners: 6, size: 1.1 },
];

function shapeOf(whole, peer) {
  return SHAPES[((whole.peers.group_of || [])[peer] || 0) % SHAPES.length];
}

/** Adds the outline of a peer to a path. */
function addShape(path, { corners, size, turn }, x, y, radius) {
  if (corners) {
    polygon(path, x, y, radius * size, corners, turn);
    return;
  }
  path.moveTo(x + radius, y);
  path.arc(x, y, radius, 0, 2 * Math.PI);
}

/** Marks of a peer that hold at a round: from one on, and before another if they end. */
function marksAt(whole, peer, round) {
  const holds = (mark) => round >= (mark.from || 0) && !(round >= mark.until);
  return ((whole.peers.marks || {})[peer] || []).filter(holds);
}

function nodeColour(colouring, values, peer, theme) {
  const value = values ? values[peer] : null;
  if (value === null || value === undefined) return null;
  const scale = colouring.kind === "diverging" ? theme.diverging : theme.sequential;
  return scale[bucket(value, colouring.scale)];
}

/** Draws all peers. Peers of one colour share a path. */
function drawNodes(context, graph, whole, { colouring, frame, round }, theme) {
  const values = nodeValues(colouring, frame);
  const groups = new Map();
  for (let peer = 0; peer < graph.count; peer++) {
    const colour = nodeColour(colouring, values, peer, theme);
    const css = colour ? colour.css : theme.unknown;
    if (!groups.has(css)) groups.set(css, new Path2D());
    addShape(groups.get(css), shapeOf(whole, peer), graph.x[peer], graph.y[peer], graph.radius);
  }
  context.strokeStyle = theme.muted; // values near the middle of a scale are nearly the colour of the page
  context.lineWidth = graph.radius > 6 ? 1 : 0.5;
  for (const [css, path] of groups) {
    context.fillStyle = css;
    context.fill(path);
    context.stroke(path);
  }
  for (const peer of Object.keys(whole.peers.marks || {})) {
    for (const mark of marksAt(whole, Number(peer), round)) {
      drawMark(context, mark.kind, graph.x[peer], graph.y[peer], graph.radius, theme);
    }
  }
  drawLabels(context, graph, (peer) => nodeColour(colouring, values, peer, theme), theme);
}

/** A ring around a peer, of another shape for each kind: told apart without colour. */
function drawMark(context, kind, x, y, radius, theme) {
  const around = radius + 3.5;
  const { shape, isBad, dashes } = MARKS[kind] || { shape: "ring" };
  context.strokeStyle = isBad ? theme.bad : theme.ink;
  context.lineWidth = radius > 6 ? 2 : 1.4;
  context.beginPath();
  if (shape === "square") context.rect(x - around, y - around, 2 * around, 2 * around);
  else if (shape === "triangle") polygon(context, x, y, 1.4 * around, 3);
  else context.arc(x, y, around, 0, 2 * Math.PI);
  context.setLineDash(dashes || []);
  context.stroke();
  context.setLineDash([]);
  if (shape !== "crossed") return;
  const [far, near] = [around * 0.72, radius > 8 ? around * 0.4 : 0]; // the number in the middle stays free
  context.beginPath();
  for (const [across, down] of [[1, 1], [1, -1], [-1, 1], [-1, -1]]) {
    context.moveTo(x + across * near, y + down * near);
    context.lineTo(x + across * far, y + down * far);
  }
  context.stroke();
}

/** Adds a polygon to a path, one corner on top, or turned by an angle. */
function polygon(path, x, y, radius, corners, turn = 0) {
  for (let corner = 0; corner < corners; corner++) {
    const angle = turn - Math.PI / 2 + (2 * Math.PI * corner) / corners;
    const place = [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
    if (corner) path.lineTo(...place);
    else path.moveTo(...place);
  }
  path.closePath();
}

/** Numbers of peers: in them, or outside of a circle, every one, second, fifth... that has room. */
function drawLabels(context, graph, colourOf, theme) {
  context.textAlign = "center";
  context.textBaseline = "middle";
  const widest = String(graph.count - 1);
  if (graph.radius >= 4 + 3.4 * widest.length) {
    context.font = textFont(theme, clamp(graph.radius * 0.85, 10, 13), 600);
    for (let peer = 0; peer < graph.count; peer++) {
      const colour = colourOf(peer);
      context.fillStyle = colour ? (colour.dark ? "#fff" : "#14181d") : theme.ink;
      context.fillText(String(peer), graph.x[peer], graph.y[peer] + 0.5);
    }
    return;
  }
  if (!graph.outline) return;
  context.font = textFont(theme, 10);
  context.fillStyle = theme.muted;
  const apart = (2 * Math.PI * (graph.size / 2 - 16)) / graph.count;
  const step = [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100, 128].find((each) => each * apart >= 26) || 256;
  const middle = graph.size / 2;
  for (let peer = 0; peer < graph.count; peer += step) {
    const far = Math.hypot(graph.x[peer] - middle, graph.y[peer] - middle) || 1;
    const reach = (far + graph.radius + 12) / far;
    const [x, y] = [graph.x[peer], graph.y[peer]].map((place) => middle + (place - middle) * reach);
    context.fillText(String(peer), x, y);
  }
}
