// The rows of the session, a page of them at a time.

import { barColor, toPercent } from "./labels.js";
import { drawCrop } from "./thumbnails.js";

const PER_PAGE = 50;
const WORDS = { no_face: "no face found", unreadable: "cannot be read", refused: "refused" };

const byId = (id) => document.getElementById(id);

export class Table {
  /** @param {(entry: object, row: object) => void} onSelect called when a picture's name is chosen */
  constructor(session, onSelect) {
    this.session = session;
    this.onSelect = onSelect;
    this.page = 0;
    this.timer = null;
    const turns = {
      "page-first": () => 0,
      "page-previous": () => this.page - 1,
      "page-next": () => this.page + 1,
      "page-last": () => this.nPages - 1,
    };
    for (const [id, turn] of Object.entries(turns)) {
      byId(id).addEventListener("click", () => {
        this.page = turn();
        this.render();
      });
    }
  }

  get nPages() {
    return Math.max(1, Math.ceil(this.session.nRows / PER_PAGE));
  }

  /** Show new rows soon; many changes in a row are one. */
  refresh() {
    this.timer ??= setTimeout(() => this.render(), 250);
  }

  render() {
    clearTimeout(this.timer);
    this.timer = null;
    const { nRows } = this.session;
    this.page = Math.max(0, Math.min(this.page, this.nPages - 1));
    const from = this.page * PER_PAGE;
    const shown = this.session.slice(from, from + PER_PAGE);
    byId("results").hidden = nRows === 0;
    byId("results-count").textContent = `${nRows.toLocaleString("en")} ${nRows === 1 ? "row" : "rows"}`;
    byId("pager").hidden = this.nPages === 1;
    byId("page-text").textContent = `${(from + 1).toLocaleString("en")}\u2013${(from + shown.length).toLocaleString("en")} of ${nRows.toLocaleString("en")}`;
    for (const id of ["page-first", "page-previous"]) byId(id).disabled = this.page === 0;
    for (const id of ["page-next", "page-last"]) byId(id).disabled = this.page >= this.nPages - 1;
    this.fill(byId("rows"), shown);
  }

  /** Rows that are there already stay, and with them the focus and what was drawn. */
  fill(body, shown) {
    const known = new Map([...body.children].map((line) => [line.source, line]));
    const lines = shown.map(({ entry, row }) => known.get(row) ?? this.build(entry, row));
    const same = lines.length === body.children.length && lines.every((line, index) => line === body.children[index]);
    if (same) return;
    for (const line of [...body.children]) if (!lines.includes(line)) line.remove();
    lines.forEach((line, index) => {
      if (body.children[index] !== line) body.insertBefore(line, body.children[index] ?? null);
    });
  }

  build(entry, row) {
    const line = document.createElement("tr");
    line.source = row;
    const good = row.status === "ok";
    const picture = make("td", "crop-cell");
    if (good && entry.kind === "photo") {
      const canvas = make("canvas", "crop");
      canvas.setAttribute("aria-hidden", "true");
      picture.append(canvas);
      drawCrop(canvas, entry, row);
    }
    const name = make("th", "name-cell");
    name.scope = "row";
    const button = make("button", "link");
    button.type = "button";
    button.textContent = row.path;
    button.addEventListener("click", () => this.onSelect(entry, row));
    name.append(button);
    if (row.time_s !== null && row.time_s !== undefined) {
      const time = make("span", "time");
      time.textContent = `${row.time_s.toFixed(2)} s`;
      name.append(" ", time);
    }
    line.append(picture, name, text("td", row.face === null ? "" : `${row.face + 1}`, "number"));
    if (good) line.append(...this.buildAnswer(row));
    else line.append(this.buildReason(row));
    const box = row.box ? row.box.join(", ") : good ? "whole picture" : "";
    line.append(text("td", box, "digits"), text("td", row.detector ?? ""), text("td", row.model ?? ""));
    return line;
  }

  buildAnswer(row) {
    const answer = make("td", "answer-cell");
    const swatch = make("span", "swatch");
    swatch.style.backgroundColor = barColor(row.label);
    answer.append(swatch, row.label);
    const all = make("td", "all-cell");
    const stack = make("span", "stack");
    stack.setAttribute("role", "img");
    const sorted = Object.entries(row.probabilities).sort((a, b) => b[1] - a[1]);
    stack.setAttribute("aria-label", sorted.slice(0, 3).map(([label, value]) => `${label} ${toPercent(value)}`).join(", "));
    for (const [label, value] of sorted) {
      const part = make("span", "stack-part");
      part.style.backgroundColor = barColor(label);
      part.style.width = `${100 * value}%`;
      stack.append(part);
    }
    all.append(stack);
    return [answer, text("td", toPercent(row.confidence), "number"), all];
  }

  buildReason(row) {
    const cell = make("td", "reason-cell");
    cell.colSpan = 3;
    const word = make("span", "reason-word");
    word.textContent = WORDS[row.status] ?? row.status;
    cell.append(word, row.reason ? ` ${row.reason}` : "");
    return cell;
  }
}

function make(name, className) {
  const element = document.createElement(name);
  element.className = className;
  return element;
}

function text(name, content, className = "") {
  const element = make(name, className);
  element.textContent = content;
  return element;
}
