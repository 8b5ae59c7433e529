/* Colours: ink and lines from the style sheet's variables, scales for values; colour-blind safe, light and dark. */

/** Stops from the least to the greatest value. Diverging: orange below 0, blue above, told apart by every eye. */
const SCALES = {
  light: {
    diverging: ["#a84a00", "#e8862e", "#f7c998", "#eceae6", "#a9cbe8", "#4a8fcb", "#0d4f94"],
    sequential: ["#1c2760", "#27608c", "#3f9a93", "#9cc774", "#f5e25c"],
    links: ["#ccd5de", "#c9a5c6", "#b05ba6", "#7d1f78", "#4a0a4b"],
  },
  dark: {
    diverging: ["#ffae5c", "#d97a22", "#9a683a", "#60656d", "#4a7dab", "#4f9fe0", "#a4d4ff"],
    sequential: ["#33407f", "#2f6f9e", "#41a49c", "#a4d07c", "#fbea6b"],
    links: ["#434d59", "#6c4f74", "#a2569b", "#dd7fce", "#ffc4f1"],
  },
};
const BUCKETS = 32;

function hexToRgb(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

/** `BUCKETS` colours along the stops, as CSS and as rgb. */
function ramp(stops) {
  const colours = stops.map(hexToRgb);
  return Array.from({ length: BUCKETS }, (_, index) => {
    const place = (index / (BUCKETS - 1)) * (colours.length - 1);
    const at = Math.min(Math.floor(place), colours.length - 2);
    const next = colours[at + 1];
    const rgb = colours[at].map((value, channel) => Math.round(value + (place - at) * (next[channel] - value)));
    return { css: `rgb(${rgb.join(",")})`, rgb, dark: 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] < 140 };
  });
}

/** Bucket of a value on a scale [low, high]; values beyond it get the colours of its ends. */
function bucket(value, scale) {
  const span = scale[1] - scale[0];
  return clamp(Math.round(span > 0 ? ((value - scale[0]) / span) * (BUCKETS - 1) : 0), 0, BUCKETS - 1);
}

/** The colours of an element: read from its style sheet's variables, so that it has the last word. */
function readTheme(element) {
  const style = getComputedStyle(element);
  const colour = (name) => style.getPropertyValue("--pv-" + name).trim();
  const dark = colour("scheme") === "dark";
  const scales = SCALES[dark ? "dark" : "light"];
  return {
    dark,
    ink: colour("ink"),
    muted: colour("muted"),
    line: colour("line"),
    card: colour("card"),
    accent: colour("accent"),
    good: colour("good"),
    bad: colour("bad"),
    unknown: colour("unknown"),
    font: style.fontFamily,
    diverging: ramp(scales.diverging),
    sequential: ramp(scales.sequential),
    links: ramp(scales.links),
  };
}

/** Calls `changed` when the colours or the density of the screen's pixels change. */
function watchTheme(changed) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  const density = () => {
    const now = matchMedia(`(resolution: ${devicePixelRatio}dppx)`);
    now.addEventListener("change", () => (changed(), density()), { once: true });
  };
  density();
}

/** A canvas of a size in CSS pixels, sharp on this screen; returns its context, cleared, in CSS pixels. */
function prepare(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  const across = Math.round(width * ratio);
  const down = Math.round(height * ratio);
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
    canvas.style.width = width + "px";
    canvas.style.height = height + "px";
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
