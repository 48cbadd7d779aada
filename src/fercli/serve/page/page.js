// What happens when: pictures come in, are read in turn, looked at, and saved.

import { ApiError, fetchModels, predictPatiently, setToken, takeToken } from "./api.js";
import { save, toCsv, toJson } from "./downloads.js";
import { isReadable, isVideo, listDropped, listFiles, listFolder } from "./files.js";
import { Film } from "./film.js";
import { FrameCanvases, closeVideo, openVideo, sampleFrames, toJpeg } from "./frames.js";
import { describeRows, findLargest } from "./labels.js";
import { Live, explainCamera } from "./live.js";
import { Queue } from "./queue.js";
import { Readings } from "./readings.js";
import { Session } from "./session.js";
import { Stage } from "./stage.js";
import { LIVE_SPAN_S, Strip } from "./strip.js";
import { Table } from "./table.js";
import { forget } from "./thumbnails.js";

const EVERY_S = 0.2;
/** Longest side of a video's frame that is sent; faces are cut out at 48 pixels anyway. */
const VIDEO_PX = 1280;
const ANNOUNCE_MS = 5000;
const CAMERA_STARTERS = ["camera-start", "cameras"];
const FACES = {
  auto: "Small pictures are taken as one face; larger ones are searched for faces.",
  whole: "Every picture is one face, already cropped.",
  haar: "Searches with OpenCV's Haar cascade: frontal faces.",
  yunet: "Searches with YuNet, which finds turned and small faces, too.",
};

const byId = (id) => document.getElementById(id);

const session = new Session();
const stage = new Stage();
const readings = new Readings(byId("readings"));
const strip = new Strip(byId("strip-canvas"));
const film = new Film(byId("film"), select);
const table = new Table(session, (entry, row) => {
  select(entry);
  if (entry.kind === "video" && row.time_s !== null) stage.video.currentTime = row.time_s;
  byId("stage").scrollIntoView({ block: "nearest" });
});
const queue = new Queue(readEntry, showProgress);
const live = new Live(stage.video, currentOptions, { onRows: showLive, onMeters: showMeters, onEnd: endCamera });

let server = { models: [], faces: ["auto"], limits: {} };
let selected = null;
let busyNote = "";
let announcedMs = 0;

takeToken();
listenToPage();
listenToPictures();
start();

async function start() {
  byId("privacy").textContent = isHere()
    ? "Nothing leaves this machine."
    : `Pictures are sent to ${location.host} only.`;
  try {
    server = await fetchModels();
  } catch (error) {
    return explain(error);
  }
  byId("version").textContent = server.version ?? "";
  byId("token-form").hidden = true;
  closeNotice();
  fillChoices();
  if (queue.waiting.length) queue.resume();
}

function isHere() {
  return ["localhost", "[::1]"].includes(location.hostname) || location.hostname.startsWith("127.");
}

// Settings

function currentOptions() {
  return { model: byId("model").value, faces: byId("faces").value };
}

function fillChoices() {
  const options = server.models.map(({ name, default: isFirst }) => new Option(name, name, isFirst, isFirst));
  byId("model").replaceChildren(...options);
  byId("faces").replaceChildren(...server.faces.map((name) => new Option(name, name)));
  const parts = server.models.flatMap((model) => {
    const name = document.createElement("dt");
    const purpose = document.createElement("dd");
    name.textContent = model.name;
    purpose.textContent = `${model.purpose ?? ""} Labels: ${model.labels.join(", ")}.`;
    return [name, purpose];
  });
  byId("models").replaceChildren(...parts);
  showChoices();
}

function showChoices() {
  const { model, faces } = currentOptions();
  byId("model-purpose").textContent = server.models.find(({ name }) => name === model)?.purpose ?? "";
  byId("faces-purpose").textContent = FACES[faces] ?? "";
  const other = listOther();
  const noun = other.length === 1 ? "picture" : "pictures";
  byId("again").hidden = other.length === 0;
  byId("again").textContent = `Read ${other.length} ${noun} again like this`;
}

