// The camera: one frame at the server at a time, what comes meanwhile is dropped and counted.

import { ApiError, predict } from "./api.js";
import { FrameCanvases, toJpeg } from "./frames.js";

/** Longest sides of frames, the first to begin with: searching for faces costs by the pixel. */
const SIZES_PX = [640, 480, 400, 320];
/** Ten faces a second; what is slower sends smaller frames. */
const SLOW_MS = 100;
const N_JUDGED = 6;
const WINDOW_S = 3;

/** Return why there is no camera, in one sentence. */
export function explainCamera(error) {
  const reasons = {
    NotAllowedError: "The camera is not allowed for this page; allow it beside the browser's address, then start again.",
    NotFoundError: "No camera was found on this machine.",
    OverconstrainedError: "No camera was found on this machine.",
    NotReadableError: "The camera does not answer; another program may be using it.",
  };
  return reasons[error.name] ?? `The camera could not be started (${error.message}).`;
}

export class Live {
  /**
   * @param {HTMLVideoElement} video where the camera is shown
   * @param {() => {model: string, faces: string}} options what to ask with, at each frame
   * @param {{onRows: Function, onMeters: Function, onEnd: (error: Error) => void}} listeners
   */
  constructor(video, options, listeners) {
    this.video = video;
    this.options = options;
    this.listeners = listeners;
    this.stream = null;
  }

  get isOn() {
    return this.stream !== null;
  }

  /** Return the camera's stream once somebody has allowed it. */
  async open(deviceId) {
    if (!navigator.mediaDevices) {
      throw new Error("browsers allow a camera on https pages and on 127.0.0.1 only");
    }
    const wish = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" };
    const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
    const stream = await navigator.mediaDevices.getUserMedia({ video: { ...wish, ...size } });
    // Asked for twice, the one that came first is let go.
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = stream;
    const [track] = this.stream.getVideoTracks();
    track.addEventListener("ended", () => this.end(new Error("The camera was switched off.")));
    return this.stream;
  }

  /** Whether the camera looks at who looks at the screen, which is shown as a mirror shows it. */
  get isFront() {
    return this.stream.getVideoTracks()[0].getSettings().facingMode !== "environment";
  }

  get deviceId() {
    return this.stream.getVideoTracks()[0].getSettings().deviceId;
  }

  /** Begin to send frames; the video shows the stream already. */
  begin() {
    this.canvases = new FrameCanvases(SIZES_PX[0]);
    this.judged = [];
    this.controller = new AbortController();
    this.startedMs = performance.now();
    this.nSeen = 0;
    this.nDropped = 0;
    this.isAsking = false;
    this.holdMs = 0;
    this.answers = [];
    this.next();
  }

  /** Let the camera go. */
  stop() {
    this.controller?.abort();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
  }

  end(error) {
    if (!this.isOn) return;
    this.stop();
    this.listeners.onEnd(error);
  }

  next() {
    const { signal } = this.controller;
    const onFrame = () => {
      // A frame that was waited for before the camera was started again is not this session's.
      if (!this.isOn || signal.aborted) return;
      const index = this.nSeen;
      this.nSeen += 1;
      const now = performance.now();
      if (this.isAsking || now < this.holdMs) this.nDropped += 1;
      else this.ask(index, now, signal);
      this.next();
    };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(onFrame);
    else requestAnimationFrame(onFrame);
  }

  async ask(frame, takenMs, signal) {
    this.isAsking = true;
    try {
      const canvas = this.canvases.take(this.video);
      const { rows } = await predict(await toJpeg(canvas), "camera", this.options(), signal);
      if (signal.aborted) return;
      const timeS = (takenMs - this.startedMs) / 1000;
      for (const row of rows) Object.assign(row, { frame, time_s: timeS });
      this.listeners.onRows(rows, timeS, canvas);
      this.count(rows, takenMs);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 503) return this.end(error);
      this.nDropped += 1;
      this.holdMs = performance.now() + 1000 * (error.retryAfterS ?? 1);
    } finally {
      if (this.controller.signal === signal) this.isAsking = false;
    }
  }

  count(rows, takenMs) {
    const now = performance.now();
    const nFaces = rows.filter((row) => row.status === "ok").length;
    this.answers.push({ at: now, nFaces, latencyMs: now - takenMs });
    this.answers = this.answers.filter(({ at }) => at > now - 1000 * WINDOW_S);
    this.adapt(now - takenMs);
    const spanS = Math.min(WINDOW_S, (now - this.startedMs) / 1000);
    const latencies = this.answers.map(({ latencyMs }) => latencyMs).sort((a, b) => a - b);
    this.listeners.onMeters({
      latencyMs: latencies[Math.floor(latencies.length / 2)],
      facesPerS: this.answers.reduce((sum, answer) => sum + answer.nFaces, 0) / spanS,
      nDropped: this.nDropped,
      longestPx: this.canvases.longestPx,
    });
  }

  /** Send smaller frames where answers take long, larger ones where those would still be quick. */
  adapt(latencyMs) {
    this.judged.push(latencyMs);
    if (this.judged.length < N_JUDGED) return;
    const median = this.judged.sort((a, b) => a - b)[N_JUDGED / 2];
    this.judged = [];
    const at = SIZES_PX.indexOf(this.canvases.longestPx);
    const larger = SIZES_PX[at - 1];
    if (median > SLOW_MS && SIZES_PX[at + 1]) this.canvases.longestPx = SIZES_PX[at + 1];
    else if (larger && median * (larger / SIZES_PX[at]) ** 2 < 0.7 * SLOW_MS) this.canvases.longestPx = larger;
  }
}
