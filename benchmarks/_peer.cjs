"use strict";
// Other people's networks that node runs: `node benchmarks/_peer.cjs NAME FOLDER`, in the folder
// that has their packages. What FOLDER holds and what comes back: see _peer.py.

const fs = require("node:fs");
const path = require("node:path");
const near = require("node:module").createRequire(path.join(process.cwd(), "package.json"));
const tf = near("@tensorflow/tfjs");
const wasm = near("@tensorflow/tfjs-backend-wasm");

const BATCH_SIZE = 64;
const findPackage = (name) => path.join(process.cwd(), "node_modules", name);
const readJson = (...names) => JSON.parse(fs.readFileSync(path.join(...names), "utf8"));
const count = (weights) =>
  weights
    .filter((one) => one.dtype === "float32")
    .reduce((sum, one) => sum + one.shape.reduce((product, side) => product * side, 1), 0);

// faceExpressionNet of face-api, by its own function, on tensors of RGB from 0 to 255.
async function openFaceApi() {
  const root = findPackage("@vladmandic/face-api");
  const faceapi = require(path.join(root, "dist", "face-api.node-wasm.js"));
  const net = faceapi.nets.faceExpressionNet;
  const folder = path.join(root, "model");
  await net.loadFromDisk(folder);
  const manifest = readJson(folder, "face_expression_model-weights_manifest.json");
  const labels = ["neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised"];
  return {
    package: "@vladmandic/face-api",
    file: path.join(folder, "face_expression_model.bin"),
    n_parameters: count(manifest.flatMap((group) => group.weights)),
    labels,
    async predict(images) {
      const tensors = images.map((image) => tf.tensor3d(image.data, image.shape, "int32"));
      const said = await net.predictExpressions(tensors);
      tf.dispose(tensors);
      return [said].flat().map((one) => labels.map((label) => one[label]));
    },
  };
}

// The emotion network of human: gray, 64 x 64, from -1 to 1.
async function openHuman() {
  const root = findPackage("@vladmandic/human");
  const folder = path.join(root, "models");
  const file = path.join(folder, "emotion.bin");
  const { modelTopology, weightsManifest } = readJson(folder, "emotion.json");
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  const bytes = fs.readFileSync(file);
  const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const artifacts = { modelTopology, weightSpecs, weightData };
  const model = await tf.loadGraphModel(tf.io.fromMemory(artifacts));
  const brightness = tf.tensor1d([0.2989, 0.587, 0.114]);
  return {
    package: "@vladmandic/human",
    file,
    n_parameters: count(weightSpecs),
    labels: ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"],
    async predict(images) {
      const answer = tf.tidy(() => {
        const stack = tf.stack(images.map((image) => tf.tensor3d(image.data, image.shape)));
        const small = tf.image.resizeBilinear(stack.div(255), [64, 64]);
        const gray = small.mul(brightness).sum(3, true);
        return model.execute(gray.sub(0.5).mul(2));
      });
      const rows = await answer.array();
      answer.dispose();
      return rows;
    },
  };
}

const networks = { "face-api": openFaceApi, human: openHuman };

// A gray crop as RGB.
function readCrop(pixels, index) {
  const data = new Uint8Array(48 * 48 * 3);
  for (let at = 0; at < 48 * 48; at++) data.fill(pixels[index * 48 * 48 + at], at * 3, at * 3 + 3);
  return { data, shape: [48, 48, 3] };
}

function cutBox(pixels, photo, [x, y, width, height]) {
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const start = ((y + row) * photo.width + x) * 3;
    data.set(pixels.subarray(start, start + width * 3), row * width * 3);
  }
  return { data, shape: [height, width, 3] };
}

// Images per second of this process's CPU time, over about three seconds.
async function timeImages(predict, images, size) {
  await predict(images.slice(0, size));
  let [nImages, spent] = [0, 0];
  const started = process.cpuUsage();
  while (spent < 3) {
    const at = nImages % (images.length - size + 1);
    await predict(images.slice(at, at + size));
    nImages += size;
    const used = process.cpuUsage(started);
    spent = (used.user + used.system) / 1e6;
  }
  return nImages / spent;
}

function weighFolder(folder) {
  let nBytes = 0;
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const inside = path.join(folder, entry.name);
    if (entry.isDirectory()) nBytes += weighFolder(inside);
    else if (entry.isFile()) nBytes += fs.statSync(inside).size;
  }
  return nBytes;
}

// The bytes of packages and of all they depend on, and what of that is not there.
function weighInstalled(names) {
  const [met, missing, waiting] = [new Set(), [], [...names]];
  let nBytes = 0;
  while (waiting.length) {
    const name = waiting.pop();
    if (met.has(name)) continue;
    met.add(name);
    if (!fs.existsSync(findPackage(name))) {
      missing.push(name);
      continue;
    }
    nBytes += weighFolder(findPackage(name));
    waiting.push(...Object.keys(readJson(findPackage(name), "package.json").dependencies ?? {}));
  }
  return [nBytes, missing.sort()];
}

async function main() {
  const [name, folder] = process.argv.slice(2);
  wasm.setWasmPaths(path.join(findPackage("@tensorflow/tfjs-backend-wasm"), "dist") + path.sep);
  wasm.setThreadsCount(1);
  await tf.setBackend("wasm");
  await tf.ready();
  const network = await networks[name]();
  const request = readJson(folder, "request.json");
  const pixels = fs.readFileSync(path.join(folder, "images.raw"));
  const images = Array.from({ length: request.n_images }, (_, index) => readCrop(pixels, index));
  const rows = [];
  for (let at = 0; at < images.length; at += BATCH_SIZE) {
    rows.push(...(await network.predict(images.slice(at, at + BATCH_SIZE))));
  }
  for (const photo of request.photos) {
    const shown = fs.readFileSync(path.join(folder, photo.file));
    for (const box of photo.boxes) rows.push(...(await network.predict([cutBox(shown, photo, box)])));
  }
  fs.writeFileSync(path.join(folder, `${name}.raw`), Float32Array.from(rows.flat()));
  const needed = [network.package, "@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm"];
  const [installBytes, missing] = weighInstalled(needed);
  const told = {
    version: readJson(findPackage(network.package), "package.json").version,
    labels: network.labels,
    n_parameters: network.n_parameters,
    file_bytes: fs.statSync(network.file).size,
    install_bytes: installBytes,
    missing,
    batches: await timeImages(network.predict, images, BATCH_SIZE),
    one_by_one: await timeImages(network.predict, images, 1),
  };
  fs.writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(told));
}

main();
