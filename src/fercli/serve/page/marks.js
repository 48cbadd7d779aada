// Boxes and their tags: where they go, as SVG over a picture, and on a canvas to be saved.

import { resolveColor, toPercent } from "./labels.js";

const GAP = 3;
/** Share of a picture that tags may cover; beyond it they are numbers, and the words stand beside. */
const MOST_COVERED = 0.2;

/**
 * Return where each face's box and tag lie, in pixels of the area.
 *
 * Tags take the first free place around their box. Where a picture is full they shrink to the face's
 * number, and move away until they cover no other tag.
 *
 * @param {object[]} rows rows of one picture; boxes in pixels of `image_width` x `image_height`
 * @param {{width: number, height: number, mirror?: boolean}} area
 * @param {number} fontPx height of the tags' letters
 * @param {(text: string) => number} measure width of a text in pixels
 */
export function placeMarks(rows, area, fontPx, measure) {
  const faces = rows.filter((row) => row.status === "ok" && row.box);
  const many = faces.length > 1;
  const marks = faces.map((row) => {
    const scaleX = area.width / row.image_width;
    const scaleY = area.height / row.image_height;
    const [x, y, width, height] = row.box;
    const left = area.mirror ? row.image_width - x - width : x;
    const number = `${row.face + 1}`;
    const words = `${row.label} ${toPercent(row.confidence, 0)}`;
    return {
      row,
      color: resolveColor(row.label, "mark"),
      box: { x: left * scaleX, y: y * scaleY, width: width * scaleX, height: height * scaleY },
      texts: many ? [`${number} ${words}`, number] : [words],
    };
  });
  const covered = sum(marks, (mark) => (measure(mark.texts[0]) + fontPx) * fontPx * 1.5);
  if (many && covered > MOST_COVERED * area.width * area.height) {
    for (const mark of marks) mark.texts.shift();
  }
  const boxes = marks.map((mark) => mark.box);
  const placed = [];
  for (const mark of marks) {
    const rest = boxes.filter((box) => box !== mark.box);
    mark.tag = placeTag(mark, { area, fontPx, measure, placed, rest });
    placed.push(mark.tag);
  }
  return marks;
}

/** Draw marks into an SVG element that covers the picture. */
export function drawSvg(svg, marks, area, fontPx) {
  svg.setAttribute("viewBox", `0 0 ${area.width} ${area.height}`);
  const parts = marks.flatMap(({ row, color, box, tag }) => {
    const halo = make("rect", { ...box, class: "halo", rx: 2 });
    const line = make("rect", { ...box, class: "box", rx: 2, stroke: color });
    line.dataset.face = row.face;
    const back = make("rect", { ...tag.box, class: "tag", rx: 2, fill: color });
    const text = make("text", { x: tag.box.x + tag.pad, y: tag.box.y + tag.baseline, "font-size": fontPx });
    text.textContent = tag.text;
    return [[halo, line], [back, text]];
  });
  // All tags lie above all boxes.
  const lines = parts.filter((_, index) => index % 2 === 0).flat();
  const tags = parts.filter((_, index) => index % 2 === 1).flat();
  svg.replaceChildren(...lines, ...tags);
}

/** Draw marks on a canvas of the size of the area. */
export function drawCanvas(context, marks, fontPx, font) {
  const line = Math.max(2, fontPx / 7);
  context.font = font;
  for (const { color, box } of marks) {
    for (const [style, width] of [["rgb(0 0 0 / 60%)", 2 * line], [color, line]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.strokeRect(box.x, box.y, box.width, box.height);
    }
  }
  for (const { color, tag } of marks) {
    context.fillStyle = color;
    context.fillRect(tag.box.x, tag.box.y, tag.box.width, tag.box.height);
    context.fillStyle = "#111";
    context.fillText(tag.text, tag.box.x + tag.pad, tag.box.y + tag.baseline);
  }
}

function placeTag(mark, { area, fontPx, measure, placed, rest }) {
  const pad = Math.round(fontPx * 0.4);
  const height = Math.round(fontPx * 1.5);
  let best = null;
  for (const text of mark.texts) {
    const width = measure(text) + 2 * pad;
    for (const at of listPlaces(mark.box, width, height, text === mark.texts.at(-1))) {
      const box = { ...keepInside(at, width, height, area), width, height };
      const onTags = sum(placed, (tag) => overlap(box, tag.box));
      const cost = 1e6 * onTags + sum(rest, (other) => overlap(box, other));
      if (best === null || cost < best.cost) {
        best = { text, box, pad, baseline: height / 2 + fontPx * 0.35, cost, onTags };
      }
      if (cost === 0) return best;
    }
    if (best.onTags === 0) return best;
  }
  return best;
}

function* listPlaces({ x, y, width: w, height: h }, width, height, far) {
  yield { x, y: y - height - GAP };
  yield { x, y: y + h + GAP };
  yield { x: x + w - width, y: y - height - GAP };
  yield { x: x + w - width, y: y + h + GAP };
  yield { x: x + w + GAP, y };
  yield { x: x - width - GAP, y };
  yield { x: x + GAP, y: y + GAP };
  yield { x: x + GAP, y: y + h - height - GAP };
  if (!far) return;
  for (let ring = 1; ring <= 12; ring += 1) {
    for (const [dx, dy] of [[0, -1], [0, 1], [1, 0], [-1, 0], [1, -1], [-1, 1], [1, 1], [-1, -1]]) {
      yield { x: x + dx * ring * width, y: y + dy * ring * height };
    }
  }
}

function keepInside({ x, y }, width, height, area) {
  return {
    x: Math.max(0, Math.min(x, area.width - width)),
    y: Math.max(0, Math.min(y, area.height - height)),
  };
}

function overlap(a, b) {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return width > 0 && height > 0 ? width * height : 0;
}

function sum(items, value) {
  return items.reduce((total, item) => total + value(item), 0);
}

function make(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