/** Return what was read with other settings than those that are chosen now. */
function listOther() {
  const { model, faces } = currentOptions();
  return session.entries.filter(({ state, file, options }) => (
    file && state === "done" && options && (options.model !== model || options.faces !== faces)
  ));
}

function readAgain() {
  const entries = listOther();
  for (const entry of entries) Object.assign(entry, { state: "waiting", rows: [] });
  for (const entry of entries) film.update(entry);
  queue.add(entries);
  table.render();
  showChoices();
  if (selected) select(selected);
  byId("model").focus();
}

// Reading

/** Take pictures in: they are shown at once and read in turn. */
function take({ found, nOther }) {
  session.nOther += nOther;
  if (!found.length) {
    if (nOther) notify("There are no pictures or videos among these files.");
    return;
  }
  if (live.isOn) stopCamera();
  const entries = found.map(({ file, name }) => session.add(isVideo(file) ? "video" : "photo", name, file));
  film.add(entries);
  queue.add(entries);
  select(entries[0]);
}

async function readEntry(entry, signal) {
  entry.state = "reading";
  entry.options = currentOptions();
  film.update(entry);
  try {
    if (entry.kind === "video") await readVideo(entry, signal);
    else entry.rows = await readPhoto(entry, signal);
  } catch (error) {
    entry.state = "waiting";
    entry.rows = [];
    // Nobody answers, or nobody may ask: the rest would fail alike.
    if (error instanceof ApiError) {
      queue.stop();
      explain(error);
    }
    film.update(entry);
    if (entry === selected) select(entry);
    throw error;
  }
  if (entry.dropped) return;
  entry.state = "done";
  forget(entry);
  film.update(entry);
  film.draw(entry);
  table.refresh();
  if (entry === selected) select(entry);
}

async function readPhoto(entry, signal) {
  const { file, name } = entry;
  if (file.size > (server.limits.bytes ?? Infinity)) {
    return [buildRow(name, "refused", `it has ${toMegabytes(file.size)}, more than the ${toMegabytes(server.limits.bytes)} that the server takes`)];
  }
  try {
    const { rows } = await predictPatiently(file, name, entry.options, signal, noteBusy);
    return rows;
  } catch (error) {
    if (error instanceof ApiError && error.status === 0 && !await isReadable(file)) {
      return [buildRow(name, "unreadable", "the file is gone, was changed or may not be read")];
    }
    if (!(error instanceof ApiError) || [0, 401, 403].includes(error.status)) throw error;
    return [buildRow(name, "refused", [error.message, error.hint].filter(Boolean).join("; "))];
  }
}

/** Read a video frame by frame; its rows come while it is read. */
async function readVideo(entry, signal) {
  const video = await openVideo(entry.file);
  if (!video) {
    entry.rows = [buildRow(entry.name, "unreadable", "this browser cannot play it; fer predict may")];
    return;
  }
  const canvases = new FrameCanvases(VIDEO_PX);
  entry.rows = [];
  entry.durationS = video.duration;
  if (entry === selected) select(entry);
  try {
    for await (const timeS of sampleFrames(video, EVERY_S, signal)) {
      const canvas = canvases.take(video);
      const picture = await toJpeg(canvas);
      const { rows } = await predictPatiently(picture, entry.name, entry.options, signal, noteBusy);
      for (const row of rows) row.time_s = timeS;
      entry.rows.push(...rows);
      entry.still = canvas;
      if (entry === selected) showVideoFrame(entry, rows, timeS, canvas);
      table.refresh();
      showProgress();
    }
  } finally {
    closeVideo(video);
  }
}

/** Return a row as the server makes them, for what never reached it. */
function buildRow(path, status, reason) {
  const names = [
    "face", "box", "confidence", "label", "probabilities", "image_width", "image_height",
    "detector", "frames", "frame", "time_s", "track",
  ];
  const nothing = Object.fromEntries(names.map((name) => [name, null]));
  return { path, status, reason, ...nothing, model: currentOptions().model };
}

