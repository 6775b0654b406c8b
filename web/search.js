// Where a face's tag is looked for: the places of faketagger_tf/tagging/search.py, in the
// same order, so that a photo gets the same reading and the same p-value here as there.
import { areaResize, canvasSide, corners, mirrors } from "./canvas.js";

const TIGHT = 0.625; // Side of what a tight reading looks at, as a share of the canvas.
const GREY = 0.5; // What it paints the rest.
const [SHIFT, SCALE, TURN] = [0.025, 0.07, 4.5]; // Share of the canvas; factor; degrees.
const REFINED = 2; // Places of the grid around which the fine steps are tried.

// A step [right, down, scale, turn] of the grid, or a part of one: what `move` takes.
const step = ([right, down, scale, turn], part) => [
  right * part * SHIFT,
  down * part * SHIFT,
  1 + scale * part * SCALE,
  turn * part * TURN,
];
const SIGNS = [-1, 0, 1];
const PAIRS = SIGNS.flatMap((a) => SIGNS.map((b) => [a, b])).filter(([a, b]) => a || b);
const SHIFTS = PAIRS.map(([right, down]) => [right, down, 0, 0]);
const COARSE = [
  ...PAIRS.map(([scale, turn]) => [0, 0, scale, turn]),
  ...SHIFTS,
  ...[-2, 2].map((scale) => [0, 0, scale, 0]),
  ...[-2, 2].map((turn) => [0, 0, 0, turn]),
  ...[-1, 1].map((scale) => [0, 1, scale, 0]),
  ...[-1, 1].map((turn) => [0, 1, 0, turn]),
].map((whole) => step(whole, 1));
const FINE = [
  ...SHIFTS,
  ...[-1, 1].map((scale) => [0, 0, scale, 0]),
  ...[-1, 1].map((turn) => [0, 0, 0, turn]),
].map((half) => step(half, 0.5));

/** At how many places a face is read, both ways: part of the p-value. */
export const PLACES = 2 * (2 + COARSE.length + REFINED * FINE.length);

/** The same place, read as a mirror shows it. */
export const mirror = ([a, b, c, d, e, f], size) => [-a, -b, size - c, d, e, f];

/** Moves a canvas by shares of its side, a factor and degrees. */
function move([a, b, c, d, e, f], size, [right, down, scale, turn]) {
  const cosine = Math.cos((turn * Math.PI) / 180) / scale;
  const sine = Math.sin((turn * Math.PI) / 180) / scale;
  const middle = size / 2;
  const [x, y] = [middle + right * size, middle + down * size];
  return [
    cosine * a - sine * d,
    cosine * b - sine * e,
    cosine * c - sine * f + middle - (cosine * x - sine * y),
    sine * a + cosine * d,
    sine * b + cosine * e,
    sine * c + cosine * f + middle - (sine * x + cosine * y),
  ];
}

/** Paints all but the middle of a canvas, Float32Array [size, size, 3] in [0, 1]. */
export function tightView(canvas, size, outside) {
  const length = 2 * Math.round((size * TIGHT) / 2);
  const low = Math.floor((size - length) / 2);
  const inside = (at) => at >= low && at < low + length;
  const paint = outside === "black" ? 0 : GREY;
  return canvas.map((value, at) => {
    const pixel = Math.floor(at / 3);
    return inside(Math.floor(pixel / size)) && inside(pixel % size) ? value : paint;
  });
}

/** The best reading: one that is found, else the most surprising; the first of equals. */
function best(readings, count = 1) {
  return [...readings]
    .sort((a, b) => b.found - a.found || b.surprise - a.surprise)
    .slice(0, count);
}

/** Leaves out places that are there already, to 1/10,000 of a canvas. */
function distinct(matrices, size) {
  const places = new Map();
  for (const matrix of matrices) {
    const side = canvasSide(matrix, size);
    const key = corners(matrix, size).flat().map((value) => Math.round((10_000 * value) / side));
    if (!places.has(key.join())) places.set(key.join(), matrix);
  }
  return [...places.values()];
}

/** The photo, a whole number of times smaller: a search reads it many times. */
function shrink(photo, factor) {
  if (factor === 1) return photo;
  const width = Math.floor(photo.width / factor), height = Math.floor(photo.height / factor);
  const part = { width: width * factor, height: height * factor };
  part.data = new photo.data.constructor(part.width * part.height * 3);
  for (let y = 0; y < part.height; y++) {
    const from = y * photo.width * 3;
    part.data.set(photo.data.subarray(from, from + part.width * 3), y * part.width * 3);
  }
  return areaResize(part, width, height);
}

/**
 * Reads a face at its places until its tag is found.
 *
 * read(photo, matrix, factor, tight): a promise of a reading with found, surprise and
 * matrix; the photo is the given one or one `factor` times smaller, matrices lie in the
 * given one. Returns the first reading that is found, else the most surprising one.
 */
export async function search(photo, matrix, size, read) {
  const ways = [matrix, mirror(matrix, size)];
  const readings = [];
  for (const way of ways) {
    for (const tight of [false, true]) {
      const reading = await read(photo, way, 1, tight);
      if (reading.found) return reading;
      readings.push(reading);
    }
  }
  // At least four pixels a side are left for each of the canvas.
  const factor = Math.max(1, Math.floor(canvasSide(matrix, size) / size / 4));
  const small = shrink(photo, factor);
  const readAll = async (matrices) => {
    const made = [];
    for (const place of matrices) made.push(await read(small, place, factor, false));
    return made;
  };
  for (const way of ways) {
    const whole = readings[mirrors(way) ? 2 : 0];
    const coarse = await readAll(COARSE.map((step) => move(way, size, step)));
    const grid = [whole, ...coarse];
    const fine = best(grid, REFINED).flatMap((top) =>
      FINE.map((step) => move(top.matrix, size, step)),
    );
    const [found] = best([...grid, ...(await readAll(distinct(fine, size)))]);
    if (found.found) return found;
    readings.push(found);
  }
  return best(readings)[0];
}
