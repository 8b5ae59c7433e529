/* Slider over rounds or virtual seconds, play and follow, with their keys. */

const WHOLE_RUN_IN = 14; // seconds that the slider takes over a whole run
const STEP_EVERY = 900; // milliseconds between two measurements where motion is to be reduced

/** The last round that slider and charts show: of a run that has not come to half of its rounds, half; and so on. */
function reach(from, to, newest) {
  let span = to - from;
  while (span > 20 && (span / 2) * 0.95 > newest - from) span /= 2;
  return from + Math.ceil(span);
}

class Controls {
  /**
   * `pick(round)` is called for every move, `setVirtual(isVirtual)` if another clock is chosen; the space bar plays if
   * the focus is in `scope`.
   */
  constructor(host, { pick, setVirtual, scope }) {
    this.pick = pick;
    this.scope = scope;
    const button = (pressed, title) => ({ type: "button", class: "pv-button", "aria-pressed": pressed, title });
    this.slider = make("input", { type: "range", class: "pv-slider", step: "1", id: "pv-slider" });
    this.play = make("button", button("false", "play (space)"));
    this.play.classList.add("pv-play");
    this.follow = make("button", button("true", "keep to the newest round"), "follow");
    this.virtual = make("button", button("true", "slider, playing and curves by virtual seconds, or else by rounds"));
    this.virtual.textContent = "virtual time";
    this.virtual.addEventListener("click", () => {
      const isVirtual = this.virtual.getAttribute("aria-pressed") !== "true";
      this.virtual.setAttribute("aria-pressed", String(isVirtual));
      this.setPlaying(false);
      setVirtual(isVirtual);
    });
    this.words = make("label", { for: "pv-slider", class: "pv-round" });
    this.ticks = make("canvas", { class: "pv-ticks", "aria-hidden": "true" });
    const track = make("div", { class: "pv-track" }, this.slider, this.ticks);
    host.append(this.play, track, this.words, this.virtual, this.follow);
    this.playing = false;
    this.following = true;
    this.paintPlay();
    this.slider.addEventListener("input", () => this.byHand(this.clock.chosen(Number(this.slider.value))));
    this.slider.addEventListener("keydown", (event) => this.jump(event));
    this.play.addEventListener("click", () => this.setPlaying(!this.playing));
    this.follow.addEventListener("click", () => this.setFollowing(!this.following));
    document.addEventListener("keydown", (event) => this.space(event));
  }

  show(whole) {
    this.whole = whole;
    const { frames, completed } = whole;
    const { from, to } = whole.clock;
    this.first = from;
    this.newest = Math.min(to, Math.max(from, completed || 0, frames.length ? frames[frames.length - 1] : from));
    const isVirtual = hasVirtualTime(whole) && this.virtual.getAttribute("aria-pressed") === "true";
    this.clock = new (isVirtual ? VirtualClock : RoundClock)(whole, reach(from, to, this.newest));
    this.slider.step = this.clock.step;
    this.slider.min = this.clock.from;
    this.slider.max = this.clock.to;
    this.virtual.hidden = !hasVirtualTime(whole);
    this.follow.hidden = whole.status !== "running";
  }

  byHand(round) {
    this.setPlaying(false);
    this.setFollowing(round >= this.newest);
    this.pick(round);
  }

  /** PageUp and PageDown go to the next and the last measurement; the other keys are the browser's own. */
  jump(event) {
    if (event.key !== "PageUp" && event.key !== "PageDown") return;
    event.preventDefault();
    const { frames } = this.whole;
    const at = lastAtMost(frames, this.round);
    const before = frames[at] < this.round ? at : at - 1;
    const next = event.key === "PageUp" ? frames[at + 1] : frames[before];
    if (next !== undefined) this.byHand(next);
  }

  space(event) {
    if (event.key !== " " || event.altKey || event.ctrlKey || event.metaKey) return;
    if (!this.scope.contains(event.target)) return;
    if (event.target !== this.slider && event.target.closest("button, select, textarea, summary, a, input")) return;
    event.preventDefault();
    this.setPlaying(!this.playing);
  }

  setPlaying(playing) {
    if (playing === this.playing) return;
    this.playing = playing;
    if (playing) {
      this.setFollowing(false);
      const start = this.round >= this.newest ? this.first : this.round;
      this.pick(start);
      this.started = { at: performance.now(), round: start };
    }
    this.paintPlay();
    this.pick(this.round);
  }

  setFollowing(following) {
    this.following = following;
    this.follow.setAttribute("aria-pressed", String(following));
    if (following && this.whole) this.pick(this.newest);
  }

  paintPlay() {
    this.play.setAttribute("aria-pressed", String(this.playing));
    this.play.setAttribute("aria-label", this.playing ? "pause" : "play");
    this.play.textContent = this.playing ? "\u275a\u275a" : "\u25b6\ufe0e";
  }

  /** Round to show at a time while it plays; null when the end is reached. */
  roundAt(now) {
    const passed = Math.max(now - this.started.at, 0); // a picture may be timed before the click
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      const later = this.whole.frames.filter((frame) => frame > this.started.round && frame <= this.newest);
      const steps = Math.floor(passed / STEP_EVERY);
      return steps === 0 ? this.started.round : later[steps - 1] ?? null;
    }
    const { clock } = this;
    const speed = (clock.to - clock.from) / (WHOLE_RUN_IN * 1000);
    const place = clock.at(this.started.round) + passed * speed;
    return place > clock.at(this.newest) ? null : clock.moment(place);
  }

  draw(round, theme) {
    this.round = round;
    const { clock } = this;
    const { frames } = this.whole;
    const words = clock.words(round);
    const place = clock.from + Math.floor((clock.at(round) - clock.from) / clock.step + 1e-9) * clock.step;
    if (Math.abs(Number(this.slider.value) - place) > clock.step / 2) this.slider.value = place;
    if (this.words.textContent !== words) {
      this.words.textContent = words;
      this.slider.setAttribute("aria-valuetext", words);
    }
    const width = this.ticks.parentElement.clientWidth;
    const state = `${width} ${frames.length} ${clock.axis} ${clock.to} ${theme.dark}`;
    if (state !== this.drawn && width) this.drawTicks(width, theme);
    this.drawn = state;
  }

  /** A tick under the slider for each measurement. */
  drawTicks(width, theme) {
    const context = prepare(this.ticks, width, 6);
    const thumb = 8; // half the width of the slider's thumb: its middle stays that far from both ends
    const { clock } = this;
    const span = Math.max(clock.to - clock.from, Number.MIN_VALUE);
    const place = (round) => thumb + ((clock.at(round) - clock.from) / span) * (width - 2 * thumb);
    context.fillStyle = theme.muted;
    for (const frame of this.whole.frames) context.fillRect(Math.round(place(frame)), 1, 1, 5);
  }
}
