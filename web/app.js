// The page: opens a photo, shows what the tagger reads, and saves a tagged copy.
import { loadLiteRt } from "@litertjs/core";
import { fromRgba, toRgba } from "./canvas.js";
import { loadTagger, MIN_READ } from "./tagger.js";

const MAX_PIXELS = 50e6;
const MIN_SIDE = 96; // Of a photo to be tagged; smaller copies are read.
const FPR = 1e-6; // Largest p-value of a tag that counts as found, unless ?fpr= sets it.
const $ = (id) => document.getElementById(id);
let tagger = null;
let photo = null; // {width, height, data} of RGB bytes
let busy = Promise.resolve();

/** Says how things stand, and lets the browser show it before more is computed. */
function say(text, error = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", error);
  return new Promise((shown) => setTimeout(shown));
}

/** Runs one thing after the other, and says what went wrong. */
function queue(action) {
  busy = busy.then(action).catch((error) => say(error.message, true));
  return busy;
}

const hex = (payload) =>
  "0x" + payload.toString(16).toUpperCase().padStart(Math.ceil(tagger.about.payload_bits / 4), "0");

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
  if (Math.min(width, height) < MIN_READ)
    throw new Error(`${file.name} has ${width}×${height} pixels; at least ${MIN_READ} each way are needed.`);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return fromRgba(context.getImageData(0, 0, width, height));
}

function pixels(image) {
  const { width, height, data } = toRgba(image);
  return new ImageData(data, width, height);
}

/** Draws the photo and, numbered, where it was read. */
function draw(image, readings) {
  const canvas = $("photo");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d");
  context.putImageData(pixels(image), 0, 0);
  const line = Math.max(2, Math.max(image.width, image.height) / 250);
  context.lineWidth = line;
  context.lineJoin = "round";
  context.font = `bold ${9 * line}px system-ui, sans-serif`;
  readings.forEach(({ corners, found }, number) => {
    context.beginPath();
    for (const corner of corners) context.lineTo(...corner);
    context.closePath();
    // Found places have a closed line, the others a dashed one: not a matter of colour.
    for (const [colour, width] of [["#000", 2.2 * line], ["#fff", line]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.setLineDash(found ? [] : [4 * line, 4 * line]);
      context.stroke();
    }
    // Inside the photo, where a canvas reaches over its border.
    const x = Math.min(Math.max(corners[0][0], 0), image.width - 12 * line) + 3 * line;
    const y = Math.min(Math.max(corners[0][1], 0), image.height - 12 * line) + 10 * line;
    context.setLineDash([]);
    context.lineWidth = 2 * line;
    context.strokeStyle = "#000";
    context.strokeText(number + 1, x, y);
    context.fillStyle = "#fff";
    context.fillText(number + 1, x, y);
  });
}

function describe({ payload, p, found, mirrored, correctedBits, face }) {
  const item = document.createElement("li");
  const add = (tag, text, name = "") =>
    item.append(Object.assign(document.createElement(tag), { textContent: text, className: name }));
  const probability = `an untagged ${face ? "face" : "photo"} reads like this with probability ${p.toPrecision(2)}`;
  if (found) {
    add("span", hex(payload), "payload");
    if (mirrored) add("strong", "Read from a mirrored copy.");
    add("span", `${correctedBits} of ${tagger.about.message_bits} bits corrected; ${probability}.`);
  } else {
    add("span", `No tag: ${probability}.`);
  }
  if (!face) add("span", "This is the centred square, not a face.");
  return item;
}

function show(image, readings) {
  draw(image, readings);
  const count = readings.filter((reading) => reading.found).length;
  $("verdict").textContent =
    count > 1 ? `${count} tags were found.` : count ? "A tag was found." : "No tag was found.";
  $("verdict").classList.toggle("found", count > 0);
  $("noface").hidden = readings.some((reading) => reading.face);
  $("readings").replaceChildren(...readings.map(describe));
  window.readings = readings.map((reading) => ({ ...reading, payload: hex(reading.payload) }));
  $("work").hidden = false;
}

const examine = (image) =>
  tagger.examine(image, (done, all) => say(`Reading face ${done + 1} of ${all} …`));

function take(file) {
  return queue(async () => {
    if (!file) return;
    $("work").hidden = true;
    $("download").hidden = true;
    await say(`Looking for faces in ${file.name} …`);
    photo = await openPhoto(file);
    show(photo, await examine(photo));
    await say(`Read ${file.name}.`);
  });
}

async function tag() {
  const most = (1n << BigInt(tagger.about.payload_bits)) - 1n;
  const text = $("value").value.trim().replace(/^0x/i, "");
  if (!/^[0-9a-f]+$/i.test(text) || BigInt("0x" + text) > most)
    throw new Error(`A payload is a hexadecimal number up to ${most.toString(16).toUpperCase()}.`);
  const payload = BigInt("0x" + text);
  const { width, height } = photo;
  if (Math.min(width, height) < MIN_SIDE)
    throw new Error(`A photo of ${width}×${height} pixels can only be read; to tag it, at least ${MIN_SIDE} each way are needed.`);
  $("download").hidden = true;
  await say("Tagging …");
  const tagged = await tagger.embed(photo, payload);
  const readings = await examine(tagged);
  const good = readings.filter((reading) => reading.found && reading.payload === payload);
  if (!good.length)
    throw new Error("The tag does not read back, so that there is nothing to save.");
  show(tagged, readings);
  const canvas = new OffscreenCanvas(tagged.width, tagged.height);
  canvas.getContext("2d").putImageData(pixels(tagged), 0, 0);
  const link = $("download");
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(await canvas.convertToBlob({ type: "image/png" }));
  link.download = "tagged.png";
  link.hidden = false;
  await say(`Tagged; ${good.length} of ${readings.length} tags read back.`);
}

$("file").addEventListener("change", (event) => take(event.target.files[0]));
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

queue(async () => {
  await loadLiteRt("./litert/wasm/");
  const fpr = Number(new URLSearchParams(location.search).get("fpr") ?? FPR);
  if (!(fpr > 0 && fpr < 1)) throw new Error("fpr must be a rate: above 0, below 1.");
  tagger = await loadTagger(fpr);
  $("file").disabled = false;
  const { message_bits: bits } = tagger.about;
  await say(
    tagger.isTooShort
      ? `Ready, but ${bits} bits are too few for p-values of ${fpr}: nothing will be found. Add ?fpr=1e-3 to the address.`
      : "Ready.",
  );
});
