// Where a face's tag is looked for: the places of faketagger_tf/tagging/search.py, in the
// same order, so that a photo gets the same reading and the same p-value here as there.
import { areaResize, canvasSide, corners } from "./canvas.js";

const TIGHT = 0.625; // Side of what a tight reading looks at, as a share of the canvas.
const GREY = 0.5; // What it paints the rest.
const [SHIFT, SCALE, TURN] = [0.025, 0.07, 4.5]; // Share of the canvas; factor; degrees.
const CLIMBS = 3; // Places of the grid from which a tag is climbed to.
const STRIDES = [0.5, 0.5, 0.25]; // Of a climb, in steps of the grid, one after the other.
const MIRRORED_RINGS = 2; // That are looked at as a mirror shows the photo.

// So many steps of the grid, as `move` takes them: [right, down, scale, turn].
const step = (right, down, scale, turn) => [
  right * SHIFT, down * SHIFT, 1 + scale * SCALE, turn * TURN,
];

/** The grid by distance, at most 2.5 steps away. A step of scale counts half. */
function makeRings() {
  const rings = new Map();
  for (const scale of [0, -1, 1, -2, 2])
    for (const turn of [0, -1, 1, -2, 2])
      for (const down of [0, -1, 1])
        for (const right of [0, -1, 1]) {
          const away = Math.abs(scale) / 2 + Math.abs(turn) + Math.abs(down) + Math.abs(right);
          if (away === 0 || away > 2.5) continue;
          rings.set(away, [...(rings.get(away) ?? []), step(right, down, scale, turn)]);
        }
  return [...rings.keys()].sort((a, b) => a - b).map((away) => rings.get(away));
}

const RINGS = makeRings();
const AROUND = [0, 1, 2, 3].flatMap((axis) =>
  [1, -1].map((sign) => [0, 1, 2, 3].map((other) => (other === axis ? sign : 0))),
);
const MIRRORED = RINGS.slice(0, MIRRORED_RINGS);

/** At how many places a face is read: part of the p-value. */
export const PLACES =
  4 + RINGS.flat().length + CLIMBS * STRIDES.length * AROUND.length + MIRRORED.flat().length;

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

/** What tells places apart, to 1/10,000 of a canvas. */
function key(matrix, size) {
  const side = canvasSide(matrix, size);
  return corners(matrix, size).flat().map((value) => Math.round((10_000 * value) / side)).join();
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
  const whole = [], tight = [];
  for (const way of [matrix, mirror(matrix, size)]) {
    for (const [views, isTight] of [[whole, false], [tight, true]]) {
      views.push(await read(photo, way, 1, isTight));
      if (views.at(-1).found) return views.at(-1);
    }
  }
  // At least four pixels a side are left for each of the canvas.
  const factor = Math.max(1, Math.floor(canvasSide(matrix, size) / size / 4));
  const small = shrink(photo, factor);
  // Reads places, and says whether a tag is found in one of them.
  const look = async (matrices, seen) => {
    const readings = [];
    for (const place of matrices) readings.push(await read(small, place, factor, false));
    seen.push(...readings);
    return readings.some((reading) => reading.found);
  };
  const [straight, mirrored] = whole.map((reading) => [reading]);
  for (const ring of RINGS) {
    if (await look(ring.map((one) => move(matrix, size, one)), straight)) return best(straight)[0];
  }
  const known = new Set(straight.map((reading) => key(reading.matrix, size)));
  for (let top of best(straight, CLIMBS)) {
    for (const stride of STRIDES) {
      const around = AROUND.map((one) =>
        move(top.matrix, size, step(...one.map((part) => stride * part))),
      );
      const fresh = around.filter((place) => !known.has(key(place, size)));
      for (const place of fresh) known.add(key(place, size));
      if (fresh.length && (await look(fresh, straight))) return best(straight)[0];
      top = best([top, ...straight.slice(straight.length - fresh.length)])[0];
    }
  }
  const way = mirror(matrix, size);
  for (const ring of MIRRORED) {
    if (await look(ring.map((one) => move(way, size, one)), mirrored)) break;
  }
  return best([...straight, ...mirrored, ...tight])[0];
}
