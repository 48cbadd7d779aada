// The picture that is looked at, with its boxes: a photo, a video or the camera.

import { drawCanvas, drawSvg, placeMarks } from "./marks.js";

const FONT_PX = 14;
const SMALL_PX = 640;
const FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif";
const LARGEST_CANVAS_PX = 16384;

const byId = (id) => document.getElementById(id);
const ruler = document.createElement("canvas").getContext("2d");

/** Return the font of tags, as a canvas wants it. */
function fontOf(px) {
  return `600 ${px}px ${FAMILY}`;
}

function measureAt(px) {
  return (text) => {
    ruler.font = fontOf(px);
    return ruler.measureText(text).width;
  };
}

export class Stage {
  constructor() {
    this.area = byId("stage");
    this.frame = byId("frame");
    this.photo = byId("photo");
    this.video = byId("video");
    this.still = byId("still");
    this.blank = byId("blank");
    this.overlay = byId("overlay");
    this.rows = [];
    this.size = null;
    this.mirror = false;
    this.address = null;
    new ResizeObserver(() => this.lay()).observe(this.area);
  }

  /** Show nothing but what can be done. */
  clear() {
    this.rows = [];
    this.size = null;
    this.release();
    this.show(null);
    this.area.dataset.state = "empty";
  }

  /**
   * Show a photo with the faces of its rows.
   *
   * @param {File} file
   * @param {object[]} rows its rows; none yet is fine
   * @param {string} alternative what is to be said of it
   */
  async showPhoto(file, rows, alternative) {
    this.release();
    this.mirror = false;
    this.rows = rows;
    this.address = URL.createObjectURL(file);
    const { address } = this;
    this.photo.alt = alternative;
    this.photo.src = address;
    let shown = this.photo;
    this.blank.textContent = "This browser cannot show this picture. The boxes are still correct.";
    try {
      await this.photo.decode();
    } catch {
      shown = this.blank;
    }
    // Another picture may have been asked for meanwhile.
    if (this.address !== address) return;
    this.size = shown === this.photo ? [this.photo.naturalWidth, this.photo.naturalHeight] : null;
    this.show(shown);
    this.setRows(rows);
  }

  /** Show the camera; `mirror` turns it as people know themselves, the boxes with it. */
  async showCamera(stream, mirror) {
    this.release();
    this.mirror = mirror;
    this.rows = [];
    this.video.controls = false;
    this.video.srcObject = stream;
    await this.video.play();
    this.size = [this.video.videoWidth, this.video.videoHeight];
    this.show(this.video);
  }

  /** Show a video file; false: it cannot be played, or something else was asked for meanwhile. */
  async showVideo(file, controls) {
    this.release();
    this.mirror = false;
    this.rows = [];
    this.address = URL.createObjectURL(file);
    const { address } = this;
    this.video.controls = controls;
    this.video.src = address;
    const playable = await new Promise((resolve) => {
      this.video.addEventListener("loadeddata", () => resolve(true), { once: true });
      this.video.addEventListener("error", () => resolve(false), { once: true });
    });
    if (this.address !== address || !playable || !this.video.videoWidth) return false;
    this.size = [this.video.videoWidth, this.video.videoHeight];
    this.show(this.video);
    return true;
  }

  /** Show an empty place for what has no picture yet, or none that browsers can show. */
  showCover() {
    this.release();
    this.mirror = false;
    this.rows = [];
    this.size = [16, 9];
    this.blank.textContent = "";
    this.show(this.blank);
  }

  /** Show a frame that was taken out of a video or camera, with its rows. */
  showStill(source, rows, { mirror = false } = {}) {
    if (this.still.hidden) this.release();
    this.mirror = mirror;
    this.rows = rows;
    this.size = [source.width, source.height];
    [this.still.width, this.still.height] = this.size;
    this.still.getContext("2d").drawImage(source, 0, 0);
    if (this.still.hidden) this.show(this.still);
    this.lay();
  }

  /** Draw other rows over the picture. */
  setRows(rows) {
    this.rows = rows;
    if (!this.size) {
      const sized = rows.find((row) => row.image_width);
      this.size = sized ? [sized.image_width, sized.image_height] : [4, 3];
    }
    this.lay();
  }

  setAlternative(text) {
    this.photo.alt = text;
    for (const each of [this.video, this.still]) each.setAttribute("aria-label", text);
  }

  /**
   * Return the picture with its boxes as a PNG of its own size.
   *
   * @param {CanvasImageSource | null} source the photo, or the frame that the rows are of
   * @throws {RangeError} it is too large for a canvas
   */
  async toPng(source, rows, [width, height]) {
    if (Math.max(width, height) > LARGEST_CANVAS_PX) throw new RangeError("too large for a canvas");
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    if (source) context.drawImage(source, 0, 0, width, height);
    const px = Math.max(12, Math.round(Math.min(width, height) / 32));
    const marks = placeMarks(rows, { width, height }, px, measureAt(px));
    drawCanvas(context, marks, px, fontOf(px));
    const png = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    if (!png) throw new RangeError("too large for a canvas");
    return png;
  }

  /** Give the picture its size on the page and draw the boxes at that size. */
  lay() {
    if (!this.size || this.frame.hidden) return;
    const [width, height] = this.size;
    const style = getComputedStyle(this.area);
    const wide = this.area.clientWidth - Number.parseFloat(style.paddingLeft) - Number.parseFloat(style.paddingRight);
    const high = Number.parseFloat(style.getPropertyValue("--picture-height")) * window.innerHeight;
    // What is small is shown larger than it is, crops of 48 pixels most of all.
    const zoom = Math.max(1, Math.min(6, SMALL_PX / Math.max(width, height)));
    const scale = Math.min(wide / width, Math.max(240, high) / height, this.mirror ? Infinity : zoom);
    const area = { width: width * scale, height: height * scale, mirror: this.mirror };
    this.frame.style.width = `${area.width}px`;
    this.frame.style.height = `${area.height}px`;
    const marks = placeMarks(this.rows, area, FONT_PX, measureAt(FONT_PX));
    drawSvg(this.overlay, marks, area, FONT_PX);
  }

  show(element) {
    for (const each of [this.photo, this.video, this.still, this.blank]) each.hidden = each !== element;
    byId("empty").hidden = element !== null;
    this.frame.hidden = element === null;
    this.area.dataset.state = element === null ? "empty" : "full";
    for (const each of [this.video, this.still]) each.classList.toggle("mirrored", this.mirror);
    this.overlay.replaceChildren();
    this.lay();
  }

  release() {
    this.video.pause();
    this.video.srcObject = null;
    if (this.video.hasAttribute("src")) {
      this.video.removeAttribute("src");
      this.video.load();
    }
    this.photo.removeAttribute("src");
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = null;
  }
}
