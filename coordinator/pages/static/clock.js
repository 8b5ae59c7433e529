/* Where a round lies on the slider and on the axes: at its number, or at the virtual second at which it ended. */

const STEPS = 200; // of the slider over a run that is stepped by seconds

/** The clock of rounds: a place is the number of a round. */
class RoundClock {
  constructor(whole, reach) {
    this.name = whole.clock.name;
    this.unit = whole.clock.unit;
    this.step = 1;
    this.from = whole.clock.from;
    this.to = reach;
    this.last = whole.clock.to;
    this.axis = this.unit ? `${this.name} (${this.unit})` : this.name;
  }

  at(round) {
    return round;
  }

  /** The moment of a place, as a number of rounds. */
  moment(place) {
    return place;
  }

  /** The moment that a person means who points at a place. */
  chosen(place) {
    return Math.round(place);
  }

  /** A moment of the run, in words. */
  words(round) {
    return `${this.name} ${formatNumber(Math.floor(round), 9)} of ${formatNumber(this.last, 9)}`;
  }

  placeWords(place) {
    return `${this.axis} ${formatNumber(place, 6)}`;
  }
}

/** The clock of a simulated network: a place is a virtual second; between two known rounds time passes evenly. */
class VirtualClock {
  constructor(whole, reach) {
    const { name, unit, rounds, seconds } = whole.virtual;
    Object.assign(this, { name, unit, rounds, seconds });
    this.last = whole.clock.to;
    this.roundName = whole.clock.name;
    this.from = seconds[0];
    this.step = niceStep(this.at(reach) - this.from);
    this.to = this.from + Math.ceil((this.at(reach) - this.from) / this.step - 1e-9) * this.step;
    this.axis = `${name} (${unit})`;
  }

  at(round) {
    return between(this.rounds, this.seconds, round);
  }

  moment(place) {
    return between(this.seconds, this.rounds, place);
  }

  chosen(place) {
    return this.moment(place);
  }

  words(round) {
    const number = `${this.roundName} ${formatNumber(Math.floor(round), 9)} of ${formatNumber(this.last, 9)}`;
    return `${formatSeconds(this.at(round))} ${this.unit}, ${number}`;
  }

  placeWords(place) {
    return `${this.name} ${withUnit(formatNumber(place, 6), this.unit)}`;
  }
}

/** Whether a run has virtual time to be stepped by. */
function hasVirtualTime(whole) {
  const { rounds = [], seconds = [] } = whole.virtual || {};
  return rounds.length > 1 && seconds[seconds.length - 1] > seconds[0];
}

/** The value at `x` on the line through known points; beyond the last one it goes on at the mean pace of all. */
function between(xs, ys, x) {
  const end = xs.length - 1;
  if (x > xs[end]) return ys[end] + ((x - xs[end]) * (ys[end] - ys[0])) / (xs[end] - xs[0] || 1);
  const at = Math.max(lastAtMost(xs, x), 0);
  if (at === end || x <= xs[at]) return ys[at];
  return ys[at] + ((x - xs[at]) * (ys[at + 1] - ys[at])) / (xs[at + 1] - xs[at]);
}

/** About a `STEPS`-th of a span, as 1, 2 or 5 times a power of ten. */
function niceStep(span) {
  const { ticks } = niceTicks(0, span, STEPS);
  return ticks.length > 1 ? ticks[1] - ticks[0] : 1;
}

/** Seconds with four significant digits, zeros at the end too: numbers that change keep their width. */
function formatSeconds(value) {
  return value >= 1e-3 && value < 1000 ? value.toPrecision(4) : formatNumber(value, 6);
}
