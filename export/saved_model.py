"""Exports a tagger as one SavedModel, laid out as TensorFlow Serving expects it.

    python -m export.saved_model --tagger=runs/demo/joint --output=models/faketagger

writes `models/faketagger/1/`. Signatures, N rows each, at least one:

    read_bytes, serving_default: `image_bytes` string `[N]`, encoded photos
    read_canvas: `image` float32 `[N, S, S, 3]` in [0, 1]
    read_canvas_uint8: `image` uint8 `[N, S, S, 3]`
        -> `logits` float32 `[N, L]`, positive for a 1; `probabilities` float32 of a 1;
           `bits` int32 of 0 and 1; `valid` bool `[N]`, False for a row whose photo
           could not be decoded (its logits are 0)
    tag_bytes: `image_bytes` as above, `message` float32 `[N, L]` of 0 and 1, the
        payload's code bits
        -> `tagged_bytes` string `[N]`, PNGs of the photos' own size, "" where `valid`
           bool `[N]` is False
    tag_canvas: `cover` float32 `[N, S, S, 3]` in [0, 1], `message` as above
        -> `tagged` float32 `[N, S, S, 3]` in [0, 1]

These are for callers that have a canvas in their hands, or that want logits: servers
which cut faces out themselves, batch scoring, and other runtimes. **No face is looked
for**, so that what `faketagger tag` wrote on a face is not found by `read_bytes`, and
`tag_bytes` tags the middle. `faketagger_tf.serving --tagger=...` finds the faces.

Float images are not checked against [0, 1]: what lies outside is read as it is, and
such logits mean nothing.

`*_bytes` take JPEG, PNG, WebP, BMP and GIF; the canvas is the largest centred square.
`signatures.json` in `assets.extra` holds the message code, as beside a TFLite file.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from export import graph
from export.tflite import description
from faketagger_tf.command import require_flag, run_main
from faketagger_tf.config import TaggerConfig
from faketagger_tf.messages.presence import Presence
from faketagger_tf.models import build_informed_encoder
from faketagger_tf.presets import load_presence, load_tagger

FLAGS = flags.FLAGS

WARM_UP = "tf_serving_warmup_requests"


def export_saved_model(
    config: TaggerConfig,
    encoder: keras.Model,
    decoder: keras.Model,
    output: str,
    version: int = 1,
    overwrite: bool = False,
    presence: Presence | None = None,
) -> str:
    """Writes the SavedModel `output`/`version`, all of it or nothing.

    `presence` is the calibration of p-values to be written into `signatures.json`.

    Returns:
        The folder that was written.

    Raises:
        ValueError: the version is not positive, or it exists and `overwrite` is not
            set, or it cannot be written.
    """
    if version < 1:
        raise ValueError(f"version must be positive. Received: {version}.")
    base = pathlib.Path(output)
    target = base / str(version)
    if target.exists() and not overwrite:
        raise ValueError(
            f"The output {str(target)!r} exists already; name another one, another "
            "--version, or give --overwrite."
        )
    encoder = build_informed_encoder(config, encoder, decoder)
    archive = _archive(config, encoder, decoder)
    try:
        base.mkdir(parents=True, exist_ok=True)
        # TensorFlow Serving looks at folders with numbers alone, so that it never sees
        # these.
        with tempfile.TemporaryDirectory(dir=base, prefix=".partial-") as folder:
            made = pathlib.Path(folder) / "new"
            archive.write_out(str(made), verbose=False)
            extra = made / "assets.extra"
            extra.mkdir()
            with tf.io.TFRecordWriter(str(extra / WARM_UP)) as writer:
                for name, inputs in _warm_up_inputs(config).items():
                    writer.write(predict_log(base.name, name, inputs))
            code = description(config, "decoder", batch=0, presence=presence)
            about = {"code": code}
            (extra / "signatures.json").write_text(json.dumps(about, indent=2) + "\n")
            if target.exists():
                os.replace(target, pathlib.Path(folder) / "old")
            os.replace(made, target)
            shutil.rmtree(pathlib.Path(folder) / "old", ignore_errors=True)
    except OSError as error:
        raise ValueError(
            f"Cannot write {output!r}: {error.strerror or error}."
        ) from None
    return str(target)


def _archive(config, encoder, decoder) -> keras.export.ExportArchive:
    size, bits = config.image_size, config.message_bits

    def reading(canvases, valid=None):
        logits = decoder(canvases, training=False)
        if valid is None:
            valid = tf.ones([tf.shape(canvases)[0]], tf.bool)
        logits = tf.where(valid[:, tf.newaxis], logits, 0.0)
        return {
            "logits": logits,
            "probabilities": tf.sigmoid(logits),
            "bits": tf.cast(logits > 0, tf.int32),
            "valid": valid,
        }

    def open_photos(image_bytes):
        photos, valid = graph.decode_photos(image_bytes)
        canvases = tf.map_fn(
            lambda row: graph.centred_canvas(graph.open_photo(*row), size),
            (photos, image_bytes),
            fn_output_signature=tf.TensorSpec([size, size, 3], tf.uint8),
        )
        return photos, tf.cast(canvases, tf.float32) / 255.0, valid

    def residual_of(cover, message):
        inputs = {"cover": cover, "message": message}
        for name in config.encoder_inputs[2:]:
            # Canvases come without their photo, so that their scale is taken to be 1.
            level = getattr(config, name) if name == config.strength_input else 0.0
            inputs[name] = tf.fill([tf.shape(cover)[0], 1], float(level))
        return encoder(inputs, training=False)

    def tag_canvas(cover, message):
        tagged = cover + residual_of(cover, message)
        return {"tagged": tf.clip_by_value(tagged, 0.0, 1.0)}

    def tag_photo(row):
        photo, data, residual = row
        tagged = graph.add_residual(graph.open_photo(photo, data), residual)
        return tf.io.encode_png(tagged)

    def tag_bytes(image_bytes, message):
        photos, cover, valid = open_photos(image_bytes)
        tagged = tf.map_fn(
            tag_photo,
            (photos, image_bytes, residual_of(cover, message)),
            fn_output_signature=tf.TensorSpec([], tf.string),
        )
        return {"tagged_bytes": tf.where(valid, tagged, ""), "valid": valid}

    def spec(name):
        shape, dtype = {
            "image_bytes": ([], tf.string),
            "message": ([bits], tf.float32),
            "image_uint8": ([size, size, 3], tf.uint8),
        }.get(name, ([size, size, 3], tf.float32))
        return tf.TensorSpec([None, *shape], dtype, name=name.removesuffix("_uint8"))

    def read_bytes(image_bytes):
        _, canvases, valid = open_photos(image_bytes)
        return reading(canvases, valid)

    archive = keras.export.ExportArchive()
    archive.track(encoder)
    archive.track(decoder)
    for name in ("serving_default", "read_bytes"):
        archive.add_endpoint(name, read_bytes, [spec("image_bytes")])
    archive.add_endpoint("read_canvas", lambda image: reading(image), [spec("image")])
    archive.add_endpoint(
        "read_canvas_uint8",
        lambda image: reading(tf.cast(image, tf.float32) / 255.0),
        [spec("image_uint8")],
    )
    archive.add_endpoint("tag_canvas", tag_canvas, [spec("cover"), spec("message")])
    archive.add_endpoint("tag_bytes", tag_bytes, [spec("image_bytes"), spec("message")])
    return archive


def _warm_up_inputs(config: TaggerConfig) -> dict[str, dict[str, np.ndarray]]:
    photo = np.full((2 * config.image_size, 2 * config.image_size, 3), 128, np.uint8)
    photos = np.array([tf.io.encode_jpeg(photo).numpy()], object)
    message = np.zeros((1, config.message_bits), np.float32)
    return {
        "serving_default": {"image_bytes": photos},
        "read_bytes": {"image_bytes": photos},
        "tag_bytes": {"image_bytes": photos, "message": message},
    }


def predict_log(model: str, signature: str, inputs: dict[str, np.ndarray]) -> bytes:
    """Returns a warm-up request: a `tensorflow.serving.PredictionLog`, serialized.

    Written by hand (Protocol Buffers, "Encoding"): its classes come with
    `tensorflow-serving-api`, which nothing else here needs. Field numbers are those of
    prediction_log.proto, predict.proto and model.proto in TensorFlow Serving's apis.
    """
    spec = _field(1, model.encode()) + _field(3, signature.encode())
    request = _field(1, spec)
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(2, _field(1, name.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    length, size = b"", len(content)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def main(argv: list[str]) -> int:
    """Runs the command; see the module's docstring."""
    del argv
    output = require_flag("output")
    config, encoder, decoder = load_tagger(require_flag("tagger"))
    written = export_saved_model(
        config,
        encoder,
        decoder,
        output,
        FLAGS.version,
        FLAGS.overwrite,
        load_presence(FLAGS.tagger),
    )
    print(f"Wrote {written}")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("tagger", None, "A preset's name or a trained run's folder.")
    flags.DEFINE_alias("preset", "tagger")
    flags.DEFINE_string("output", None, "Folder that receives the numbered SavedModel.")
    flags.DEFINE_integer("version", 1, "Its number.", lower_bound=1)
    flags.DEFINE_bool("overwrite", False, "Replace an existing version.")
    run_main(main)
