// The message code and the p-value: the same steps as faketagger_tf/messages/osd.py and
// faketagger_tf/messages/presence.py. `about` is the .json beside a decoder or encoder.

/** Rows of hexadecimal digits, most significant bit first, to rows of 0 and 1. */
export function bitRows(rows, length) {
  return rows.map((row) =>
    Uint8Array.from({ length }, (_, i) => (parseInt(row[i >> 2], 16) >> (3 - (i & 3))) & 1),
  );
}

/** XOR of the rows whose bit is 1. */
function product(bits, rows, length) {
  const word = new Uint8Array(length);
  rows.forEach((row, i) => {
    if (bits[i]) for (let c = 0; c < length; c++) word[c] ^= row[c];
  });
  return word;
}

/** The code word of a payload (BigInt), as 0 and 1. */
export function encode(about, payload) {
  const bits = Array.from({ length: about.payload_bits }, (_, i) =>
    Number((payload >> BigInt(about.payload_bits - 1 - i)) & 1n),
  );
  const rows = bitRows(about.payload_generator, about.message_bits);
  return product(bits, rows, about.message_bits);
}

/**
 * Decodes logits by ordered statistics (Fossorier & Lin, 1995): the bits of the most
 * reliable basis are re-encoded with up to three of them flipped, fewer for long codes,
 * as MessageCode.decode of the library does.
 * Returns {payload, crcOk, codeBits, correctedBits, score}.
 */
export function decode(about, logits) {
  const n = about.message_bits;
  const rows = bitRows(about.generator, n);
  const k = rows.length;
  const depth = k <= 72 ? 3 : k <= 256 ? 2 : 1;
  const hard = logits.map((value) => (value > 0 ? 1 : 0));
  const reliability = logits.map(Math.abs);
  const order = Array.from(logits.keys()).sort((a, b) => reliability[b] - reliability[a]);

  const pivots = new Array(k).fill(-1);
  for (const column of order) {
    const pivot = rows.findIndex((row, i) => row[column] && pivots[i] < 0);
    if (pivot < 0) continue;
    pivots[pivot] = column;
    rows.forEach((row, i) => {
      if (i !== pivot && row[column]) for (let c = 0; c < n; c++) row[c] ^= rows[pivot][c];
    });
  }

  const codeBits = product(pivots.map((column) => hard[column]), rows, n);
  // Correlation with the logits, apart from the pivots: flipping a row changes the signs
  // of the other columns where the row has a one, and costs the reliability of its own.
  const others = order.filter((column) => !pivots.includes(column));
  const signs = rows.map((row) => Float64Array.from(others, (c) => 1 - 2 * row[c]));
  const weights = Float64Array.from(others, (c) =>
    codeBits[c] === hard[c] ? reliability[c] : -reliability[c],
  );
  const buffers = Array.from({ length: depth }, () => new Float64Array(others.length));
  let best = { value: weights.reduce((sum, weight) => sum + weight, 0), flips: [] };
  const flip = (weights, below, lost, flips) => {
    const made = buffers[flips.length];
    for (let i = 0; i < below; i++) {
      let value = 0;
      for (let c = 0; c < made.length; c++) value += made[c] = weights[c] * signs[i][c];
      const cost = lost + 2 * reliability[pivots[i]];
      if (value - cost > best.value) best = { value: value - cost, flips: [...flips, i] };
      if (flips.length + 1 < depth) flip(made, i, cost, [...flips, i]);
    }
  };
  flip(weights, k, 0, []);
  for (const i of best.flips) for (let c = 0; c < n; c++) codeBits[c] ^= rows[i][c];

  let payload = 0n;
  for (let i = 0; i < about.payload_bits; i++) payload = (payload << 1n) | BigInt(codeBits[i]);
  const again = encode(about, payload);
  const norm = Math.sqrt(n * logits.reduce((sum, value) => sum + value * value, 0));
  const correlation = logits.reduce((sum, v, c) => sum + (codeBits[c] ? v : -v), 0);
  return {
    payload,
    crcOk: codeBits.every((bit, c) => bit === again[c]),
    codeBits: Array.from(codeBits),
    correctedBits: hard.filter((bit, c) => bit !== codeBits[c]).length,
    score: norm > 0 ? correlation / norm : 0,
  };
}

const STEPS = 4096;
const WIDTH = Math.PI / STEPS;
const tables = new Map();

/** By dimensions: the logarithm of the area within an angle of a point of the sphere. */
function capTable(dimensions) {
  if (!tables.has(dimensions)) {
    const areas = new Float64Array(STEPS);
    let area = -Infinity;
    for (let i = 0; i < STEPS; i++) {
      const ring = (dimensions - 2) * Math.log(Math.sin((i + 0.5) * WIDTH));
      // Sums of exponentials by their logarithms: caps are far too small for doubles.
      const [high, low] = area > ring ? [area, ring] : [ring, area];
      areas[i] = area = high + Math.log1p(Math.exp(low - high));
    }
    tables.set(dimensions, areas);
  }
  return tables.get(dimensions);
}

/** The surprise of a cosine, -ln(2^k cap(score)). */
export function surprise(score, dimensions, wordsLog2) {
  const areas = capTable(dimensions);
  const angle = Math.acos(Math.min(Math.max(score, 0), 1));
  const place = Math.min(Math.max(angle / WIDTH - 1, 0), STEPS - 1);
  const below = Math.min(Math.floor(place), STEPS - 2);
  const area = areas[below] + (place - below) * (areas[below + 1] - areas[below]);
  return -(wordsLog2 * Math.LN2 + area - areas[STEPS - 1]);
}

/** The surprise of a word that was decoded. */
export const wordSurprise = (about, word) =>
  surprise(word.score, about.message_bits, about.payload_bits + about.crc_bits);

/** Probability that something untagged reads like this word. */
export function pValue(about, word) {
  const { threshold, rate, scale } = about.presence;
  const crcBits = about.crc_bits;
  const x = wordSurprise(about, word);
  const tail = Math.exp(Math.min(Math.log(rate) - (x - threshold) / scale, 0));
  return word.crcOk ? tail / 2 ** crcBits : tail;
}