function toMegabytes(nBytes) {
  return `${(nBytes / 1e6).toFixed(1)} MB`;
}

function noteBusy(seconds) {
  busyNote = `The server is busy; continuing in ${seconds} s.`;
  showProgress();
}

function showProgress() {
  const { nTotal, nDone, waiting } = queue;
  const isStopped = queue.stopped && waiting.length > 0;
  const current = session.entries.find(({ kind, state }) => kind === "video" && state === "reading");
  const show = (queue.isBusy && (nTotal > 1 || current)) || isStopped || (queue.isBusy && busyNote !== "");
  byId("progress").hidden = !show;
  byId("progress-bar").max = Math.max(1, nTotal);
  byId("progress-bar").value = nDone + (current ? lastTime(current) / current.durationS || 0 : 0);
  const part = current && nTotal === 1 ? `${lastTime(current).toFixed(1)} of ${(current.durationS ?? 0).toFixed(1)} s read` : `${nDone} of ${nTotal} read`;
  byId("progress-text").textContent = [part, isStopped ? "stopped" : "", busyNote].filter(Boolean).join(" \u00b7 ");
  byId("cancel").hidden = isStopped;
  byId("resume").hidden = !isStopped;
  busyNote = "";
  const now = performance.now();
  if (show && now - announcedMs > ANNOUNCE_MS) announce(part);
  if (!queue.isBusy && !waiting.length && nDone) finish(nDone);
}

function lastTime(entry) {
  return entry.rows.at(-1)?.time_s ?? 0;
}

function finish(nDone) {
  queue.nDone = 0;
  const only = session.entries.length === 1 ? session.entries[0] : null;
  const nFaces = session.rows.filter((row) => row.status === "ok").length;
  if (nDone > 1) announce(`All ${nDone} read. ${describeCount(nFaces)} in the session.`);
  else if (only?.kind === "photo") announce(`${only.name}: ${describeRows(only.rows)}`);
  else announce("Read.");
  table.render();
  showChoices();
}

// Looking

function select(entry) {
  if (live.isOn && entry !== selected) stopCamera();
  selected = entry;
  film.select(entry);
  byId("film-area").hidden = session.entries.length < 2;
  const { entries, nOther } = session;
  const passed = nOther ? ` \u00b7 ${nOther} other ${nOther === 1 ? "file" : "files"} passed over` : "";
  byId("film-count").textContent = `${entries.length}${passed}`;
  for (const id of ["readings-area", "caption-bar"]) byId(id).hidden = false;
  byId("strip").hidden = true;
  byId("meters").hidden = true;
  const at = session.entries.indexOf(entry);
  for (const id of ["previous", "next"]) byId(id).hidden = live.isOn || session.entries.length < 2;
  byId("previous").disabled = at <= 0;
  byId("next").disabled = at >= session.entries.length - 1;
  if (entry.kind === "photo") selectPhoto(entry);
  else if (entry.kind === "video") selectVideo(entry);
  else selectCamera(entry);
}

function selectPhoto(entry) {
  stage.showPhoto(entry.file, entry.rows, `${entry.name}: ${describeRows(entry.rows)}`);
  showRows(entry, entry.rows);
}

function selectVideo(entry) {
  if (entry.durationS) showStrip(entry);
  if (entry.state !== "done") {
    if (entry.still) stage.showStill(entry.still, []);
    else stage.showCover();
    showRows(entry, []);
    return;
  }
  showRows(entry, rowsAt(entry, 0));
  if (entry.durationS) stage.showVideo(entry.file, true).then(() => followVideo());
  else stage.showCover();
}

