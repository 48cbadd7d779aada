// The answers beside the picture: each face's label, and a bar for every label.

import { barColor, toPercent } from "./labels.js";

const SHOWN = 24;

/** Faces' answers; nodes are kept from update to update, for the camera brings many a second. */
export class Readings {
  constructor(container) {
    this.container = container;
    this.parts = [];
  }

  /**
   * @param {object[]} rows rows of one picture
   * @param {{big?: boolean}} [options] big: for reading from a distance, largest face first
   */
  update(rows, { big = false } = {}) {
    let faces = rows.filter((row) => row.status === "ok");
    if (big) faces = faces.toSorted((a, b) => area(b) - area(a)).slice(0, 3);
    const shown = faces.slice(0, SHOWN);
    this.container.classList.toggle("big", big);
    while (this.parts.length > shown.length) this.parts.pop().element.remove();
    shown.forEach((row, index) => {
      const labels = Object.keys(row.probabilities);
      let part = this.parts[index];
      if (!part || part.labels.join() !== labels.join()) {
        const fresh = build(labels);
        if (part) part.element.replaceWith(fresh.element);
        else this.container.append(fresh.element);
        this.parts[index] = fresh;
        part = fresh;
      }
      fill(part, row, faces.length > 1, big);
    });
    // Who has no mouse must be able to scroll, and need not stop here otherwise.
    for (const element of [this.container, this.container.parentElement]) {
      const isLong = element.scrollHeight > element.clientHeight || element.scrollWidth > element.clientWidth;
      if (isLong) element.tabIndex = 0;
      else element.removeAttribute("tabindex");
    }
  }
}

function area(row) {
  return row.box ? row.box[2] * row.box[3] : 0;
}

function build(labels) {
  const element = make("article", "reading");
  const heading = make("h3", "answer");
  const number = make("span", "face-number");
  const label = make("span", "answer-label");
  const confidence = make("span", "answer-number");
  heading.append(number, label, " ", confidence);
  const list = make("ul", "bars");
  const bars = labels.map((name) => {
    const item = make("li", "bar-row");
    const track = make("span", "track");
    const bar = make("span", "fill");
    const value = make("span", "bar-number");
    const word = make("span", "bar-label");
    word.textContent = name;
    track.setAttribute("aria-hidden", "true");
    item.style.setProperty("--color", barColor(name));
    track.append(bar);
    item.append(word, " ", track, value);
    list.append(item);
    return { item, bar, value };
  });
  element.append(heading, list);
  return { element, labels, heading, number, label, confidence, bars };
}

function fill(part, row, many, big) {
  part.number.textContent = many ? `${row.face + 1}` : "";
  part.number.hidden = !many;
  part.label.textContent = row.label;
  part.confidence.textContent = toPercent(row.confidence, big ? 0 : 1);
  part.heading.style.setProperty("--label", barColor(row.label));
  const best = Math.max(...Object.values(row.probabilities));
  part.labels.forEach((name, index) => {
    const probability = row.probabilities[name];
    const { item, bar, value } = part.bars[index];
    bar.style.width = `${100 * probability}%`;
    value.textContent = toPercent(probability);
    item.classList.toggle("best", probability === best);
  });
}

function make(name, className) {
  const element = document.createElement(name);
  element.className = className;
  return element;
}
