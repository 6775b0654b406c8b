// The message code and the canvas in JavaScript: the same steps as
// faketagger_tf/messages/osd.py and faketagger_tf/data/canvas.py.

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
 * Decodes logits by ordered statistics of order 2 (Fossorier & Lin, 1995): the bits of
 * the most reliable basis are re-encoded with every pair of them flipped.
 * Returns {payload, crcOk, codeBits, correctedBits, score}.
 */
export function decode(about, logits) {
  const n = about.message_bits;
  const rows = bitRows(about.generator, n);
  const k = rows.length;
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

  const base = product(pivots.map((column) => hard[column]), rows, n);
  // What a word loses against the hard decisions: the reliabilities where they differ.
  const loss = (word, i, j) => {
    let sum = 0;
    for (let c = 0; c < n; c++) {
      const bit = word[c] ^ (i < 0 ? 0 : rows[i][c]) ^ (j < 0 ? 0 : rows[j][c]);
      if (bit !== hard[c]) sum += reliability[c];
    }
    return sum;
  };
  let best = { loss: loss(base, -1, -1), i: -1, j: -1 };
  for (let i = 0; i < k; i++) {
    for (let j = -1; j < i; j++) {
      const value = loss(base, i, j);
      if (value < best.loss) best = { loss: value, i, j };
    }
  }
  const codeBits = base.map(
    (bit, c) =>
      bit ^ (best.i < 0 ? 0 : rows[best.i][c]) ^ (best.j < 0 ? 0 : rows[best.j][c]),
  );

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

/** Weights of the pixels at -1, 0, 1, 2 (Keys 1981, a = -0.75 as in OpenCV). */
function cubic(part) {
  const a = -0.75;
  const near = (t) => ((a + 2) * t - (a + 3)) * t * t + 1;
  const far = (t) => ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  return [far(1 + part), near(part), near(1 - part), far(2 - part)];
}

/** Resamples lines: source [count, length, 3] -> [count, rows.length, 3]. */
function resample(source, count, length, taps) {
  const made = new Float32Array(count * taps.length * 3);
  for (let line = 0; line < count; line++) {
    for (let i = 0; i < taps.length; i++) {
      const at = (line * taps.length + i) * 3;
      for (const [index, weight] of taps[i]) {
        const from = (line * length + index) * 3;
        made[at] += weight * source[from];
        made[at + 1] += weight * source[from + 1];
        made[at + 2] += weight * source[from + 2];
      }
    }
  }
  return made;
}

/** [rows, columns, 3] -> [columns, rows, 3]. */
function transpose(image, rows, columns) {
  const made = new Float32Array(image.length);
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++)
      for (let c = 0; c < 3; c++)
        made[(x * rows + y) * 3 + c] = image[(y * columns + x) * 3 + c];
  return made;
}

function downTaps(size, start, side, length) {
  const samples = Math.max(1, Math.ceil(side / size - 1e-6));
  const step = side / (size * samples);
  return Array.from({ length: size }, (_, i) => {
    const taps = [];
    for (let s = 0; s < samples; s++) {
      const at = (i * samples + s + 0.5) * step + start - 0.5;
      const low = Math.floor(at);
      const part = at - low;
      const weights = side < size ? cubic(part) : [0, 1 - part, part, 0];
      weights.forEach((weight, tap) => {
        const index = Math.min(Math.max(low - 1 + tap, 0), length - 1);
        if (weight) taps.push([index, weight / samples]);
      });
    }
    return taps;
  });
}

function upTaps(size, start, side, from, to) {
  const samples = Math.ceil(size / side - 1e-6);
  return Array.from({ length: to - from }, (_, i) => {
    const taps = [];
    for (let s = 0; s < samples; s++) {
      const at = ((from + i + (s + 0.5) / samples - start) * size) / side - 0.5;
      const low = Math.floor(at);
      cubic(at - low).forEach((weight, tap) => {
        const index = low - 1 + tap;
        if (index >= 0 && index < size) taps.push([index, weight / samples]);
      });
    }
    return taps;
  });
}

