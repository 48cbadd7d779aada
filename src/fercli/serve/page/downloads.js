// Rows as files, the columns and keys of `fer predict --format csv` and `--json`.

const BOX = ["box_x", "box_y", "box_width", "box_height"];
const FIELDS = [
  "path", "status", "reason", "face", "box", "confidence", "label", "probabilities",
  "image_width", "image_height", "detector", "frames", "frame", "time_s", "track", "model",
];
/** How cells begin that a spreadsheet would run; the apostrophe marks those that were changed. */
const FORMULA = ["=", "+", "-", "@", "\t", "\r", "\n", "'"];
/** Tells spreadsheets that the file is UTF-8. */
const MARK = "\ufeff";

/**
 * Return rows as CSV, numbers in full.
 *
 * Rows of several models share the table: it has a column for every label that one of them knows.
 */
export function toCsv(rows) {
  const labels = [...new Set(rows.flatMap((row) => Object.keys(row.probabilities ?? {})))];
  const header = FIELDS.flatMap((name) => {
    if (name === "box") return BOX;
    if (name === "probabilities") return labels.map((label) => `p_${label}`);
    return [name];
  });
  const lines = rows.map((row) => FIELDS.flatMap((name) => {
    if (name === "box") return row.box ?? BOX.map(() => null);
    if (name === "probabilities") return labels.map((label) => row.probabilities?.[label]);
    return [row[name]];
  }));
  return MARK + [header, ...lines].map((line) => `${line.map(toCell).join(",")}\n`).join("");
}

/** Return rows as JSON: a list of them, as the server gave them. */
export function toJson(rows) {
  return `${JSON.stringify(rows, null, 1)}\n`;
}

/** Let the browser save a file. */
export function save(content, name, type) {
  const link = document.createElement("a");
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function toCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = FORMULA.some((start) => value.startsWith(start)) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
