/* Where peers and links are in the square, how large they are drawn, and which of them is under the pointer. */

const ARROWS_UP_TO = 200; // links; beyond, arrow heads would be a blot
const ARROW_ROOM = 18; // pixels that a link needs between its peers for an arrow to be seen
const CURVE_GAP = 3.5; // pixels between the two directions of a link, where they are told apart

/** Places of a document's peers and links in a square of `size` CSS pixels. */
function layOutGraph(whole, size) {
  const { positions } = whole.peers;
  const { list, directed } = whole.links;
  const free = spacing(positions);
  const outline = isCircle(positions);
  const outer = outline && free * size < 26 ? 26 : 14; // room for labels outside of a circle
  const radius = clamp(free * (size - 2 * outer) * 0.3, positions.length > 400 ? 2.4 : 4, 17);
  const margin = outer + radius + 4;
  const scale = size - 2 * margin;
  const x = positions.map((place) => margin + place[0] * scale);
  const y = positions.map((place) => margin + place[1] * scale);
  const graph = { size, radius, x, y, outline, list, directed, count: positions.length };
  graph.arrows = directed && list.length <= ARROWS_UP_TO && shortest(graph) > 2 * radius + ARROW_ROOM;
  graph.reverse = reverses(list);
  graph.index = new Map(list.map(([teacher, student], link) => [teacher * positions.length + student, link]));
  graph.ends = list.map((_, link) => linkEnds(graph, link));
  graph.coverage = coverage(graph);
  return graph;
}

/** Length of the shortest link in pixels, from middle to middle. */
function shortest({ list, x, y }) {
  let least = Infinity;
  for (const [teacher, student] of list) {
    least = Math.min(least, Math.hypot(x[student] - x[teacher], y[student] - y[teacher]));
  }
  return least;
}

/** How far apart neighbouring peers are in the unit square: for a quarter of them the next one is nearer than that. */
function spacing(positions) {
  const byX = [...positions].sort((a, b) => a[0] - b[0]);
  const nearest = byX.map(() => 1);
  for (let first = 0; first < byX.length; first++) {
    for (let second = first + 1; second < byX.length; second++) {
      const across = byX[second][0] - byX[first][0];
      if (across > nearest[first] && across > 0.2) break; // 0.2: those to the right may still be nearest to others
      const far = Math.hypot(across, byX[second][1] - byX[first][1]);
      nearest[first] = Math.min(nearest[first], far);
      nearest[second] = Math.min(nearest[second], far);
    }
  }
  return nearest.sort((a, b) => a - b)[Math.floor(nearest.length / 4)] ?? 1;
}

/** Whether all peers are equally far from the middle of the square, as in the picture of a ring. */
function isCircle(positions) {
  const far = positions.map(([x, y]) => Math.hypot(x - 0.5, y - 0.5));
  return positions.length > 2 && Math.max(...far) - Math.min(...far) < 0.01;
}

/** For each link the index of the link in the other direction, or -1. */
function reverses(list) {
  const width = 1 + list.reduce((most, link) => Math.max(most, link[0], link[1]), 0);
  const known = new Map(list.map(([teacher, student], link) => [teacher * width + student, link]));
  return list.map(([teacher, student]) => known.get(student * width + teacher) ?? -1);
}

/** Both ends of a link in pixels: at the rims of the peers where it has an arrow, else at their middles. */
function linkEnds(graph, link) {
  const [teacher, student] = graph.list[link];
  const [fromX, fromY, toX, toY] = [graph.x[teacher], graph.y[teacher], graph.x[student], graph.y[student]];
  if (!graph.arrows) return [fromX, fromY, toX, toY];
  const length = Math.hypot(toX - fromX, toY - fromY) || 1;
  const [alongX, alongY] = [(toX - fromX) / length, (toY - fromY) / length];
  const aside = graph.reverse[link] >= 0 ? CURVE_GAP : 0;
  const [asideX, asideY] = [-alongY * aside, alongX * aside];
  const start = Math.min(graph.radius + 1, length / 3);
  const end = Math.min(graph.radius + 4, length / 3);
  return [
    fromX + alongX * start + asideX,
    fromY + alongY * start + asideY,
    toX - alongX * end + asideX,
    toY - alongY * end + asideY,
  ];
}

/** Peer at a place in pixels, or -1. */
function peerAt(graph, x, y) {
  const reach = Math.max(graph.radius + 3, 7);
  let found = -1;
  let least = reach * reach;
  for (let peer = 0; peer < graph.count; peer++) {
    const far = (graph.x[peer] - x) ** 2 + (graph.y[peer] - y) ** 2;
    if (far < least) {
      least = far;
      found = peer;
    }
  }
  return found;
}

/** Visible link nearest to a place in pixels and at most 5 away, or -1. */
function linkAt(graph, x, y, visible) {
  let found = -1;
  let least = 25;
  for (let link = 0; link < graph.ends.length; link++) {
    if (!visible(link)) continue;
    const far = squaredDistance(graph.ends[link], x, y);
    if (far < least) {
      least = far;
      found = link;
    }
  }
  return found;
}

/** Squared distance of a place from a piece of a straight line. */
function squaredDistance([fromX, fromY, toX, toY], x, y) {
  const [alongX, alongY] = [toX - fromX, toY - fromY];
  const squared = alongX * alongX + alongY * alongY;
  const share = squared ? clamp(((x - fromX) * alongX + (y - fromY) * alongY) / squared, 0, 1) : 0;
  return (fromX + share * alongX - x) ** 2 + (fromY + share * alongY - y) ** 2;
}
