"""Exports a tagger as one SavedModel.

    python -m export.saved_model --tagger=runs/demo/joint --output=runs/demo/saved_model

Signatures:
    serving_default: `image` float32 `[batch, S, S, 3]` in [0, 1] -> `logits`
        float32 `[batch, L]`, positive for a 1.
    tag_canvas: `cover` float32 `[batch, S, S, 3]` in [0, 1], `message` float32
        `[batch, L]` of 0 and 1 -> `tagged` float32 `[batch, S, S, 3]` in [0, 1].
"""

from __future__ import annotations

import pathlib
import shutil
import tempfile

import keras
import tensorflow as tf
from absl import flags

from faketagger_tf.command import require_flag, run_main
from faketagger_tf.config import TaggerConfig
from faketagger_tf.storage import load_tagger

FLAGS = flags.FLAGS


def export_saved_model(
    config: TaggerConfig, encoder: keras.Model, decoder: keras.Model, output: str
) -> None:
    """Writes the SavedModel folder `output`, all of it or nothing.

    Raises:
        ValueError: `output` exists or cannot be written.
    """
    target = pathlib.Path(output)
    if target.exists():
        raise ValueError(f"The output {output!r} exists already; name another one.")
    size, bits = config.image_size, config.message_bits

    def decode(image):
        return {"logits": decoder(image, training=False)}

    def tag(cover, message):
        inputs = {"cover": cover, "message": message}
        if config.strength == "scheduled":
            inputs["psnr"] = tf.fill([tf.shape(cover)[0], 1], float(config.psnr))
        tagged = cover + encoder(inputs, training=False)
        return {"tagged": tf.clip_by_value(tagged, 0.0, 1.0)}

    image = tf.TensorSpec([None, size, size, 3], tf.float32, name="image")
    cover = tf.TensorSpec([None, size, size, 3], tf.float32, name="cover")
    message = tf.TensorSpec([None, bits], tf.float32, name="message")
    archive = keras.export.ExportArchive()
    archive.track(encoder)
    archive.track(decoder)
    archive.add_endpoint("serving_default", decode, [image])
    archive.add_endpoint("tag_canvas", tag, [cover, message])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=target.parent, prefix=".partial-"
        ) as folder:
            archive.write_out(f"{folder}/model", verbose=False)
            shutil.move(f"{folder}/model", target)
    except OSError as error:
        raise ValueError(
            f"Cannot write {output!r}: {error.strerror or error}."
        ) from None


def main(argv: list[str]) -> int:
    """Runs the command; see the module's docstring."""
    del argv
    config, encoder, decoder = load_tagger(require_flag("tagger"))
    export_saved_model(config, encoder, decoder, require_flag("output"))
    print(f"Wrote {FLAGS.output}")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("tagger", None, "A preset's name or a trained run's folder.")
    flags.DEFINE_string("output", None, "SavedModel folder to write.")
    run_main(main)
