// Tags photos and reads the tags back, as faketagger_tf.tagging.Tagger does, on the same
// .tflite files. Photos are {width, height, data}, RGB bytes.
import { loadAndCompile, Tensor } from "@litertjs/core";
import {
  addResidual,
  canvasSide,
  centredMatrix,
  corners,
  mirrors,
  similarityFromLandmarks,
  warpCanvas,
} from "./canvas.js";
import { decode, encode, pValue, wordSurprise } from "./codec.js";
import { detectFaces } from "./faces.js";
import { mirror, PLACES, search, tightView } from "./search.js";

const FORMAT = 1; // Latest version of the files that this page reads.
const MIN_CANVAS = 48; // Side in photo pixels below which a face carries no tag.
/** Pixels a side below which neither a photo nor a canvas is read. */
export const MIN_READ = 24;

async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} is missing.`);
  return answer.json();
}

const load = (name) => loadAndCompile(`${name}.tflite`, { accelerator: "wasm" });

/** Runs a signature on arrays by tensor name; returns arrays by tensor name. */
async function run(net, signature, values) {
  const tensors = {};
  for (const { name, shape } of net.signatures[signature].getInputDetails())
    tensors[name] = Tensor.fromTypedArray(values[name], shape);
  const outputs = await net.run(signature, tensors);
  const results = {};
  for (const [name, tensor] of Object.entries(outputs))
    results[name] = Float32Array.from(await tensor.data());
  for (const tensor of [...Object.values(tensors), ...Object.values(outputs)]) tensor.delete();
  return results;
}

/**
 * Loads the networks that lie beside the page.
 * fpr: largest p-value of a tag that counts as found.
 */
export async function loadTagger(fpr) {
  const [about, tagging, constants] = await Promise.all(
    ["decoder.tflite.json", "encoder.tflite.json", "faces/faces.json"].map(get),
  );
  for (const { format } of [about, tagging])
    if (!(Number(/\d+$/.exec(format)) <= FORMAT))
      throw new Error(`The networks were written by a later release: ${format}.`);
  // Without a calibration it is the ideal model's for a single place; older files say nothing.
  const { threshold, rate, scale } = (about.presence ??= { threshold: 0, rate: 1, scale: 1 });
  if (threshold === 0 && rate === 1 && scale === 1) about.presence.rate = PLACES;
  const decoder = await load("decoder"), encoder = await load("encoder");
  const pnet = await load("faces/pnet");
  const rnet = await load("faces/rnet"), onet = await load("faces/onet");
  return new Tagger({
    fpr,
    about,
    tagging,
    decode: async (image) => (await run(decoder, "decode", { image })).logits,
    encode: async (values) => (await run(encoder, "tag", values)).residual,
    detect: (photo) =>
      detectFaces(
        {
          propose: (side, image) => run(pnet, `propose_${side}`, { image }),
          refine: (image) => run(rnet, "refine", { image }),
          locate: (image) => run(onet, "locate", { image }),
        },
        constants,
        photo,
      ),
  });
}

let rested = 0;

/** Lets the page answer now and then: a search takes seconds. */
async function rest() {
  if (performance.now() - rested < 100) return;
  await new Promise((done) => setTimeout(done));
  rested = performance.now();
}

class Tagger {
  constructor(parts) {
    Object.assign(this, parts);
    this.size = this.about.image_size;
    this.outside = this.about.outside ?? "repeat";
  }

  /** Whether not even a perfect reading would be found: the code has too few bits. */
  get isTooShort() {
    return pValue(this.about, { score: 1, crcOk: true }) > this.fpr;
  }

  /**
   * Where the tags of a photo may lie, likeliest first: groups of [{matrix, face}].
   *
   * The last one has canvases that are large enough to be tagged: those of faces, or the
   * centred square. Before that one come the small faces of a reduced copy.
   */
  async #groups(photo) {
    const faces = (await this.detect(photo)).map((face) => ({
      matrix: similarityFromLandmarks(face.landmarks, this.size, this.about.canvas_scale),
      face,
    }));
    const from = (least) => faces.filter(({ matrix }) => canvasSide(matrix, this.size) >= least);
    const large = from(MIN_CANVAS);
    if (large.length) return [large];
    return [from(MIN_READ), [this.centredCanvas(photo)]].filter((group) => group.length);
  }

  /** Where the tags of a photo are put, largest face first: [{matrix, face}], never empty. */
  async findCanvases(photo) {
    return (await this.#groups(photo)).at(-1);
  }

  /** The largest centred square, which a photo without a face is tagged on. */
  centredCanvas({ width, height }) {
    return { matrix: centredMatrix(width, height, this.size), face: null };
  }

  /** Reads every face of a photo; `progress(done, all)` is told of each, and awaited. */
  async examine(photo, progress = () => {}) {
    let readings = [];
    const groups = await this.#groups(photo);
    for (const canvases of groups) {
      const now = [];
      for (const { matrix, face } of canvases) {
        await progress(now.length, canvases.length);
        const read = (...place) => this.#readAt(...place);
        now.push({ ...(await search(photo, matrix, this.size, read)), face });
      }
      const found = now.some((reading) => reading.found);
      if (found || !readings.length) readings = now;
      if (found) return readings;
    }
    // Where no face reads, the centred square is tried as well, and told of if it reads.
    if (groups.at(-1)[0].face) {
      const { matrix } = this.centredCanvas(photo);
      for (const way of [matrix, mirror(matrix, this.size)]) {
        const reading = await this.#readAt(photo, way, 1, false);
        if (reading.found) return [...readings, { ...reading, face: null }];
      }
    }
    return readings;
  }

  async #readAt(photo, matrix, factor, tight) {
    await rest();
    const local = matrix.map((value, i) => (i % 3 < 2 ? value * factor : value));
    let canvas = this.#cut(photo, local);
    if (tight) canvas = tightView(canvas, this.size, this.outside);
    const word = decode(this.about, Array.from(await this.decode(canvas)));
    const p = pValue(this.about, word);
    return {
      ...word,
      p,
      found: word.crcOk && p <= this.fpr,
      surprise: wordSurprise(this.about, word),
      matrix,
      corners: corners(matrix, this.size),
      mirrored: mirrors(matrix),
    };
  }

  #cut(photo, matrix) {
    const canvas = warpCanvas(photo, matrix, this.size, this.outside);
    return Float32Array.from(canvas.data, (value) => value / 255);
  }

  /** Tags every face of a photo, or its centred square; payload is a BigInt. */
  async embed(photo, payload) {
    const canvases = await this.findCanvases(photo);
    const matrices = canvases.map(({ matrix }) => matrix);
    const message = Float32Array.from(encode(this.tagging, payload));
    // The strength is the preset's own; `scale` is photo pixels per canvas pixel.
    const known = Object.fromEntries(
      this.tagging.inputs.map((input) => [input.name, Float32Array.of(input.default ?? 0)]),
    );
    const tagged = { ...photo, data: photo.data.slice() };
    for (const [index, matrix] of matrices.entries()) {
      const scale = Float32Array.of(canvasSide(matrix, this.size) / this.size);
      const cover = this.#cut(photo, matrix);
      const residual = await this.encode({ ...known, scale, cover, message });
      addResidual(photo, tagged, residual, this.size, matrices, index);
    }
    return tagged;
  }
}