/** A stretch of camera that is over: its last frame, and how it went. */
function selectCamera(entry) {
  if (live.isOn) return;
  const timeS = entry.rows.at(-1)?.time_s ?? 0;
  const rows = entry.rows.filter((row) => row.time_s === timeS);
  if (entry.still) stage.showStill(entry.still, rows, { mirror: entry.mirror });
  else stage.showCover();
  strip.resetLive();
  for (const [at, some] of groupByTime(entry.rows)) strip.push(at, findLargest(some));
  byId("strip").hidden = false;
  nameStrip("The last minute: probabilities of the largest face", `${LIVE_SPAN_S} s before`, "end");
  strip.draw();
  showRows(entry, rows);
}

function showRows(entry, rows) {
  const waiting = entry.state === "waiting" ? "Waiting to be read." : "Reading\u2026";
  const faces = rows.filter((row) => row.status === "ok");
  let message = "";
  if (!rows.length && entry.state !== "done") message = waiting;
  else if (!faces.length) message = rows.length ? sayWhyNot(rows[0]) : "";
  byId("message").hidden = message === "";
  byId("message").textContent = message;
  readings.update(rows);
  const [row] = rows;
  const size = row?.image_width ? `${row.image_width}\u2009\u00d7\u2009${row.image_height}` : "";
  const count = entry.state === "done" && rows.length ? describeCount(faces.length) : "";
  byId("caption-name").textContent = entry.name;
  byId("caption-detail").textContent = [size, count].filter(Boolean).join(" \u00b7 ");
  byId("save-picture").hidden = rows.length === 0 || !row?.image_width;
}

function describeCount(nFaces) {
  if (nFaces === 0) return "no face";
  return nFaces === 1 ? "1 face" : `${nFaces} faces`;
}

function sayWhyNot(row) {
  if (row.status === "no_face") return "No face was found. Set Faces to another search, or to whole for a picture that is one face.";
  const words = row.status === "refused" ? "It was refused" : "It cannot be read";
  return `${words}: ${row.reason}.`;
}

function step(by) {
  const entry = session.entries[session.entries.indexOf(selected) + by];
  if (entry) select(entry);
}

async function savePicture() {
  const entry = selected;
  const { rows, source, size } = currentPicture(entry);
  try {
    const png = await stage.toPng(source, rows, size);
    const name = entry.name.split("/").at(-1).replace(/\.[^.]*$/, "");
    save(png, `${name || "picture"}-annotated.png`);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    notify("This picture is too large for the browser to save.", "fer predict --annotate writes it.");
  }
}

/** Return what is on the stage as it would be saved: with its own size and rows. */
function currentPicture(entry) {
  if (entry.kind === "photo") {
    const [{ image_width: width, image_height: height }] = entry.rows;
    return { rows: entry.rows, source: stage.photo.hidden ? null : stage.photo, size: [width, height] };
  }
  if (entry.kind === "video" && !stage.video.hidden) {
    const size = [stage.video.videoWidth, stage.video.videoHeight];
    return { rows: stage.rows, source: stage.video, size };
  }
  return { rows: stage.rows, source: entry.still, size: [entry.still.width, entry.still.height] };
}

// Videos

function groupByTime(rows) {
  const groups = new Map();
  for (const row of rows) {
    if (!groups.has(row.time_s)) groups.set(row.time_s, []);
    groups.get(row.time_s).push(row);
  }
  return groups;
}

function showStrip(entry) {
  strip.reset(EVERY_S, entry.durationS);
  for (const [timeS, rows] of groupByTime(entry.rows)) strip.push(timeS, findLargest(rows));
  byId("strip").hidden = false;
  nameStrip("The whole video: probabilities of the largest face", "0 s", `${entry.durationS.toFixed(1)} s`);
  strip.draw();
}

function nameStrip(caption, from, to) {
  byId("strip-caption").textContent = caption;
  byId("strip-from").textContent = from;
  byId("strip-to").textContent = to;
}

function showVideoFrame(entry, rows, timeS, canvas) {
  stage.showStill(canvas, rows);
  strip.push(timeS, findLargest(rows));
  strip.draw();
  showRows(entry, rows);
}

