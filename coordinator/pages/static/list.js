/* A list of runs: a row for each, with its status, its verdicts and small curves. */

const SPARK = [120, 30];

class ListView {
  constructor(element) {
    const head = make("header", { class: "pv-head" });
    this.title = make("h1", { class: "pv-title" });
    this.count = make("p", { class: "pv-muted" });
    this.contact = make("span", { class: "pv-chip pv-lost", role: "status", hidden: true });
    this.headline = make("ul", { class: "pv-headline" });
    head.append(make("div", { class: "pv-line" }, this.title, this.contact), this.headline, this.count);
    this.rows = make("ul", { class: "pv-runs" });
    replaceChildren(element, head, this.rows);
    this.element = element;
    this.known = new Map();
    this.theme = readTheme(element);
    this.seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) this.drawSparks(target);
    });
    watchTheme(() => {
      this.theme = readTheme(element);
      this.known.forEach(({ row }) => this.drawSparks(row));
    });
  }

  setContact(kept) {
    this.contact.textContent = kept ? "" : "lost contact: what you see is what came last";
    this.contact.hidden = kept;
  }

  show(whole) {
    replaceChildren(this.title, named(whole.title));
    fillHeadline(this.headline, whole);
    const running = whole.runs.filter((run) => run.status === "running").length;
    const count = whole.runs.length === 1 ? "1 run" : `${formatNumber(whole.runs.length, 9)} runs`;
    this.count.textContent = count + (running ? `, ${running} running` : "");
    const rows = whole.runs.map((run) => this.row(run));
    const gone = new Set(this.known.keys());
    whole.runs.forEach((run) => gone.delete(run.id));
    gone.forEach((id) => this.known.delete(id));
    const shown = this.rows.children;
    const same = rows.length === shown.length && rows.every((row, index) => row === shown[index]);
    if (!same) replaceChildren(this.rows, ...rows); // else the focus stays where it is
  }

  /** The row of a run: made once, changed where something in it did, so that the focus stays where it is. */
  row(run) {
    const text = JSON.stringify(run);
    const known = this.known.get(run.id) || { row: newRow(run), text: "" };
    if (known.text !== text) {
      fillRow(known.row, run);
      this.drawSparks(known.row);
      this.seen.observe(known.row);
    }
    known.text = text;
    this.known.set(run.id, known);
    return known.row;
  }

  drawSparks(row) {
    if (!row.isConnected) return; // drawn when it comes into sight
    row.querySelectorAll("canvas").forEach((canvas, index) => drawSpark(canvas, row.sparklines[index], this.theme));
  }
}

function newRow(run) {
  const parts = {
    name: named("", ""),
    kind: make("span", { class: "pv-muted" }, run.kind === "ablation" ? "ablation" : ""),
    chip: make("span"),
    when: make("time", { class: "pv-muted" }),
    bar: make("progress", { class: "pv-progress", max: "1", "aria-label": "rounds completed" }),
    headline: make("ul", { class: "pv-headline" }),
    sparks: make("div", { class: "pv-sparks" }),
  };
  const link = make("a", { href: "/run/" + encodeURIComponent(run.id), class: "pv-run-name" }, parts.name);
  const line = make("div", { class: "pv-line" }, link, parts.kind, parts.chip, parts.when);
  const about = make("div", { class: "pv-run-about" }, line, parts.bar, parts.headline);
  return Object.assign(make("li", { class: "pv-run" }, about, parts.sparks), { parts });
}

function fillRow(row, run) {
  const { name, kind, chip, when, bar, headline, sparks } = row.parts;
  name.textContent = run.name;
  kind.hidden = run.kind !== "ablation";
  paintStatus(chip, run.status, run.kind === "ablation" ? "" : progressWords(run));
  when.hidden = !run.at;
  if (run.at) {
    when.setAttribute("datetime", new Date(run.at * 1000).toISOString());
    when.textContent = localTime(run.at);
  }
  bar.hidden = run.status !== "running";
  bar.value = run.total ? run.completed / run.total : 0;
  fillHeadline(headline, run);
  row.sparklines = (run.sparklines || []).filter((spark) => spark.y.some((value) => value !== null));
  replaceChildren(sparks, ...row.sparklines.map(sparkFigure));
}

function sparkFigure(spark) {
  const words = make("figcaption", {}, named(spark.title), make("span", { class: "pv-reading" }, sparkWords(spark)));
  const canvas = make("canvas", { role: "img", "aria-label": `${spark.title}: ${sparkWords(spark)}` });
  [canvas.width, canvas.height] = SPARK; // as large before it is drawn
  return make("figure", { class: "pv-spark" }, canvas, words);
}

function localTime(seconds) {
  const at = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** The last value of a small curve. */
function sparkWords({ y }) {
  const known = y.filter((value) => value !== null);
  return known.length ? formatSteady(known[known.length - 1]) : "not measured";
}

function drawSpark(canvas, spark, theme) {
  const context = prepare(canvas, ...SPARK);
  const range = valueRange({ y: spark.y, low: null, high: null, levels: [], floor: null });
  const margins = { left: 3, right: 5 };
  const area = { ...plotArea(...SPARK, margins, [0, Math.max(spark.y.length - 1, 1)], range) };
  const toY = (value) => SPARK[1] - 4 - ((value - range[0]) / (range[1] - range[0])) * (SPARK[1] - 8);
  const x = spark.y.map((_, index) => index);
  drawCurve(context, { ...area, toY }, x, spark.y, theme.accent);
  const last = spark.y.length - 1;
  if (last < 0 || spark.y[last] === null) return;
  context.beginPath();
  context.arc(area.toX(last), toY(spark.y[last]), 2.6, 0, 7);
  context.fill();
}
