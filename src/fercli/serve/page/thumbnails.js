// Small pictures for the film and the table, made when they are first seen, one at a time.

const TILE_PX = 144;
const CROP_PX = 64;

const made = new WeakMap();
let last = Promise.resolve();

const watcher = new IntersectionObserver((changes) => {
  for (const { isIntersecting, target } of changes) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    waiting.get(target)?.();
  }
}, { rootMargin: "400px" });
const waiting = new WeakMap();

/** Draw an entry's picture into a canvas once it is seen. */
export function drawTile(canvas, entry) {
  whenSeen(canvas, async () => {
    const { tile } = await makeOnce(entry);
    if (tile) copy(tile, canvas);
  });
}

/** Draw the face of a row into a canvas once it is seen; nothing where the file cannot be shown. */
export function drawCrop(canvas, entry, row) {
  whenSeen(canvas, async () => {
    const { crops } = await makeOnce(entry);
    const crop = crops.get(row.face);
    if (crop) copy(crop, canvas);
  });
}

/** Forget an entry's pictures: it has other rows now. */
export function forget(entry) {
  made.delete(entry);
}

function whenSeen(canvas, draw) {
  waiting.set(canvas, draw);
  watcher.observe(canvas);
}

function makeOnce(entry) {
  if (!made.has(entry)) {
    last = last.then(() => build(entry));
    made.set(entry, last);
  }
  return made.get(entry);
}

async function build(entry) {
  const crops = new Map();
  let source = entry.still;
  if (!source && entry.kind === "photo") {
    // Of files that browsers cannot decode there is none.
    source = await createImageBitmap(entry.file).catch(() => null);
  }
  if (!source) return { tile: null, crops };
  const { width, height } = source;
  const scale = TILE_PX / Math.min(width, height);
  const tile = cut(source, [0, 0, width, height], Math.min(width * scale, 2 * TILE_PX), TILE_PX);
  if (entry.kind === "photo") {
    for (const row of entry.rows.filter(({ status }) => status === "ok")) {
      const ratio = width / row.image_width;
      const box = (row.box ?? [0, 0, row.image_width, row.image_height]).map((value) => value * ratio);
      crops.set(row.face, cut(source, box, CROP_PX, CROP_PX));
    }
  }
  source.close?.();
  return { tile, crops };
}

/** Cut a box out so that it fills a canvas. */
function cut(source, [x, y, width, height], toWidth, toHeight) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(toWidth);
  canvas.height = Math.round(toHeight);
  const scale = Math.max(canvas.width / width, canvas.height / height);
  const [wide, high] = [canvas.width / scale, canvas.height / scale];
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(source, x + (width - wide) / 2, y + (height - high) / 2, wide, high, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function copy(from, to) {
  [to.width, to.height] = [from.width, from.height];
  to.getContext("2d").drawImage(from, 0, 0);
  to.classList.add("drawn");
}
