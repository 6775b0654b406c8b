// Pixels and the canvas's geometry: the same steps as faketagger_tf/photos/canvas.py and
// faketagger_tf/tagging/paste.py. The browser's own scaling is not used: its filters
// differ from browser to browser, and a tag is a matter of single grey levels.
//
// An image is {width, height, data}, RGB row by row, Uint8Array or Float32Array. Pixel i
// covers [i, i + 1). A matrix is [a, b, c, d, e, f]: x' = a x + b y + c, y' = d x + e y + f.

// Five landmarks in units of the face box's side, see LANDMARKS of photos/canvas.py.
const LANDMARKS = [[0.3, 0.35], [0.7, 0.35], [0.5, 0.579], [0.335, 0.812], [0.665, 0.812]];
const FEATHER = 2; // Canvas pixels over which a residual fades at the canvas's border.

/** Rounds as OpenCV and Python do, halves to the even number. */
export function round(value) {
  const near = Math.floor(value + 0.5);
  return near - value === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

const clamp = (value, low, high) => (value < low ? low : value > high ? high : value);

/** RGBA bytes, as a browser has them, to RGB. */
export function fromRgba({ width, height, data }) {
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4) {
    rgb[to++] = data[from];
    rgb[to++] = data[from + 1];
    rgb[to++] = data[from + 2];
  }
  return { width, height, data: rgb };
}

/** RGB to opaque RGBA bytes. */
export function toRgba({ width, height, data }) {
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let from = 0, to = 0; from < data.length; to += 4) {
    rgba[to] = data[from++];
    rgba[to + 1] = data[from++];
    rgba[to + 2] = data[from++];
  }
  return { width, height, data: rgba };
}

export function invert([a, b, c, d, e, f]) {
  const det = a * e - b * d;
  const [p, q, r, s] = [e / det, -b / det, -d / det, a / det];
  return [p, q, -(p * c + q * f), r, s, -(r * c + s * f)];
}

export const apply = ([a, b, c, d, e, f], [x, y]) => [a * x + b * y + c, d * x + e * y + f];

/** Which source pixels each of `to` pixels covers, and how much of each: [[index, weight]]. */
function areaTaps(from, to) {
  const step = from / to;
  return Array.from({ length: to }, (_, i) => {
    const low = i * step, high = Math.min((i + 1) * step, from);
    const taps = [];
    for (let k = Math.floor(low); k < Math.min(from, Math.ceil(high)); k++) {
      const part = Math.min(high, k + 1) - Math.max(low, k);
      if (part > 1e-9) taps.push([k, part / (high - low)]);
    }
    return taps;
  });
}

/** Shrinks an image by area averaging, as cv2.resize(..., INTER_AREA) does. */
export function areaResize(image, width, height) {
  const { width: oldWidth, height: oldHeight, data } = image;
  const across = areaTaps(oldWidth, width), down = areaTaps(oldHeight, height);
  const made = new data.constructor(width * height * 3);
  const bytes = data instanceof Uint8Array;
  // OpenCV's special case for halves rounds them up.
  const halved = oldWidth === 2 * width && oldHeight === 2 * height;
  const narrow = new Map(); // Source rows, made narrow when they are first needed.
  const shrink = (row) => {
    const line = new Float64Array(width * 3);
    for (let x = 0; x < width; x++)
      for (const [index, weight] of across[x])
        for (let c = 0; c < 3; c++)
          line[3 * x + c] += weight * data[(row * oldWidth + index) * 3 + c];
    return line;
  };
  for (let y = 0; y < height; y++) {
    const line = new Float64Array(width * 3);
    for (const row of narrow.keys()) if (row < down[y][0][0]) narrow.delete(row);
    for (const [row, weight] of down[y]) {
      if (!narrow.has(row)) narrow.set(row, shrink(row));
      const source = narrow.get(row);
      for (let at = 0; at < line.length; at++) line[at] += weight * source[at];
    }
    for (let at = 0; at < line.length; at++) {
      // Sums of weights miss a half by less than this.
      const value = Math.round(line[at] * 1e8) / 1e8;
      made[y * width * 3 + at] = !bytes ? line[at] : halved ? Math.floor(value + 0.5) : round(value);
    }
  }
  return { width, height, data: made };
}

/** Weights of the pixels at -1, 0, 1, 2 (Keys 1981, a = -0.75 as in OpenCV). */
function cubic(part, weights) {
  const a = -0.75;
  const near = (t) => ((a + 2) * t - (a + 3)) * t * t + 1;
  const far = (t) => ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  weights[0] = far(1 + part);
  weights[1] = near(part);
  weights[2] = near(1 - part);
  weights[3] = 1 - weights[0] - weights[1] - weights[2];
}

