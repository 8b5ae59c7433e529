/* Numbers as people read them, ticks of axes, and elements made without markup. */

const MINUS = "\u2212";
const NONE = "\u2013";

/** A number in at most `digits` significant digits; an en dash where there is none. */
function formatNumber(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(1).replace("-", MINUS);
  const whole = size >= 10 ** digits ? Math.round(value) : Number(value.toPrecision(digits));
  const [front, back] = String(Math.abs(whole)).split(".");
  const grouped = front.replace(/\B(?=(\d{3})+$)/g, ",");
  return (whole < 0 ? MINUS : "") + grouped + (back ? "." + back : "");
}

/** A difference: always with its sign, and one decimal; one significant digit of what would be 0.0. */
function formatSigned(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const isTie = Math.abs(value * 4) % 2 === 1; // to an even digit, as Python writes the same number in its sentences
  const isSmall = value !== 0 && Math.abs(value) < 0.05;
  const text = isSmall ? formatNumber(value, 1) : tickWords(isTie ? (2 * Math.round(value * 5)) / 10 : value, 1);
  return (value > 0 && /[1-9]/.test(text) ? "+" : "") + text;
}

/** Three significant digits, zeros at the end too: numbers that change keep their width. */
function formatSteady(value) {
  const isUsual = Math.abs(value) >= 1e-3 && Math.abs(value) < 1000;
  return isUsual ? value.toPrecision(3).replace("-", MINUS) : formatNumber(value);
}

function withUnit(text, unit) {
  if (!unit || text === NONE) return text;
  return unit === "%" ? text + "%" : text + " " + unit;
}

/** Round numbers from low to high, about `count` of them: steps of 1, 2 or 5 times a power of ten. */
function niceTicks(low, high, count) {
  const span = high - low;
  if (!(span > 0)) return { ticks: [low], decimals: decimalsOf(low) };
  const rough = span / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const far = (step) => Math.abs(Math.log(step / rough));
  const step = [1, 2, 5, 10].map((each) => each * power).reduce((best, each) => (far(each) < far(best) ? each : best));
  const ticks = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) ticks.push(index * step);
  return { ticks, decimals: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function decimalsOf(value) {
  const text = String(Number(value.toPrecision(3)));
  return text.includes(".") ? text.split(".")[1].length : 0;
}

/** The words of a tick: all ticks of an axis have the same decimals. */
function tickWords(value, decimals) {
  if (Math.abs(value) >= 1e6 || decimals > 5) return formatNumber(value, 2);
  const [front, back] = Math.abs(value).toFixed(decimals).split(".");
  const text = front.replace(/\B(?=(\d{3})+$)/g, ",") + (back ? "." + back : "");
  return (value < 0 && /[1-9]/.test(text) ? MINUS : "") + text;
}

/** An element with attributes and children. Strings become text nodes: no name is ever read as markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A name that others chose: its direction of writing stays its own. */
function named(text, className = "") {
  const element = make("bdi", { class: className || null });
  element.textContent = text;
  return element;
}

function replaceChildren(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}

/** Fills an element with one child for each item; leaves it alone, and what is selected in it, if they are the same. */
function fillWith(element, items, child) {
  const text = JSON.stringify(items);
  if (element.shownItems === text) return;
  element.shownItems = text;
  element.replaceChildren(...items.map(child));
}

/** Index of the last of ascending numbers that is at most `value`; -1 if none is. */
function lastAtMost(numbers, value) {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
