// Finds faces and their five landmarks: the cascade of docs/faces.md, step by step as
// faketagger_tf/photos/faces.py has it. The browser's or the system's own face detector
// is no replacement: a tag's canvas hangs on these landmarks.
import { areaResize, cutPatch, round } from "./canvas.js";

const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);

function common(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  return Math.max(width, 0) * Math.max(height, 0);
}

const ofUnion = (a, b) => common(a, b) / (area(a) + area(b) - common(a, b));
const ofSmaller = (a, b) => common(a, b) / Math.min(area(a), area(b));

/** Non-maximum suppression: what shares more than `most` with a better one goes. */
function suppress(found, share, most) {
  const kept = [];
  for (const one of [...found].sort((a, b) => b.score - a.score))
    if (kept.every((other) => share(one.box, other.box) <= most)) kept.push(one);
  return kept;
}

function square([left, top, right, bottom]) {
  const x = (left + right) / 2, y = (top + bottom) / 2;
  const half = Math.max(right - left, bottom - top) / 2;
  return [x - half, y - half, x + half, y + half];
}

/** Cuts a square box out, turned clockwise about its centre by radians; outside is grey. */
function patch(image, [left, top, right, bottom], side, turn = 0) {
  const scale = (right - left) / side;
  const cosine = scale * Math.cos(turn), sine = scale * Math.sin(turn);
  const x = (left + right) / 2, y = (top + bottom) / 2, half = side / 2;
  const matrix = [cosine, -sine, x - half * (cosine - sine), sine, cosine, y - half * (sine + cosine)];
  return cutPatch(image, matrix, side);
}

function mirror(pixels, side) {
  const made = new Float32Array(pixels.length);
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++)
      for (let c = 0; c < 3; c++)
        made[(y * side + x) * 3 + c] = pixels[(y * side + side - 1 - x) * 3 + c];
  return made;
}

/** What may be faces, from some levels of the pyramid: [{box, score}]. */
async function propose(networks, about, image, levels) {
  const { cell, stride } = about;
  const { width, height } = image;
  let found = [];
  for (const number of levels) {
    const scale = (about.sides[0] * about.pyramid ** number) / Math.max(width, height);
    if (scale > 1 || Math.min(width, height) * scale < cell) continue;
    // Less than a millionth of a pixel is a rounding error of the product.
    const [wide, high] = [width, height].map((side) => Math.ceil(side * scale - 1e-6));
    const level = areaResize(image, wide, high);
    const side = Math.max(wide, high);
    // The file takes squares; outside of the photo is grey.
    const values = new Float32Array(side * side * 3);
    for (let y = 0; y < high; y++)
      values.set(level.data.subarray(y * wide * 3, (y + 1) * wide * 3), y * side * 3);
    const { box, probability } = await networks.propose(side, values);
    const across = Math.sqrt(probability.length);
    const [columns, rows] = [wide, high].map((edge) => Math.floor((edge - cell) / stride) + 1);
    const here = [];
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const at = row * across + column;
        if (!(probability[at] > about.thresholds[0])) continue;
        const corner = [column * stride, row * stride];
        const window = [...corner, ...corner.map((value) => value + cell)];
        here.push({
          box: window.map((value, i) => value + cell * box[4 * at + i]),
          score: probability[at],
        });
      }
    }
    for (const one of suppress(here, ofUnion, about.overlaps[0])) {
      const ratio = [width / wide, height / high];
      found.push({ box: one.box.map((value, i) => value * ratio[i % 2]), score: one.score });
    }
  }
  return suppress(found, ofUnion, about.overlaps[1]).slice(0, about.max_proposals);
}

/** Puts boxes before the second or the third network; what passes is moved. */
async function judge(network, image, found, side, threshold) {
  const passed = [];
  for (const one of found) {
    const start = square(one.box);
    const { box, probability } = await network(patch(image, start, side));
    if (!(probability[0] > threshold)) continue;
    const length = start[2] - start[0];
    passed.push({ box: start.map((value, i) => value + length * box[i]), score: probability[0] });
  }
  return passed;
}

