// How labels look and how answers are put into words, everywhere on the page.

const KNOWN = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral", "contempt"];
const others = new Map();

/** Return the name of a label's color: its own, or one that stays with it while the page is open. */
export function keyOf(label) {
  if (KNOWN.includes(label)) return label;
  if (label === "uncertain" || label === null) return "none";
  if (!others.has(label)) others.set(label, KNOWN[others.size % KNOWN.length]);
  return others.get(label);
}

/** Return a CSS color for bars and swatches, which follows the color scheme. */
export function barColor(label) {
  return `var(--bar-${keyOf(label)})`;
}

/** Return the color itself: `mark` for what lies on pictures, `bar` for what lies on the page. */
export function resolveColor(label, kind) {
  const style = getComputedStyle(document.documentElement);
  return style.getPropertyValue(`--${kind}-${keyOf(label)}`).trim();
}

/** Return a probability (0 to 1) as people read it; what was rounded away never reads as certain. */
export function toPercent(probability, digits = 1) {
  const half = 0.5 * 10 ** -(digits + 2);
  if (probability > 0 && probability < half) return `<\u2009${(10 ** -digits).toFixed(digits)} %`;
  if (probability < 1 && probability > 1 - half) {
    return `>\u2009${(100 - 10 ** -digits).toFixed(digits)} %`;
  }
  return `${(100 * probability).toFixed(digits)} %`;
}

/** Return what a picture's rows say, for those who do not see it: `2 faces: happy 97 %, …`. */
export function describeRows(rows) {
  const faces = rows.filter((row) => row.status === "ok");
  if (faces.length) {
    const answers = faces.map((row) => `${row.label} ${toPercent(row.confidence, 0)}`);
    return `${faces.length} ${faces.length === 1 ? "face" : "faces"}: ${answers.join(", ")}`;
  }
  const [row] = rows;
  if (!row) return "not read yet";
  if (row.status === "no_face") return "no face found";
  return `${row.status}: ${row.reason ?? "no reason given"}`;
}

/** Return the face with the largest box among rows; a whole image counts as one. */
export function findLargest(rows) {
  let largest = null;
  let most = -1;
  for (const row of rows) {
    if (row.status !== "ok") continue;
    const size = row.box ? row.box[2] * row.box[3] : Infinity;
    if (size > most) [largest, most] = [row, size];
  }
  return largest;
}
