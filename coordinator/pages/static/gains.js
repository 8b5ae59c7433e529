/* Gains in accuracy as points with their intervals around the line of no difference, one row per comparison. */

const GAIN_ROW = 22;

/** The figure of a run's gains, in points of accuracy: blue and full where better, orange and square where worse. */
class GainsFigure {
  constructor(host) {
    this.canvas = make("canvas", { role: "img" });
    this.plot = make("div", { class: "pv-plot" }, this.canvas);
    const words = "gain in accuracy ";
    const caption = make("figcaption", {}, make("span", { class: "pv-chart-title" }, words));
    caption.append(make("span", { class: "pv-muted" }, "points, with 95% intervals"));
    this.element = make("figure", { class: "pv-chart pv-gains", hidden: true }, caption, this.plot);
    host.append(this.element);
    this.gains = [];
  }

  show(gains) {
    this.gains = gains;
    this.stale = true;
    this.element.hidden = !gains.length;
    const words = gains.map((gain) => `${gainName(gain)}: ${gain.words}, ${gainNumbers(gain)}`);
    this.canvas.setAttribute("aria-label", "Gain in accuracy, points: " + words.join("; "));
  }

  draw(theme, everything) {
    const width = this.plot.clientWidth;
    if (!width || !this.gains.length || !(this.stale || everything)) return;
    this.stale = false;
    const height = this.gains.length * GAIN_ROW + 6 + TICK_ROW;
    const context = prepare(this.canvas, width, height);
    context.font = textFont(theme);
    const names = this.gains.map((gain) => fitted(context, gainName(gain), width * 0.42));
    const wide = (texts) => Math.max(...texts.map((text) => context.measureText(text).width));
    const labels = wide(names) + 12;
    const long = wide(this.gains.map(gainNumbers)) + 12;
    const numbers = labels + long < width * 0.6 ? gainNumbers : (gain) => formatSigned(gain.mean);
    const margins = { left: labels, right: Math.max(wide(this.gains.map(numbers)) + 12, 42) };
    const ends = this.gains.flatMap((gain) => [gain.low, gain.mean, gain.high, 0]).filter(Number.isFinite);
    const span = [Math.min(...ends), Math.max(...ends)];
    const extra = (span[1] - span[0]) * 0.05 || 1;
    const range = [span[0] - extra, span[1] + extra];
    const area = plotArea(width, height, margins, range, [0, 1]);
    drawGainGrid(context, area, range, theme);
    this.gains.forEach((gain, row) => {
      const texts = { name: names[row], numbers: numbers(gain) };
      drawGain(context, area, gain, 6 + (row + 0.5) * GAIN_ROW, texts, theme);
    });
  }
}

/** As much of a text as has room, with an ellipsis where it is cut. */
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let length = Math.min(text.length, 200);
  while (length > 1 && context.measureText(text.slice(0, length) + "\u2026").width > width) length--;
  return text.slice(0, length) + "\u2026";
}

function gainName(gain) {
  return `${gain.probe} over ${gain.control}`;
}

function gainNumbers(gain) {
  if (!Number.isFinite(gain.low)) return formatSigned(gain.mean);
  return `${formatSigned(gain.mean)} (${formatSigned(gain.low)} to ${formatSigned(gain.high)})`;
}

function drawGainGrid(context, area, range, theme) {
  const { ticks, decimals } = niceTicks(range[0], range[1], Math.max(2, Math.floor((area.right - area.left) / 60)));
  context.textBaseline = "top";
  context.textAlign = "center";
  context.fillStyle = theme.muted;
  for (const tick of ticks) {
    const zero = Math.abs(tick) < 1e-9;
    const x = Math.round(area.toX(tick)) + 0.5;
    context.strokeStyle = zero ? theme.ink : theme.line;
    context.beginPath();
    context.moveTo(x, 2);
    context.lineTo(x, area.bottom);
    context.stroke();
    context.fillText((tick > 0 && !zero ? "+" : "") + tickWords(zero ? 0 : tick, decimals), x, area.bottom + 5);
  }
  context.textAlign = "right";
  context.fillText("points", area.width - 1, area.bottom + 5);
}

function drawGain(context, area, gain, y, texts, theme) {
  const colour = { good: theme.good, bad: theme.bad }[gain.tone] || theme.muted;
  context.textBaseline = "middle";
  context.fillStyle = theme.ink;
  context.textAlign = "left";
  context.fillText(texts.name, 1, y);
  context.textAlign = "right";
  context.fillText(texts.numbers, area.width - 1, y);
  if (!Number.isFinite(gain.mean)) return;
  context.strokeStyle = colour;
  context.lineWidth = 2;
  if (Number.isFinite(gain.low)) {
    context.beginPath();
    context.moveTo(area.toX(gain.low), y);
    context.lineTo(area.toX(gain.high), y);
    context.stroke();
  }
  context.fillStyle = gain.tone === "neutral" ? theme.card : colour;
  context.beginPath();
  if (gain.tone === "bad") context.rect(area.toX(gain.mean) - 4, y - 4, 8, 8);
  else context.arc(area.toX(gain.mean), y, 4.5, 0, 7);
  context.fill();
  context.stroke();
  context.lineWidth = 1;
}
