// What was looked at since the page was opened, in order, with its rows.

/** Rows of cameras beyond this many go, the oldest first: an hour of a quick camera, about 50 MB. */
const MOST_LIVE_ROWS = 100_000;

/**
 * An entry is a photo, a video or a stretch of camera.
 *
 * @typedef {object} Entry
 * @property {"photo" | "video" | "camera"} kind
 * @property {string} name
 * @property {File | null} file
 * @property {"waiting" | "reading" | "done"} state
 * @property {object[]} rows as the server gave them; of videos and cameras with their time
 * @property {{model: string, faces: string} | null} options what the rows were asked with
 */
export class Session {
  constructor() {
    this.entries = [];
    /** Files in folders that are no pictures. */
    this.nOther = 0;
  }

  add(kind, name, file) {
    const entry = { kind, name, file, state: "waiting", rows: [], options: null, still: null };
    this.entries.push(entry);
    return entry;
  }

  clear() {
    for (const entry of this.entries) entry.dropped = true;
    this.entries = [];
    this.nOther = 0;
  }

  /** Add rows of a camera, and let go of the oldest when there are very many. */
  addLive(entry, rows) {
    entry.rows.push(...rows);
    if (entry.rows.length > MOST_LIVE_ROWS) entry.rows.splice(0, MOST_LIVE_ROWS / 10);
  }

  get nRows() {
    return this.entries.reduce((sum, entry) => sum + entry.rows.length, 0);
  }

  get rows() {
    return this.entries.flatMap((entry) => entry.rows);
  }

  /** Return rows `from` up to `to` with the entry that each is of. */
  slice(from, to) {
    const found = [];
    let start = 0;
    for (const entry of this.entries) {
      const end = start + entry.rows.length;
      if (end > from && start < to) {
        const some = entry.rows.slice(Math.max(0, from - start), to - start);
        found.push(...some.map((row) => ({ entry, row })));
      }
      start = end;
    }
    return found;
  }
}