/** Return the rows of the last frame that was sampled up to a time. */
function rowsAt(entry, timeS) {
  let found = [];
  for (const [at, rows] of groupByTime(entry.rows)) {
    if (at > timeS + 0.05 && found.length) break;
    found = rows;
  }
  return found;
}

function followVideo() {
  const entry = selected;
  if (entry?.kind !== "video" || entry.state !== "done" || stage.video.hidden) return;
  const { currentTime } = stage.video;
  const rows = rowsAt(entry, currentTime);
  stage.setRows(rows);
  stage.setAlternative(`${entry.name}: ${describeRows(rows)}`);
  showRows(entry, rows);
  strip.cursorS = currentTime;
  strip.draw();
}

// Camera

async function startCamera(deviceId) {
  closeNotice();
  for (const id of CAMERA_STARTERS) byId(id).disabled = true;
  const before = live.isOn ? live.deviceId : null;
  if (before) live.stop();
  try {
    const stream = await live.open(deviceId);
    const n = session.entries.filter(({ kind }) => kind === "camera").length;
    const entry = before ? selected : session.add("camera", n ? `camera ${n + 1}` : "camera", null);
    Object.assign(entry, { state: "reading", options: currentOptions(), mirror: live.isFront });
    if (!before) film.add([entry]);
    await stage.showCamera(stream, live.isFront);
    showCameraTools(true);
    if (!before) strip.resetLive();
    selected = entry;
    select(entry);
    byId("strip").hidden = false;
    byId("meters").hidden = false;
    nameStrip("The last minute: probabilities of the largest face", `${LIVE_SPAN_S} s ago`, "now");
    byId("caption-name").textContent = "Camera";
    byId("caption-detail").textContent = "";
    // There is none to save before the first answer.
    byId("save-picture").hidden = true;
    readings.update([]);
    live.begin();
    await listCameras();
    byId("camera-stop").focus();
    announce("The camera is on.");
  } catch (error) {
    live.stop();
    if (before) endCamera();
    notify(explainCamera(error));
  } finally {
    for (const id of CAMERA_STARTERS) byId(id).disabled = false;
  }
}

async function listCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const cameras = devices.filter(({ kind }) => kind === "videoinput");
  const options = cameras.map(({ label, deviceId }, index) => new Option(label || `Camera ${index + 1}`, deviceId));
  byId("cameras").replaceChildren(...options);
  byId("cameras").value = live.deviceId;
  for (const id of ["cameras", "cameras-label"]) byId(id).hidden = cameras.length < 2;
}

function showLive(rows, timeS, canvas) {
  const entry = selected;
  entry.still = canvas;
  byId("save-picture").hidden = false;
  session.addLive(entry, rows);
  stage.setRows(rows);
  const faces = rows.filter((row) => row.status === "ok");
  byId("message").hidden = faces.length > 0;
  byId("message").textContent = faces.length ? "" : "No face in sight.";
  byId("message").classList.toggle("big", true);
  readings.update(rows, { big: true });
  if (strip.push(timeS, findLargest(rows))) strip.draw();
  table.refresh();
}

function showMeters({ latencyMs, facesPerS, nDropped, longestPx }) {
  byId("meter-latency").textContent = latencyMs.toFixed(0);
  byId("meter-rate").textContent = facesPerS.toFixed(1);
  byId("meter-dropped").textContent = nDropped.toLocaleString("en");
  byId("caption-detail").textContent = `read at ${longestPx} pixels`;
}

function showCameraTools(isOn) {
  document.body.classList.toggle("live", isOn);
  byId("camera-stop").hidden = !isOn;
  byId("camera-start").hidden = isOn;
  if (isOn) return;
  for (const id of ["cameras", "cameras-label"]) byId(id).hidden = true;
  byId("message").classList.remove("big");
}

function stopCamera() {
  live.stop();
  endCamera();
}