// Both take points in pixel centres' coordinates and write [red, green, blue] to `point`.
// Outside, the border's pixels are repeated, or count as 0.

function cubicSampler({ width, height, data }, zero) {
  const [wx, wy] = [new Float64Array(4), new Float64Array(4)];
  const [xs, ys] = [new Int32Array(4), new Int32Array(4)];
  const find = (at, length, indices, weights) => {
    const low = Math.floor(at);
    cubic(at - low, weights);
    for (let tap = 0; tap < 4; tap++) {
      const index = low - 1 + tap;
      indices[tap] = clamp(index, 0, length - 1);
      if (zero && indices[tap] !== index) weights[tap] = 0;
    }
  };
  return (x, y, point) => {
    find(x, width, xs, wx);
    find(y, height, ys, wy);
    point.fill(0);
    for (let j = 0; j < 4; j++)
      for (let i = 0; i < 4; i++)
        for (let c = 0; c < 3; c++)
          point[c] += wy[j] * wx[i] * data[(ys[j] * width + xs[i]) * 3 + c];
  };
}

function linearSampler({ width, height, data }, zero) {
  // Written out: a search takes tens of millions of points.
  return (x, y, point) => {
    let left = Math.floor(x), top = Math.floor(y), right = left + 1, bottom = top + 1;
    let wr = x - left, wb = y - top, wl = 1 - wr, wt = 1 - wb;
    if (left < 0 || top < 0 || right >= width || bottom >= height) {
      if (zero) {
        if (left < 0 || left >= width) wl = 0;
        if (right < 0 || right >= width) wr = 0;
        if (top < 0 || top >= height) wt = 0;
        if (bottom < 0 || bottom >= height) wb = 0;
      }
      left = clamp(left, 0, width - 1);
      right = clamp(right, 0, width - 1);
      top = clamp(top, 0, height - 1);
      bottom = clamp(bottom, 0, height - 1);
    }
    const a = (top * width + left) * 3, b = (top * width + right) * 3;
    const c = (bottom * width + left) * 3, d = (bottom * width + right) * 3;
    point[0] = wt * (wl * data[a] + wr * data[b]) + wb * (wl * data[c] + wr * data[d]);
    point[1] = wt * (wl * data[a + 1] + wr * data[b + 1]) + wb * (wl * data[c + 1] + wr * data[d + 1]);
    point[2] = wt * (wl * data[a + 2] + wr * data[b + 2]) + wb * (wl * data[c + 2] + wr * data[d + 2]);
  };
}

/**
 * Resamples an image; every pixel is the mean of samples x samples points.
 *
 * matrix: from the made image's coordinates to the given one's.
 * area: {left, top, width, height} of the made image that is wanted.
 * sampler: linearSampler or cubicSampler.
 * outside: "repeat" the border's pixels; "black": so, and then a point outside is black;
 *   "zero": every pixel outside counts as 0.
 * Bytes are rounded at each point and in the mean, as OpenCV does step by step.
 */
function resample(image, matrix, area, sampler, samples, outside) {
  const { width, height, data } = image;
  const [a, b, c, d, e, f] = matrix;
  const bytes = data instanceof Uint8Array;
  const made = new data.constructor(area.width * area.height * 3);
  const sample = sampler(image, outside === "zero");
  const point = new Float64Array(3), sum = new Float64Array(3);
  const count = samples * samples;
  for (let row = 0, to = 0; row < area.height; row++) {
    for (let column = 0; column < area.width; column++) {
      sum.fill(0);
      for (let j = 0; j < samples; j++) {
        const v = area.top + row + (j + 0.5) / samples;
        for (let i = 0; i < samples; i++) {
          const u = area.left + column + (i + 0.5) / samples;
          const x = a * u + b * v + c, y = d * u + e * v + f;
          if (outside === "black" && (x < 0 || x >= width || y < 0 || y >= height)) continue;
          sample(x - 0.5, y - 0.5, point);
          for (let k = 0; k < 3; k++) sum[k] += bytes ? clamp(round(point[k]), 0, 255) : point[k];
        }
      }
      // OpenCV's special case for means of four rounds halves up.
      for (let k = 0; k < 3; k++, to++)
        made[to] = !bytes ? sum[k] / count : count === 4 ? (sum[k] + 2) >> 2 : round(sum[k] / count);
    }
  }
  return { width: area.width, height: area.height, data: made };
}

/** Cuts a square patch out; matrix: patch to image coordinates. Outside is 0. */
export function cutPatch(image, matrix, side) {
  const area = { left: 0, top: 0, width: side, height: side };
  return resample(image, matrix, area, linearSampler, 1, "zero").data;
}