async function findBoxes(networks, about, image) {
  const { thresholds, overlaps, fine_levels: fine } = about;
  const large = about.large_face * Math.max(image.width, image.height);
  const numbers = [...about.sides.keys()];
  let found = [];
  for (const levels of [numbers.slice(fine), numbers.slice(0, fine)]) {
    const proposed = await propose(networks, about, image, levels);
    const refined = await judge(networks.refine, image, proposed, 24, thresholds[1]);
    const kept = suppress(refined, ofUnion, overlaps[2]);
    found = found.concat(await judge(networks.locate, image, kept, 48, thresholds[2]));
    if (found.some(({ box }) => box[2] - box[0] > large || box[3] - box[1] > large)) break;
  }
  return suppress(found, ofSmaller, overlaps[3]);
}

/** By how much a face is turned clockwise, in radians. */
function tilt([leftEye, rightEye, , leftMouth, rightMouth]) {
  const across = (axis) => rightEye[axis] - leftEye[axis] + rightMouth[axis] - leftMouth[axis];
  return Math.atan2(across(1), across(0));
}

const points = (values) => Array.from({ length: 5 }, (_, i) => [values[2 * i], values[2 * i + 1]]);

/** Landmarks read in boxes that are turned clockwise, the mean of several readings. */
async function readTurned(networks, about, image, box, turn) {
  const side = box[2] - box[0];
  const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  const cosine = Math.cos(turn), sine = Math.sin(turn);
  const total = Array.from({ length: 5 }, () => [0, 0]);
  for (const [right, down, scale] of about.jitter) {
    const middle = [x + side * right, y + side * down];
    const extent = side * scale;
    const low = middle.map((value) => value - extent / 2);
    const pixels = patch(image, [...low, ...low.map((value) => value + extent)], 48, turn);
    const straight = points((await networks.locate(pixels)).landmarks);
    const mirrored = points((await networks.locate(mirror(pixels, 48))).landmarks);
    total.forEach((sum, i) => {
      const [mx, my] = mirrored[about.mirrored[i]];
      const u = (straight[i][0] + 1 - mx) / 2 - 0.5, v = (straight[i][1] + my) / 2 - 0.5;
      sum[0] += middle[0] + extent * (cosine * u - sine * v);
      sum[1] += middle[1] + extent * (sine * u + cosine * v);
    });
  }
  return total.map((sum) => sum.map((value) => value / about.jitter.length));
}

async function readLandmarks(networks, about, image, box) {
  const first = await readTurned(networks, about, image, box, 0);
  const angle = tilt(first);
  const radians = Math.PI / 180;
  const [low, high] = about.tilts.map((degrees) => degrees * radians);
  const share = Math.min(Math.max((Math.abs(angle) - low) / (high - low), 0), 1);
  if (!share) return first;
  const upright = await readTurned(networks, about, image, box, angle);
  if (!(Math.abs(tilt(upright) - angle) < about.largest_rest * radians)) return first;
  const weight = about.upright_weight * share;
  return first.map((point, i) => point.map((value, k) => value + weight * (upright[i][k] - value)));
}

/**
 * Finds the faces of a photo, largest first: [{box, landmarks, confidence}] in photo pixels.
 *
 * networks: propose(side, values), refine(values) and locate(values), each a promise of
 *   {box, probability, landmarks}; about: the content of faces.json.
 */
export async function detectFaces(networks, about, photo) {
  const { width, height } = photo;
  const shrink = about.detection_size / Math.max(width, height);
  const size = [width, height].map((side) => Math.max(1, round(side * shrink)));
  const small = shrink < 1 ? areaResize(photo, ...size) : photo;
  const image = { ...small, data: Float32Array.from(small.data, (value) => (value - 127.5) / 128) };
  const ratio = [width / small.width, height / small.height];
  const faces = [];
  for (const { box, score } of await findBoxes(networks, about, image)) {
    const landmarks = await readLandmarks(networks, about, image, square(box));
    const [left, top, right, bottom] = box.map((value, i) => value * ratio[i % 2]);
    faces.push({
      box: [left, top, right - left, bottom - top],
      landmarks: landmarks.map((point) => point.map((value, i) => value * ratio[i])),
      confidence: score,
    });
  }
  return faces.sort((a, b) => b.box[2] * b.box[3] - a.box[2] * a.box[3]);
}
