/* What is around a curve: its area, ticks, grid, and labels that do not run into each other. */

const TEXT_SIZE = 11;
const TICK_ROW = 17; // pixels under the plot for the ticks of the horizontal axis
const VALUE_TICKS = 3; // about so many numbers on the vertical axis
const TOP = 7; // half a line of text: the topmost tick label is not cut

function textFont(theme, size = TEXT_SIZE, weight = 400) {
  return `${weight} ${size}px ${theme.font}`;
}

/** [low, high] of the vertical axis: all that is drawn, and the floor where the measure has one. */
function valueRange({ y, low, high, levels, floor }) {
  let least = Infinity;
  let most = -Infinity;
  const seen = (value) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return;
    least = Math.min(least, value);
    most = Math.max(most, value);
  };
  for (const column of [y, low, high]) if (column) column.forEach(seen);
  (levels || []).forEach((level) => seen(level.value));
  if (least > most) return [0, 1];
  const hasFloor = floor !== null && floor !== undefined && floor <= least;
  const margin = (hasFloor ? most - floor : most - least) * 0.07 || Math.abs(most) * 0.05 || 0.5;
  return [hasFloor ? floor : least - margin, most + margin];
}

/** Places labels on a line: `gap` apart or more, within [first, last], each as near as can be to where it belongs. */
function spreadLabels(places, gap, first, last) {
  const order = places.map((place, index) => ({ place: clamp(place, first, last), index }));
  order.sort((a, b) => a.place - b.place);
  order.forEach((each, at) => {
    if (at) each.place = Math.max(each.place, order[at - 1].place + gap);
  });
  const over = order.length ? order[order.length - 1].place - last : 0;
  if (over > 0) {
    order[order.length - 1].place = last;
    for (let at = order.length - 2; at >= 0; at--) {
      order[at].place = Math.min(order[at].place, order[at + 1].place - gap);
    }
  }
  const spread = new Array(places.length);
  for (const { place, index } of order) spread[index] = place;
  return spread;
}

/** Grid lines and numbers of the vertical axis. */
function drawValues(context, area, range, theme) {
  const { ticks, decimals } = niceTicks(range[0], range[1], VALUE_TICKS);
  context.font = textFont(theme);
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.lineWidth = 1;
  for (const tick of ticks) {
    const y = Math.round(area.toY(tick)) + 0.5;
    context.strokeStyle = theme.line;
    context.beginPath();
    context.moveTo(area.left, y);
    context.lineTo(area.right, y);
    context.stroke();
    context.fillStyle = theme.muted;
    context.fillText(tickWords(tick, decimals), area.left - 6, clamp(y, 6, area.bottom));
  }
}

/** Numbers of the horizontal axis, and its name in the margin at their right. */
function drawMoments(context, area, clock, theme) {
  const room = Math.max(2, Math.floor((area.right - area.left) / 70));
  const most = clock.name === "round" ? Math.max(1, clock.to - clock.from) : room; // there is no round 0.5
  const { ticks, decimals } = niceTicks(clock.from, clock.to, Math.min(room, most));
  context.font = textFont(theme);
  context.textBaseline = "top";
  context.fillStyle = theme.muted;
  context.strokeStyle = theme.muted;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(area.left, area.bottom + 0.5);
  context.lineTo(area.right, area.bottom + 0.5);
  context.textAlign = "center";
  for (const tick of ticks) {
    const x = Math.round(area.toX(tick)) + 0.5;
    context.moveTo(x, area.bottom);
    context.lineTo(x, area.bottom + 3);
    context.fillText(tickWords(tick, decimals), x, area.bottom + 5);
  }
  context.stroke();
  context.textAlign = "right";
  context.fillText(clock.axis, area.width - 1, area.bottom + 5);
}

/** Dashed lines of what the curve is compared with, each with its name and number in the right margin. */
function drawLevels(context, area, levels, theme) {
  const lines = levels.filter((level) => Number.isFinite(level.value));
  const places = spreadLabels(lines.map((level) => area.toY(level.value)), 12, 6, area.bottom - 5);
  context.font = textFont(theme);
  context.textAlign = "left";
  context.textBaseline = "middle";
  lines.forEach((level, index) => {
    const y = Math.round(area.toY(level.value)) + 0.5;
    context.strokeStyle = theme.muted;
    context.fillStyle = theme.muted;
    context.setLineDash([5, 4]);
    context.beginPath();
    context.moveTo(area.left, y);
    context.lineTo(area.right, y);
    context.stroke();
    context.setLineDash([]);
    context.beginPath();
    context.moveTo(area.right + 1, y);
    context.lineTo(area.right + 8, places[index]);
    context.stroke();
    context.fillText(levelWords(level), area.right + 10, places[index]);
  });
}

function levelWords(level) {
  return `${level.words} ${formatSteady(level.value)}`;
}

/** Margins that a set of charts shares, so that the same moment is at the same place in all of them. */
function sharedMargins(context, charts, clock, width, theme) {
  context.font = textFont(theme);
  const wide = (text) => context.measureText(text).width;
  let left = 20;
  let right = wide(clock.axis) + wide(tickWords(clock.to, 0)) / 2 + 9;
  for (const chart of charts) {
    const { ticks, decimals } = niceTicks(chart.range[0], chart.range[1], VALUE_TICKS);
    for (const tick of ticks) left = Math.max(left, wide(tickWords(tick, decimals)) + 9);
    for (const level of chart.series.levels || []) right = Math.max(right, wide(levelWords(level)) + 14);
  }
  return { left: Math.ceil(left), right: Math.ceil(Math.min(right, width * 0.4)) };
}

/** Where things are drawn in a chart of a size: edges of the plot, and from numbers to pixels and back. */
function plotArea(width, height, margins, moments, values) {
  const area = { width, left: margins.left, right: width - margins.right, top: TOP, bottom: height - TICK_ROW };
  area.height = area.bottom - area.top;
  const perMoment = (area.right - area.left) / Math.max(moments[1] - moments[0], 1e-12);
  const perValue = area.height / Math.max(values[1] - values[0], 1e-300);
  area.toX = (place) => area.left + (place - moments[0]) * perMoment;
  area.toY = (value) => area.bottom - (value - values[0]) * perValue;
  area.toPlace = (x) => moments[0] + (x - area.left) / perMoment;
  return area;
}
