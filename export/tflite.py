"""Exports the image decoder as a TFLite file that reads tags on a device.

    python -m export.tflite --tagger=runs/demo/joint --output=runs/demo/decoder.tflite

Input `image` float32 `[1, S, S, 3]` in [0, 1]; output logits float32 `[1, L]`,
positive for a 1. Built-in operations only. What a reader must know of the message code
is written beside the file, with the suffix `.json`.
"""

from __future__ import annotations

import hashlib
import json
import tempfile

import keras
import tensorflow as tf
from absl import flags

from faketagger_tf.command import require_flag, run_main
from faketagger_tf.config import TaggerConfig
from faketagger_tf.storage import load_tagger, write_atomic

FLAGS = flags.FLAGS


def convert_decoder(config: TaggerConfig, decoder: keras.Model) -> bytes:
    """Converts the image decoder to a float32 TFLite flatbuffer for one canvas.

    Raises:
        RuntimeError: the converter left variables outside the file.
    """
    size = config.image_size
    image = tf.TensorSpec([1, size, size, 3], tf.float32, name="image")
    archive = keras.export.ExportArchive()
    archive.track(decoder)
    archive.add_endpoint(
        "decode", lambda image: {"logits": decoder(image, training=False)}, [image]
    )
    with tempfile.TemporaryDirectory() as folder:
        # Through a SavedModel: other routes can leave the weights behind as
        # VAR_HANDLE operations, and such a file runs and returns nonsense.
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["decode"]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        content = converter.convert()
    if len(content) < 4 * decoder.count_params() * 0.9:
        raise RuntimeError(
            f"The TFLite file has {len(content)} bytes, too few for "
            f"{decoder.count_params()} float32 weights."
        )
    return content


def sidecar(config: TaggerConfig, content: bytes) -> dict:
    """Describes a decoder's file: input, message code, checksum."""
    return {
        "format": "faketagger-tf decoder 1",
        "preset": config.preset,
        "image_size": config.image_size,
        "canvas_scale": config.canvas_scale,
        "input_range": [0.0, 1.0],
        "message_bits": config.message_bits,
        "payload_bits": config.payload_bits,
        "crc_bits": config.crc_bits,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def main(argv: list[str]) -> int:
    """Runs the command; see the module's docstring."""
    del argv
    config, _, decoder = load_tagger(require_flag("tagger"))
    output = require_flag("output")
    content = convert_decoder(config, decoder)
    write_atomic(output, content)
    write_atomic(
        f"{output}.json", json.dumps(sidecar(config, content), indent=2) + "\n"
    )
    print(f"Wrote {output} ({len(content) / 1024:.0f} KiB)")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("tagger", None, "A preset's name or a trained run's folder.")
    flags.DEFINE_string("output", None, "TFLite file to write.")
    run_main(main)