/**
 * Cuts a canvas out of a photo.
 * photo: {width, height, data} with RGBA bytes; square: {left, top, side} in pixels.
 * Returns Float32Array [size, size, 3] in [0, 1], rounded to whole grey levels.
 */
export function cropCanvas(photo, square, size) {
  const { width, height, data } = photo;
  const rgb = new Float32Array(width * height * 3);
  for (let i = 0; i < width * height; i++)
    for (let c = 0; c < 3; c++) rgb[3 * i + c] = data[4 * i + c];
  const narrow = resample(rgb, height, width, downTaps(size, square.left, square.side, width));
  const turned = transpose(narrow, height, size);
  const small = resample(turned, size, height, downTaps(size, square.top, square.side, height));
  const canvas = transpose(small, size, size);
  return canvas.map((v) => Math.min(Math.max(Math.round(v), 0), 255) / 255);
}

/** Adds a residual [size, size, 3] to the photo's RGBA bytes, in place. */
export function addResidual(photo, square, residual, size) {
  const fade = (i) => Math.min(1, Math.min(i + 0.5, size - i - 0.5) / 2);
  const faded = residual.map((value, at) => {
    const pixel = Math.floor(at / 3);
    return 255 * value * fade(Math.floor(pixel / size)) * fade(pixel % size);
  });
  const { left, top, side } = square;
  const x0 = Math.max(0, Math.floor(left)), x1 = Math.min(photo.width, Math.ceil(left + side));
  const y0 = Math.max(0, Math.floor(top)), y1 = Math.min(photo.height, Math.ceil(top + side));
  const wide = resample(faded, size, size, upTaps(size, left, side, x0, x1));
  const turned = transpose(wide, size, x1 - x0);
  const full = resample(turned, x1 - x0, size, upTaps(size, top, side, y0, y1));
  for (let x = x0; x < x1; x++)
    for (let y = y0; y < y1; y++)
      for (let c = 0; c < 3; c++) {
        const at = (y * photo.width + x) * 4 + c;
        const change = full[((x - x0) * (y1 - y0) + y - y0) * 3 + c];
        photo.data[at] = Math.min(Math.max(Math.round(photo.data[at] + change), 0), 255);
      }
}

/** The largest centred square of a photo. */
export function centredSquare(width, height) {
  const side = Math.min(width, height);
  return { left: (width - side) / 2, top: (height - side) / 2, side };
}

const STEPS = 4096;

/** The surprise of a cosine, -ln(2^k cap(score)): faketagger_tf/presence.py. */
export function surprise(score, dimensions, wordsLog2) {
  const angle = Math.acos(Math.min(Math.max(score, 0), 1));
  const width = Math.PI / STEPS;
  const rings = Float64Array.from({ length: STEPS }, (_, i) =>
    (dimensions - 2) * Math.log(Math.sin((i + 0.5) * width)));
  // Sums of exponentials by their logarithms: the caps are far too small for doubles.
  const areas = new Float64Array(STEPS);
  let area = -Infinity;
  for (let i = 0; i < STEPS; i++) {
    const [high, low] = area > rings[i] ? [area, rings[i]] : [rings[i], area];
    areas[i] = area = high + Math.log1p(Math.exp(low - high));
  }
  const place = Math.min(Math.max(angle / width - 1, 0), STEPS - 1);
  const below = Math.min(Math.floor(place), STEPS - 2);
  const share = areas[below] + (place - below) * (areas[below + 1] - areas[below]);
  return -(wordsLog2 * Math.LN2 + share - area);
}

/** Probability that an untagged canvas reads like this word. */
export function pValue(about, word) {
  const { threshold, rate, scale } = about.presence;
  const crcBits = about.crc_bits;
  const x = surprise(word.score, about.message_bits, about.payload_bits + crcBits);
  const tail = Math.exp(Math.min(Math.log(rate) - (x - threshold) / scale, 0));
  return word.crcOk ? tail / 2 ** crcBits : tail;
}