/** @param {Error | null} error why it ended, if nobody asked for it */
function endCamera(error = null) {
  const entry = session.entries.findLast(({ kind }) => kind === "camera");
  showCameraTools(false);
  if (entry) {
    // The canvas is one of two that the next camera would draw on.
    entry.still &&= copyCanvas(entry.still);
    entry.state = "done";
    forget(entry);
    film.update(entry);
    film.draw(entry);
    if (entry === selected) select(entry);
  }
  table.render();
  announce("The camera is off.");
  if (error instanceof ApiError) explain(error);
  else if (error) notify(error.message);
}

function copyCanvas(from) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [from.width, from.height];
  canvas.getContext("2d").drawImage(from, 0, 0);
  return canvas;
}

// Words to the user

function explain(error) {
  if (!(error instanceof ApiError)) throw error;
  notify(error.message, error.hint);
  if (error.status === 401) {
    byId("token-form").hidden = false;
    byId("token").focus();
  }
}

function notify(message, hint = "") {
  byId("notice-message").textContent = message;
  byId("notice-hint").textContent = hint;
  byId("notice").hidden = false;
}

function closeNotice() {
  byId("notice").hidden = true;
}

function announce(text) {
  announcedMs = performance.now();
  byId("announcer").textContent = text;
}

// Listeners

function listenToPage() {
  const listen = (id, event, action) => byId(id).addEventListener(event, action);
  listen("pick-files", "click", () => byId("files").click());
  listen("pick-folder", "click", () => byId("folder").click());
  listen("camera-start", "click", () => startCamera());
  listen("camera-stop", "click", () => {
    stopCamera();
    byId("camera-start").focus();
  });
  listen("cameras", "change", () => startCamera(byId("cameras").value));
  listen("previous", "click", () => step(-1));
  listen("next", "click", () => step(1));
  listen("save-picture", "click", savePicture);
  listen("save-csv", "click", () => save(toCsv(session.rows), "faces.csv", "text/csv"));
  listen("save-json", "click", () => save(toJson(session.rows), "faces.json", "application/json"));
  listen("clear", "click", clear);
  listen("cancel", "click", () => queue.stop());
  listen("resume", "click", () => {
    closeNotice();
    queue.resume();
  });
  listen("again", "click", readAgain);
  listen("model", "change", showChoices);
  listen("faces", "change", showChoices);
  listen("notice-close", "click", () => {
    closeNotice();
    byId("main").focus();
  });
  listen("token-form", "submit", (event) => {
    event.preventDefault();
    setToken(byId("token").value);
    byId("token").value = "";
    start();
  });
  for (const event of ["timeupdate", "seeked"]) stage.video.addEventListener(event, followVideo);
  window.addEventListener("pagehide", () => live.stop());
}

function listenToPictures() {
  for (const [id, list] of [["files", listFiles], ["folder", listFolder]]) {
    byId(id).addEventListener("change", (event) => {
      take(list(event.target.files));
      event.target.value = "";
    });
  }
  const veil = byId("drop-veil");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    // A link that is dropped would lead away from the page and all its rows.
    event.preventDefault();
    if (!hasFiles(event)) return;
    veil.classList.add("shown");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) veil.classList.remove("shown");
  });
  document.addEventListener("drop", async (event) => {
    veil.classList.remove("shown");
    event.preventDefault();
    if (!hasFiles(event)) return;
    try {
      take(await listDropped(event.dataTransfer));
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      notify("These files cannot be read.", error.message);
    }
  });
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) take(listFiles(files));
  });
}

function clear() {
  if (live.isOn) stopCamera();
  queue.clear();
  session.clear();
  film.clear();
  stage.clear();
  readings.update([]);
  selected = null;
  for (const id of ["film-area", "readings-area", "caption-bar", "strip", "meters", "message", "progress"]) byId(id).hidden = true;
  table.render();
  showChoices();
  announce("Cleared.");
  byId("pick-files").focus();
}
