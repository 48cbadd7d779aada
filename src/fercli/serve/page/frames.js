// Frames out of a video or a camera, as JPEG: the only thing of them that is sent.

const QUALITY = 0.85;

/** Two canvases in turn: one is filled while the rows of the other are still to be shown. */
export class FrameCanvases {
  /** @param {number} longestPx longest side of a frame that is sent */
  constructor(longestPx) {
    this.longestPx = longestPx;
    this.canvases = [document.createElement("canvas"), document.createElement("canvas")];
  }

  /** Return the canvas that now holds the video's frame. */
  take(video) {
    const canvas = this.canvases.reverse()[0];
    const scale = Math.min(1, this.longestPx / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.max(1, Math.round(video.videoWidth * scale));
    canvas.height = Math.max(1, Math.round(video.videoHeight * scale));
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return canvas;
  }
}

/** Return a canvas as JPEG. */
export function toJpeg(canvas) {
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", QUALITY); });
}

/**
 * Open a video file outside of the page.
 *
 * @returns {Promise<HTMLVideoElement | null>} its length known; null: this browser cannot play it
 */
export async function openVideo(file) {
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.preload = "auto";
  video.src = URL.createObjectURL(file);
  const good = await new Promise((resolve) => {
    video.addEventListener("loadeddata", () => resolve(true), { once: true });
    video.addEventListener("error", () => resolve(false), { once: true });
  });
  if (!good || !video.videoWidth) {
    closeVideo(video);
    return null;
  }
  // Recorders of browsers write no length; the end of the file tells it.
  if (!Number.isFinite(video.duration)) await seek(video, 1e7);
  return video;
}

export function closeVideo(video) {
  URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.load();
}

/**
 * Yield the time of a frame every `everyS` seconds, while the video shows that frame.
 *
 * The time is the frame's own, as the file has it. A frame that is shown longer comes once.
 */
export async function* sampleFrames(video, everyS, signal) {
  let last = null;
  for (let index = 0; index * everyS < video.duration || last === null; index += 1) {
    signal.throwIfAborted();
    // A hair later, or rounding would now and then show the frame before.
    const shownS = await seek(video, index * everyS + 0.001);
    if (shownS !== last) yield shownS;
    last = shownS;
  }
}

/** Go to a time and return the one of the frame that is there. */
async function seek(video, timeS) {
  const seeked = new Promise((resolve) => { video.addEventListener("seeked", resolve, { once: true }); });
  let presented = null;
  const handle = video.requestVideoFrameCallback?.((_, { mediaTime }) => { presented = mediaTime; });
  video.currentTime = timeS;
  await seeked;
  // The callback comes with the next picture of the screen, and not at all where nothing is drawn.
  for (let wait = 0; handle !== undefined && presented === null && wait < 5; wait += 1) {
    await new Promise((resolve) => { setTimeout(resolve, 10); });
  }
  if (handle !== undefined) video.cancelVideoFrameCallback(handle);
  return presented ?? video.currentTime;
}
