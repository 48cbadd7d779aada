// Probabilities of the largest face over time, stacked.

import { resolveColor, toPercent } from "./labels.js";

/** Seconds of one column: averages of it are what is kept, so a minute of camera is 240 columns. */
const LIVE_STEP_S = 0.25;
export const LIVE_SPAN_S = 60;
/** How long an answer stands while the next is awaited; then there is a gap. */
const HELD_S = 3;

export class Strip {
  constructor(canvas) {
    this.canvas = canvas;
    this.reset(LIVE_STEP_S, null);
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /**
   * Begin anew.
   *
   * @param {number} stepS seconds of a column
   * @param {number | null} spanS length of the whole, of a video; null: the last minute of a camera
   */
  reset(stepS, spanS) {
    this.stepS = stepS;
    this.spanS = spanS;
    this.columns = new Map();
    this.cursorS = null;
    this.nowS = 0;
    this.draw();
  }

  /** Begin the last minute of a camera. */
  resetLive() {
    this.reset(LIVE_STEP_S, null);
  }

  /** Add the largest face at a time, null where there was none; return whether a column began. */
  push(timeS, row) {
    this.nowS = Math.max(this.nowS, timeS);
    const index = Math.floor(timeS / this.stepS + 1e-6);
    const isNew = !this.columns.has(index);
    const column = this.columns.get(index) ?? { n: 0, sums: {} };
    column.n += 1;
    for (const [label, value] of Object.entries(row?.probabilities ?? {})) {
      column.sums[label] = (column.sums[label] ?? 0) + value;
    }
    this.columns.set(index, column);
    if (this.spanS === null) this.forget(index - Math.ceil(LIVE_SPAN_S / this.stepS) - 2);
    return isNew;
  }

  /** Let go of columns up to one. */
  forget(last) {
    for (const index of this.columns.keys()) if (index <= last) this.columns.delete(index);
  }

  /** Return what the picture shows, in words. */
  describe() {
    const sums = {};
    let n = 0;
    for (const column of this.columns.values()) {
      for (const [label, value] of Object.entries(column.sums)) sums[label] = (sums[label] ?? 0) + value;
      if (Object.keys(column.sums).length) n += column.n;
    }
    const means = Object.entries(sums).map(([label, value]) => [label, value / n]);
    const highest = means.sort((a, b) => b[1] - a[1]).slice(0, 3);
    if (!n) return "No face so far";
    return `On average ${highest.map(([label, mean]) => `${label} ${toPercent(mean, 0)}`).join(", ")}`;
  }

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const span = this.spanS ?? LIVE_SPAN_S;
    const from = this.spanS === null ? this.nowS - LIVE_SPAN_S : 0;
    const toX = (timeS) => Math.round(((timeS - from) / span) * width);
    const colors = {};
    const indexes = [...this.columns.keys()].sort((a, b) => a - b);
    indexes.forEach((index, at) => {
      const { n, sums } = this.columns.get(index);
      const until = Math.min(indexes[at + 1] ?? index + 1, index + Math.ceil(HELD_S / this.stepS));
      const left = toX(index * this.stepS);
      const right = Math.max(left + 1, toX(until * this.stepS));
      let top = height;
      for (const [label, value] of Object.entries(sums)) {
        const tall = (value / n) * height;
        context.fillStyle = colors[label] ??= resolveColor(label, "bar");
        context.fillRect(left, top - tall, right - left, tall + 0.5);
        top -= tall;
      }
    });
    if (this.cursorS !== null) {
      context.fillStyle = getComputedStyle(canvas).color;
      context.fillRect(toX(this.cursorS), 0, Math.max(1, Math.round(ratio * 1.5)), height);
    }
    canvas.setAttribute("aria-label", this.describe());
  }
}
