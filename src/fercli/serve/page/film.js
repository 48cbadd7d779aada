// The row of pictures below the one that is looked at.

import { barColor, describeRows, findLargest } from "./labels.js";
import { drawTile } from "./thumbnails.js";

export class Film {
  /** @param {(entry: object) => void} onSelect called when somebody chooses a picture */
  constructor(list, onSelect) {
    this.list = list;
    this.onSelect = onSelect;
    this.buttons = new Map();
    this.selected = null;
    list.addEventListener("keydown", (event) => this.move(event));
  }

  add(entries) {
    for (const entry of entries) {
      const item = document.createElement("li");
      const button = document.createElement("button");
      const canvas = document.createElement("canvas");
      const name = document.createElement("span");
      button.type = "button";
      button.className = "tile";
      button.tabIndex = this.buttons.size ? -1 : 0;
      canvas.setAttribute("aria-hidden", "true");
      name.className = "tile-name";
      name.textContent = entry.name.split("/").at(-1);
      button.append(canvas, name);
      button.addEventListener("click", () => this.onSelect(entry));
      item.append(button);
      this.list.append(item);
      this.buttons.set(entry, button);
      this.update(entry);
    }
  }

  /** Show what is now known of an entry. */
  update(entry) {
    const button = this.buttons.get(entry);
    if (!button) return;
    const state = entry.state === "done" ? entry.rows[0]?.status ?? "done" : entry.state;
    const largest = findLargest(entry.rows);
    button.dataset.state = state;
    button.title = entry.name;
    button.setAttribute("aria-label", `${entry.name}: ${entry.kind === "photo" ? describeRows(entry.rows) : entry.kind}`);
    button.style.setProperty("--label", largest ? barColor(largest.label) : "transparent");
  }

  /** Draw an entry's picture, now that it was read. */
  draw(entry) {
    const canvas = this.buttons.get(entry)?.querySelector("canvas");
    if (canvas) drawTile(canvas, entry);
  }

  select(entry) {
    const before = this.buttons.get(this.selected);
    if (before) {
      before.removeAttribute("aria-current");
      before.tabIndex = -1;
    }
    this.selected = entry;
    const button = this.buttons.get(entry);
    if (!button) return;
    button.setAttribute("aria-current", "true");
    button.tabIndex = 0;
    const from = this.list.getBoundingClientRect();
    const at = button.getBoundingClientRect();
    if (at.left < from.left || at.right > from.right) this.list.scrollLeft += at.left - from.left - 24;
  }

  clear() {
    this.list.replaceChildren();
    this.buttons.clear();
    this.selected = null;
  }

  /** Arrow keys go from picture to picture, so that Tab passes the film in one step. */
  move(event) {
    const all = [...this.buttons.keys()];
    const at = all.findIndex((entry) => this.buttons.get(entry) === document.activeElement);
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 };
    const to = all[steps[event.key]];
    if (at < 0 || !to) return;
    event.preventDefault();
    this.onSelect(to);
    this.buttons.get(to).focus();
  }
}
