/* Curves over rounds or virtual time: a column of small charts that share their horizontal axis and a cursor. */

const CHART_HEIGHT = 94;

/** One curve with its band and its dashed levels. What follows the cursor has a canvas of its own on top. */
class Chart {
  constructor() {
    this.base = make("canvas", { role: "img" });
    this.over = make("canvas", { "aria-hidden": "true" });
    this.caption = named("", "pv-chart-title");
    this.unit = make("span", { class: "pv-muted" });
    this.reading = make("span", { class: "pv-reading" });
    this.plot = make("div", { class: "pv-plot" }, this.base, this.over);
    const caption = make("figcaption", {}, this.caption, this.unit, this.reading);
    this.element = make("figure", { class: "pv-chart" }, caption, this.plot);
    this.stale = true;
  }

  show(series) {
    this.series = series;
    this.range = valueRange(series);
    this.caption.textContent = series.title;
    this.unit.textContent = series.unit ? ` ${series.unit}` : "";
    this.stale = true;
  }

  layOut(width, margins, clock) {
    this.width = width;
    this.area = plotArea(width, CHART_HEIGHT, margins, [clock.from, clock.to], this.range);
    this.places = this.series.x.map((round) => clock.at(round));
    this.stale = true;
  }

  drawBase(clock, theme) {
    const context = prepare(this.base, this.width, CHART_HEIGHT);
    const { y, low, high, levels } = this.series;
    const x = this.places;
    drawValues(context, this.area, this.range, theme);
    drawMoments(context, this.area, clock, theme);
    drawLevels(context, this.area, levels || [], theme);
    context.save();
    context.beginPath();
    context.rect(this.area.left - 2, 0, this.area.right - this.area.left + 4, this.area.bottom + 2);
    context.clip();
    if (low && high) drawBand(context, this.area, x, low, high, theme.accent);
    drawCurve(context, this.area, x, y, theme.accent);
    context.restore();
    this.base.setAttribute("aria-label", this.sentence(clock));
    this.stale = false;
  }

  /** The cursor at a place; where the pointer is, `hover` is the place under it, else null. */
  drawOver(place, hover, theme) {
    const context = prepare(this.over, this.width, CHART_HEIGHT);
    if (hover !== null) this.drawLine(context, hover, theme.muted, [2, 3]);
    this.drawLine(context, place, theme.ink, []);
    const shown = hover === null ? place : hover;
    const at = lastAtMost(this.places, shown + 1e-9 * Math.abs(shown)); // of what sums and differences may lose
    const value = at < 0 ? null : this.series.y[at];
    this.reading.textContent = withUnit(formatSteady(value), this.series.unit === "%" ? "%" : "");
    if (value === null || value === undefined) return;
    context.fillStyle = theme.accent;
    context.strokeStyle = theme.card;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(this.area.toX(this.places[at]), this.area.toY(value), 4, 0, 7);
    context.fill();
    context.stroke();
  }

  drawLine(context, place, colour, dash) {
    const x = Math.round(clamp(this.area.toX(place), this.area.left, this.area.right)) + 0.5;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(x, this.area.top - 4);
    context.lineTo(x, this.area.bottom);
    context.stroke();
    context.setLineDash([]);
  }

  sentence(clock) {
    const { title, unit, y, levels } = this.series;
    const known = y.map((value, index) => [this.places[index], value]).filter(([, value]) => value !== null);
    if (!known.length) return `${title}: not measured yet`;
    const words = ([at, value]) => `${withUnit(formatNumber(value), unit)} at ${clock.placeWords(at)}`;
    const beside = (levels || []).map((level) => `${level.words} ${formatNumber(level.value)}`).join(", ");
    return `${title}: ${words(known[0])}, ${words(known[known.length - 1])}${beside ? "; beside it " + beside : ""}`;
  }
}

function drawCurve(context, area, x, y, colour) {
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = 1.8;
  context.lineJoin = "round";
  context.beginPath();
  let drawn = false;
  for (let index = 0; index < x.length; index++) {
    if (y[index] === null) {
      drawn = false;
      continue;
    }
    if (drawn) context.lineTo(area.toX(x[index]), area.toY(y[index]));
    else context.moveTo(area.toX(x[index]), area.toY(y[index]));
    drawn = true;
  }
  context.stroke();
  const isNear = (place, index) => index > 0 && area.toX(place) - area.toX(x[index - 1]) < 12;
  if (x.filter(isNear).length > x.length / 4) return; // no dots where they would touch
  for (let index = 0; index < x.length; index++) {
    if (y[index] === null) continue;
    context.beginPath();
    context.arc(area.toX(x[index]), area.toY(y[index]), 2.2, 0, 7);
    context.fill();
  }
}

function drawBand(context, area, x, low, high, colour) {
  const known = x.map((_, index) => index).filter((index) => low[index] !== null && high[index] !== null);
  if (known.length < 2) return;
  context.beginPath();
  known.forEach((index) => context.lineTo(area.toX(x[index]), area.toY(high[index])));
  known.reverse().forEach((index) => context.lineTo(area.toX(x[index]), area.toY(low[index])));
  context.closePath();
  context.globalAlpha = 0.16;
  context.fillStyle = colour;
  context.fill();
  context.globalAlpha = 1;
}

/** Charts one below the other. `pick(round)` is called when one is clicked or the cursor is dragged. */
class ChartColumn {
  constructor(host, pick) {
    this.host = host;
    this.pick = pick;
    this.charts = [];
    this.hover = null;
    this.redraw = () => {};
  }

  show(list, clock) {
    this.clock = clock;
    while (this.charts.length < list.length) this.add();
    this.charts.splice(list.length).forEach((chart) => chart.element.remove());
    list.forEach((series, index) => this.charts[index].show(series));
    this.width = 0;
  }

  add() {
    const chart = new Chart();
    const placeAt = (event) => clamp(chart.area.toPlace(event.offsetX), this.clock.from, this.clock.to);
    const roundAt = (event) => this.clock.chosen(placeAt(event));
    const surface = chart.over;
    surface.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      surface.setPointerCapture(event.pointerId);
      this.dragged = true;
      this.pick(roundAt(event));
    });
    surface.addEventListener("pointermove", (event) => {
      if (this.dragged) this.pick(roundAt(event));
      this.hover = placeAt(event);
      this.redraw();
    });
    surface.addEventListener("pointerleave", () => ((this.hover = null), this.redraw()));
    for (const kind of ["pointerup", "pointercancel"]) surface.addEventListener(kind, () => (this.dragged = false));
    this.charts.push(chart);
    this.host.append(chart.element);
  }

  /** Draws what changed: curves only if data, size or colours did. */
  draw(round, theme, everything) {
    const [first] = this.charts;
    if (!first) return;
    const width = first.plot.clientWidth;
    if (!width) return;
    if (everything || width !== this.width) {
      this.width = width;
      const context = first.base.getContext("2d");
      const margins = sharedMargins(context, this.charts, this.clock, width, theme);
      for (const chart of this.charts) chart.layOut(width, margins, this.clock);
    }
    for (const chart of this.charts) {
      if (chart.stale) chart.drawBase(this.clock, theme);
      chart.drawOver(this.clock.at(round), this.hover, theme);
    }
  }
}
