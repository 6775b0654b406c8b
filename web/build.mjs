// Puts the page together: node build.mjs OUTPUT MODELS
// MODELS is a preset's folder: decoder.tflite, encoder.tflite and their .json. The face
// networks come from the library.
import { cpSync, existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const faces = join(here, "..", "faketagger_tf", "weights", "faces");
const [output, models] = process.argv.slice(2);
if (!output || !models) {
  console.error("Usage: node build.mjs OUTPUT MODELS");
  process.exit(2);
}
const files = ["decoder", "encoder"].flatMap((name) => [`${name}.tflite`, `${name}.tflite.json`]);
const missing = files.filter((name) => !existsSync(join(models, name)));
if (missing.length) {
  console.error(`Error: ${models} lacks ${missing.join(", ")}; publish the run with export.preset.`);
  process.exit(2);
}
mkdirSync(output, { recursive: true });
const page = ["app", "tagger", "search", "faces", "canvas", "codec"].map((name) => `${name}.js`);
for (const name of ["index.html", "style.css", ...page]) cpSync(join(here, name), join(output, name));
for (const name of files) cpSync(join(models, name), join(output, name));
for (const name of ["pnet.tflite", "rnet.tflite", "onet.tflite", "faces.json", "LICENSE-mtcnn"])
  cpSync(join(faces, name), join(output, "faces", name));
const packages = join(here, "node_modules", "@litertjs");
cpSync(join(packages, "core", "dist", "index.js"), join(output, "litert", "core.js"));
cpSync(join(packages, "wasm-utils", "dist"), join(output, "litert", "wasm-utils"), {
  recursive: true,
  filter: (path) => !/(map|json|d\.ts)$/.test(path),
});
// Which of these a browser needs depends on what it can do; WebNN's is left out.
for (const kind of ["", "_compat", "_threaded"])
  for (const suffix of ["js", "wasm"]) {
    const name = `litert_wasm${kind}_internal.${suffix}`;
    cpSync(join(packages, "core", "wasm", name), join(output, "litert", "wasm", name));
  }
console.log(`Wrote ${output}; serve it with any static file server.`);
