import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";
import { addResidual, centredSquare, cropCanvas, decode, encode, pValue } from "./codec.js";

const MAX_PIXELS = 50e6;
const MIN_SIDE = 16;
const FPR = 1e-6; // Largest p-value of a tag that counts as found.
const $ = (id) => document.getElementById(id);
const models = {};
let photo = null; // {width, height, data} of RGBA bytes
let square = null;
let picture = null; // What is drawn on the page.

function say(text, error = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", error);
}

async function loadModel(name) {
  const answer = await fetch(`${name}.tflite.json`);
  if (!answer.ok) throw new Error(`${name}.tflite.json is missing.`);
  const about = await answer.json();
  return { about, net: await loadAndCompile(`${name}.tflite`, { accelerator: "wasm" }) };
}

async function run({ about, net }, values) {
  const tensors = {};
  for (const { name, shape } of about.inputs)
    tensors[name] = Tensor.fromTypedArray(values[name], shape);
  const outputs = await net.run(about.signature, tensors);
  const result = Float32Array.from(await outputs[about.outputs[0].name].data());
  for (const tensor of [...Object.values(tensors), ...Object.values(outputs)]) tensor.delete();
  return result;
}

async function openPhoto(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    throw new Error(`${file.name} is no image that this browser can read.`);
  }
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS)
    throw new Error(`${file.name} has ${width}×${height} pixels; up to 50 million are read.`);
  if (Math.min(width, height) < MIN_SIDE)
    throw new Error(`${file.name} has ${width}×${height} pixels; at least ${MIN_SIDE} each way are needed.`);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

async function read() {
  const { about } = models.decoder;
  const image = cropCanvas(photo, square, about.image_size);
  const logits = await run(models.decoder, { image });
  const word = decode(about, Array.from(logits));
  const digits = Math.ceil(about.payload_bits / 4);
  $("payload").textContent = "0x" + word.payload.toString(16).toUpperCase().padStart(digits, "0");
  const p = pValue(about, word);
  const found = word.crcOk && p <= FPR;
  $("verdict").textContent = found ? "A tag was found." : "No tag was found here.";
  $("verdict").classList.toggle("found", found);
  $("checksum").textContent = word.crcOk ? "right" : "wrong";
  $("confidence").textContent =
    `an untagged photo reads like this with probability ${p.toPrecision(2)}`;
  $("corrected").textContent = `${word.correctedBits} of ${about.message_bits} bits`;
  $("bits").textContent = Array.from(logits, (value) => (value > 0 ? 1 : 0)).join("");
  return { logits: Array.from(logits), codeBits: word.codeBits, p, found };
}

function draw() {
  const canvas = $("photo");
  [canvas.width, canvas.height] = [photo.width, photo.height];
  const context = canvas.getContext("2d");
  context.putImageData(picture, 0, 0);
  const line = Math.max(2, photo.width / 300);
  context.lineWidth = line;
  for (const [colour, dash] of [["#fff", []], ["#000", [4 * line, 4 * line]]]) {
    context.strokeStyle = colour;
    context.setLineDash(dash);
    context.strokeRect(square.left, square.top, square.side, square.side);
  }
}

function place(left, top, side) {
  side = Math.min(Math.max(side, MIN_SIDE), photo.width, photo.height);
  square = {
    left: Math.min(Math.max(left, 0), photo.width - side),
    top: Math.min(Math.max(top, 0), photo.height - side),
    side,
  };
  draw();
}

let busy = Promise.resolve();

/** Runs one thing after the other, and says what went wrong. */
function queue(action) {
  busy = busy.then(action).catch((error) => say(error.message, true));
  return busy;
}

function take(file) {
  return queue(async () => {
    if (!file) return;
    $("work").hidden = true;
    $("download").hidden = true;
    say(`Reading ${file.name} …`);
    photo = picture = await openPhoto(file);
    square = centredSquare(photo.width, photo.height);
    draw();
    window.reading = await read();
    $("work").hidden = false;
    say(`Read ${file.name}.`);
  });
}

function reread() {
  return queue(async () => {
    window.reading = await read();
    say("Read the square.");
  });
}

async function tag() {
  const { about } = models.encoder;
  const text = $("value").value.trim().replace(/^0x/i, "");
  const most = (1n << BigInt(about.payload_bits)) - 1n;
  if (!/^[0-9a-f]+$/i.test(text) || BigInt("0x" + text) > most)
    throw new Error(`A payload is a hexadecimal number up to ${most.toString(16).toUpperCase()}.`);
  say("Tagging …");
  const psnr = about.inputs.find((input) => input.name === "psnr")?.default;
  const residual = await run(models.encoder, {
    cover: cropCanvas(photo, square, about.image_size),
    message: Float32Array.from(encode(about, BigInt("0x" + text))),
    psnr: Float32Array.of(psnr ?? 0),
  });
  addResidual(photo, square, residual, about.image_size);
  draw();
  const canvas = new OffscreenCanvas(photo.width, photo.height);
  canvas.getContext("2d").putImageData(photo, 0, 0);
  const link = $("download");
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(await canvas.convertToBlob({ type: "image/png" }));
  link.download = "tagged.png";
  link.hidden = false;
  window.reading = await read();
  say("Tagged, and read back.");
}

$("file").addEventListener("change", (event) => take(event.target.files[0]));
$("centre").addEventListener("click", () => {
  square = centredSquare(photo.width, photo.height);
  draw();
  reread();
});
$("tag").addEventListener("submit", (event) => {
  event.preventDefault();
  queue(tag);
});
for (const type of ["dragover", "dragleave", "drop"])
  document.addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", type === "dragover");
    if (type === "drop" && !$("file").disabled) take(event.dataTransfer.files[0]);
  });

let anchor = null;
function pixel(event) {
  const box = $("photo").getBoundingClientRect();
  return [
    ((event.clientX - box.left) * photo.width) / box.width,
    ((event.clientY - box.top) * photo.height) / box.height,
  ];
}
$("photo").addEventListener("pointerdown", (event) => {
  anchor = pixel(event);
  $("photo").setPointerCapture(event.pointerId);
});
$("photo").addEventListener("pointermove", (event) => {
  if (!anchor) return;
  const [x, y] = pixel(event);
  const side = Math.max(Math.abs(x - anchor[0]), Math.abs(y - anchor[1]));
  place(x < anchor[0] ? anchor[0] - side : anchor[0], y < anchor[1] ? anchor[1] - side : anchor[1], side);
});
$("photo").addEventListener("pointerup", () => {
  if (anchor) reread();
  anchor = null;
});
$("photo").addEventListener("keydown", (event) => {
  const step = Math.max(1, Math.round(square.side / 40));
  const { left, top, side } = square;
  const moves = {
    ArrowLeft: [left - step, top, side],
    ArrowRight: [left + step, top, side],
    ArrowUp: [left, top - step, side],
    ArrowDown: [left, top + step, side],
    "+": [left - step, top - step, side + 2 * step],
    "-": [left + step, top + step, side - 2 * step],
  };
  const move = moves[event.key === "=" ? "+" : event.key];
  if (!move) return;
  event.preventDefault();
  place(...move);
  reread();
});

queue(async () => {
  await loadLiteRt("./litert/wasm/");
  models.decoder = await loadModel("decoder");
  models.encoder = await loadModel("encoder");
  $("file").disabled = false;
  say("Ready.");
});