/** Cuts a canvas out of a photo. matrix: photo to canvas coordinates. */
export function warpCanvas(photo, matrix, size, outside = "repeat") {
  const shrink = 1 / Math.hypot(matrix[0], matrix[3]);
  // Sampling at least once per photo pixel and averaging is area interpolation.
  const samples = Math.max(1, Math.ceil(shrink - 1e-6));
  const area = { left: 0, top: 0, width: size, height: size };
  const sampler = shrink < 1 ? cubicSampler : linearSampler;
  return resample(photo, invert(matrix), area, sampler, samples, outside);
}

/** The matrix of a face's canvas: Umeyama's fit (1991) to its five landmarks. */
export function similarityFromLandmarks(points, size, canvasScale) {
  const target = LANDMARKS.map((point) => point.map((v) => ((v - 0.5) / canvasScale + 0.5) * size));
  const mean = (list, axis) => list.reduce((sum, point) => sum + point[axis], 0) / list.length;
  const [px, py, tx, ty] = [mean(points, 0), mean(points, 1), mean(target, 0), mean(target, 1)];
  let real = 0, imaginary = 0, spread = 0;
  points.forEach(([x, y], i) => {
    const [dx, dy, ex, ey] = [x - px, y - py, target[i][0] - tx, target[i][1] - ty];
    real += dx * ex + dy * ey;
    imaginary += dx * ey - dy * ex;
    spread += dx * dx + dy * dy;
  });
  const [cosine, sine] = [real / spread, imaginary / spread];
  return [cosine, -sine, tx - cosine * px + sine * py, sine, cosine, ty - sine * px - cosine * py];
}

/** The matrix of the largest centred square of a photo. */
export function centredMatrix(width, height, size) {
  const side = Math.min(width, height), scale = size / side;
  return [scale, 0, (-(width - side) / 2) * scale, 0, scale, (-(height - side) / 2) * scale];
}

/** A canvas's four corners in photo pixels, clockwise as the photo shows them. */
export function corners(matrix, size) {
  const back = invert(matrix);
  const square = [[0, 0], [size, 0], [size, size], [0, size]].map((corner) => apply(back, corner));
  return mirrors(matrix) ? [1, 0, 3, 2].map((i) => square[i]) : square;
}

/** Whether a canvas reads the photo as its mirror shows it. */
export const mirrors = ([a, b, , d, e]) => a * e - b * d < 0;

/** A canvas's side in photo pixels. */
export const canvasSide = (matrix, size) => size / Math.hypot(matrix[0], matrix[3]);

/**
 * Adds a canvas's residual, Float32Array [size, size, 3] with 1 as full scale, to `tagged`.
 *
 * Where canvases overlap, each pixel belongs to the one in which it lies furthest inside.
 * photo: without a tag; tagged: the same with other canvases' residuals, is written to.
 */
export function addResidual(photo, tagged, residual, size, matrices, index) {
  const matrix = matrices[index];
  const fade = (i) => Math.min(1, Math.min(i + 0.5, size - i - 0.5) / FEATHER);
  const faded = residual.map((value, at) => {
    const pixel = Math.floor(at / 3);
    return 255 * value * fade(Math.floor(pixel / size)) * fade(pixel % size);
  });
  const points = corners(matrix, size);
  const range = (axis, length) => [
    Math.floor(clamp(Math.min(...points.map((point) => point[axis])), 0, length)),
    Math.ceil(clamp(Math.max(...points.map((point) => point[axis])), 0, length)),
  ];
  const [left, right] = range(0, photo.width), [top, bottom] = range(1, photo.height);
  const others = matrices.filter((_, i) => i !== index);
  // 0.5 on the canvas's border, 0 in its middle.
  const depth = (other, at) =>
    Math.max(...apply(other, at).map((value) => Math.abs(value / size - 0.5)));
  const samples = Math.ceil(Math.hypot(matrix[0], matrix[3]) - 1e-6);
  const source = { width: size, height: size, data: faded };
  const width = right - left;
  for (let y = top; y < bottom; y++) {
    const area = { left, top: y, width, height: 1 };
    const change = resample(source, matrix, area, cubicSampler, samples, "zero").data;
    for (let x = 0; x < width; x++) {
      const at = [left + x + 0.5, y + 0.5];
      if (others.length && others.some((other) => depth(matrix, at) > depth(other, at))) continue;
      for (let c = 0; c < 3; c++) {
        const to = (y * photo.width + left + x) * 3 + c;
        const value = clamp(round(photo.data[to] + change[3 * x + c]), 0, 255);
        // Leave alone what another canvas has written.
        if (value !== photo.data[to]) tagged.data[to] = value;
      }
    }
  }
}
