"""Exports a tagger's networks as TFLite files for phones and browsers.

    python -m export.tflite --tagger=runs/demo/joint --output=runs/demo/decoder.tflite
    python -m export.tflite --tagger=runs/demo/joint --output=small.tflite \\
        --precision=int8 --data=photos/

Signature `decode`: `image` float32 `[N, S, S, 3]` in [0, 1] -> `logits` float32
`[N, L]`, positive for a 1. Signature `tag` (`--model=encoder`): `cover` as `image`,
`message` float32 `[N, L]` of 0 and 1 and, unless its strength is learned, the strength
float32 `[N, 1]` in dB (`psnr` or `level`; with the latter also `scale`, see
`tagging.networks`) -> `residual` float32 `[N, S, S, 3]`, to be enlarged to the photo's
size and added to it. N is 1, or free with `--batch=0`; LiteRT.js needs a fixed one.
Inputs and outputs are float32 in every precision. Built-in operations only.

What a reader must know stands in the file, as metadata named `faketagger` (JSON), and
beside it with the file's SHA-256, under the suffix `.json`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import pathlib
import tempfile
import tomllib

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from faketagger_tf.command import require_flag, run_main
from faketagger_tf.config import ANCHOR, FORMAT, TaggerConfig
from faketagger_tf.evaluation.canvases import tag_canvases
from faketagger_tf.files import write_atomic
from faketagger_tf.lite import METADATA
from faketagger_tf.messages import MessageCode
from faketagger_tf.messages.presence import Presence
from faketagger_tf.models import build_informed_encoder
from faketagger_tf.presets import load_presence, load_tagger

FLAGS = flags.FLAGS

PRECISIONS = {
    "decoder": ("float32", "float16", "dynamic", "int8"),
    "encoder": ("float32", "float16"),
}
CALIBRATION_CANVASES = 48


def convert_decoder(
    config: TaggerConfig,
    decoder: keras.Model,
    precision: str = "float32",
    batch: int = 1,
    calibration: np.ndarray | None = None,
    presence: Presence | None = None,
) -> bytes:
    """Converts the image decoder.

    Args:
        config: the tagger's configuration.
        decoder: the image decoder.
        precision: "float32"; "float16", weights stored as halves; "dynamic", int8
            weights and float activations where the runtime likes them; or "int8",
            weights and activations, the logits with a scale of their own.
        batch: canvases per call; 0 leaves the number free.
        calibration: for "int8", float32 canvases `[N, S, S, 3]` in [0, 1] as the
            decoder will meet them; see `calibration_canvases`.
        presence: the calibration of p-values, written into the file; None writes the
            ideal model.

    Returns:
        The file's content, its description included.

    Raises:
        ValueError: unknown precision, a negative batch, or int8 without canvases.
        RuntimeError: the converter left variables outside the file.
    """
    _check("decoder", precision, batch)
    if precision == "int8" and (calibration is None or not len(calibration)):
        raise ValueError(
            "int8 must be calibrated on canvases. Received: none. Accepted: float32 "
            f"of shape [N, {config.image_size}, {config.image_size}, 3]."
        )
    image = _spec(config, "image", batch)
    content = _convert(
        decoder,
        "decode",
        lambda image: {"logits": decoder(image, training=False)},
        [image],
        precision,
        calibration,
    )
    about = description(config, "decoder", precision, batch, presence)
    return _describe(content, about)


def convert_encoder(
    config: TaggerConfig,
    encoder: keras.Model,
    precision: str = "float32",
    batch: int = 1,
) -> bytes:
    """Converts the image encoder; arguments and errors as for `convert_decoder`."""
    _check("encoder", precision, batch)
    names = config.encoder_inputs

    def tag(*inputs):
        named = dict(zip(names, inputs, strict=True))
        return {"residual": encoder(named, training=False)}

    content = _convert(
        encoder, "tag", tag, [_spec(config, name, batch) for name in names], precision
    )
    return _describe(content, description(config, "encoder", precision, batch))


def calibration_canvases(
    config: TaggerConfig, encoder: keras.Model, covers: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Makes the canvases that int8 ranges are taken from.

    A quarter each: untagged, tagged, tagged and JPEG 50, tagged with another photo's
    face blended in and JPEG 75.

    Args:
        config: the tagger's configuration.
        encoder: the image encoder.
        covers: uint8 `[N, S, S, 3]`, at least 2.
        seed: of the payloads and manipulations.

    Returns:
        float32 `[N, S, S, 3]` in [0, 1].

    Raises:
        ValueError: fewer than two covers.
    """
    # Not needed for the other precisions, and slow to import.
    from faketagger_tf.manipulations import Context, parse_chain

    if len(covers) < 2:
        raise ValueError(
            f"Calibration needs at least two canvases. Received: {len(covers)}."
        )
    rng = np.random.default_rng(seed)
    code = MessageCode(config.payload_bits, config.message_bits, config.crc_bits)
    tagged = tag_canvases(
        config, encoder, covers, code.encode(code.random_payloads(len(covers), rng))
    )
    context = Context(donors=np.roll(covers, 1, axis=0), face_region=config.face_region)
    chains = [None, "identity", "jpeg(50)", "facepaste|jpeg(75)"]
    canvases = covers.copy()
    for number, chain in enumerate(chains):
        if chain:
            made = parse_chain(chain).apply_real(tagged, rng, context)
            canvases[number :: len(chains)] = made[number :: len(chains)]
    return canvases.astype(np.float32) / 255.0


def description(
    config: TaggerConfig,
    model: str,
    precision: str = "float32",
    batch: int = 1,
    presence: Presence | None = None,
) -> dict:
    """Describes a file: tensors, canvas and message code. Batch 0 is written as -1.

    `generator` and `payload_generator` hold one row of hexadecimal digits per bit of
    payload + CRC and of payload, most significant first: XOR the rows of the bits
    that are 1 to get the code word. The checksum is right where the payload's own
    code word is the one that was read.

    A decoder's `presence` is what turns the score of a reading into a p-value, see
    `faketagger_tf.messages.presence`; without one the ideal model for a single canvas.
    """
    code = MessageCode(config.payload_bits, config.message_bits, config.crc_bits)
    canvas = [batch or -1, config.image_size, config.image_size, 3]
    bits = [batch or -1, config.message_bits]

    def tensor(name, shape, low=None, high=None):
        about = {"name": name, "shape": shape, "dtype": "float32"}
        return about if low is None else {**about, "range": [low, high]}

    if model == "decoder":
        signature, outputs = "decode", [tensor("logits", bits)]
        inputs = [tensor("image", canvas, 0.0, 1.0)]
    else:
        signature, outputs = "tag", [tensor("residual", canvas)]
        inputs = [tensor("cover", canvas, 0.0, 1.0), tensor("message", bits, 0.0, 1.0)]
        for name in config.encoder_inputs[2:]:
            about = tensor(name, [batch or -1, 1])
            if name == config.strength_input:
                about["default"] = getattr(config, name)
            inputs.append(about)
    about = {
        "format": f"faketagger {model} {FORMAT}",
        "version": _version(),
        "preset": config.preset,
        "precision": precision,
        "signature": signature,
        "inputs": inputs,
        "outputs": outputs,
        "image_size": config.image_size,
        "canvas_scale": config.canvas_scale,
        "outside": config.outside,
        "anchor": ANCHOR,
        "message_bits": config.message_bits,
        "payload_bits": config.payload_bits,
        "crc_bits": config.crc_bits,
        "code": code.name,
        "generator": _hex_rows(code.layout.generator_matrix()),
        "payload_generator": _hex_rows(
            code.encode(np.eye(config.payload_bits, dtype=np.uint8))
        ),
    }
    if model == "decoder":
        fields = dataclasses.asdict(presence or Presence.ideal(1))
        about["presence"] = {k: fields[k] for k in ("threshold", "rate", "scale")}
    return about


def sidecar(content: bytes) -> str:
    """Returns the JSON that goes beside a file: its metadata and its SHA-256."""
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    entry = next(entry for entry in model.metadata if entry.name == METADATA.encode())
    about = json.loads(bytes(bytearray(model.buffers[entry.buffer].data)))
    about["sha256"] = hashlib.sha256(content).hexdigest()
    return json.dumps(about, indent=2) + "\n"


def write_model(output: str, content: bytes, overwrite: bool = False) -> None:
    """Writes a file and its sidecar, each whole or not at all.

    Raises:
        ValueError: either exists and `overwrite` is not set, or cannot be written.
    """
    check_output(output, overwrite)
    write_atomic(output, content)
    write_atomic(f"{output}.json", sidecar(content))


def check_output(output: str, overwrite: bool = False) -> None:
    """Does what `write_model` may fail at, before a conversion that takes long.

    Raises:
        ValueError: as `write_model`.
    """
    for path in pathlib.Path(output), pathlib.Path(f"{output}.json"):
        if path.is_dir():
            raise ValueError(
                f"The output {str(path)!r} is a folder. Accepted: the name of a file."
            )
        if path.exists() and not overwrite:
            raise ValueError(
                f"The output {str(path)!r} exists already; name another one or give "
                "--overwrite."
            )
    # Where the folder has to be made, the next one above it that is there.
    folder = pathlib.Path(output).absolute().parent
    try:
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"Cannot write {output!r}: {error.strerror or error}."
        ) from None


def _check(model: str, precision: str, batch: int) -> None:
    if precision not in PRECISIONS[model]:
        raise ValueError(
            f"precision of the {model} must be one of {', '.join(PRECISIONS[model])}. "
            f"Received: {precision!r}."
        )
    if batch < 0:
        raise ValueError(
            f"batch must be positive, or 0 for any number. Received: {batch}."
        )


def _spec(config: TaggerConfig, name: str, batch: int) -> tf.TensorSpec:
    size = config.image_size
    canvas = [size, size, 3]
    sizes = {"message": [config.message_bits], "image": canvas, "cover": canvas}
    shape = sizes.get(name, [1])
    return tf.TensorSpec([batch or None, *shape], tf.float32, name=name)


def _convert(model, signature, function, specs, precision, calibration=None) -> bytes:
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(signature, function, specs)
    with tempfile.TemporaryDirectory() as folder:
        # Through a SavedModel: other routes can leave the weights behind as
        # VAR_HANDLE operations, and such a file runs and returns nonsense.
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=[signature]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.representative_dataset = lambda: (
                {specs[0].name: canvas[None]} for canvas in calibration
            )
        content = converter.convert()
    bytes_per_weight = {"float32": 4, "float16": 2}.get(precision, 1)
    if len(content) < bytes_per_weight * model.count_params() * 0.9:
        raise RuntimeError(
            f"The TFLite file has {len(content)} bytes, too few for "
            f"{model.count_params()} {precision} weights."
        )
    return bytes(content)


def _describe(content: bytes, about: dict) -> bytes:
    """Puts a description into a file, as the metadata buffer `METADATA`."""
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(json.dumps(about).encode(), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _hex_rows(bits: np.ndarray) -> list[str]:
    digits = -(-bits.shape[1] // 4)
    padding = "0" * (4 * digits - bits.shape[1])
    return [f"{int(''.join(map(str, row)) + padding, 2):0{digits}x}" for row in bits]


def _version() -> str:
    try:
        return importlib.metadata.version("faketagger-tf")
    except importlib.metadata.PackageNotFoundError:
        # Not installed, as after `make demo`: then it lies beside its pyproject.toml.
        project = pathlib.Path(__file__).parents[1] / "pyproject.toml"
        return tomllib.loads(project.read_text("utf-8"))["project"]["version"]


def main(argv: list[str]) -> int:
    """Runs the command; see the module's docstring."""
    del argv
    output = require_flag("output")
    _check(FLAGS.model, FLAGS.precision, FLAGS.batch)
    check_output(output, FLAGS.overwrite)
    config, encoder, decoder = load_tagger(require_flag("tagger"))
    if FLAGS.model == "encoder":
        encoder = build_informed_encoder(config, encoder, decoder)
        content = convert_encoder(config, encoder, FLAGS.precision, FLAGS.batch)
    else:
        calibration = None
        if FLAGS.precision == "int8":
            # Reading photos is not needed for the other precisions.
            from faketagger_tf.data.load import load_split

            covers, _ = load_split(
                FLAGS.data,
                "train",
                image_size=config.image_size,
                canvas_scale=config.canvas_scale,
                outside=config.outside,
            )
            step = max(1, len(covers) // CALIBRATION_CANVASES)
            covers = covers[::step][:CALIBRATION_CANVASES]
            calibration = calibration_canvases(config, encoder, covers)
        content = convert_decoder(
            config,
            decoder,
            FLAGS.precision,
            FLAGS.batch,
            calibration,
            load_presence(FLAGS.tagger),
        )
    write_model(output, content, FLAGS.overwrite)
    print(f"Wrote {output} ({len(content) / 1024:.0f} KiB)")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("tagger", None, "A preset's name or a trained run's folder.")
    flags.DEFINE_alias("preset", "tagger")
    flags.DEFINE_string("output", None, "TFLite file to write.")
    flags.DEFINE_enum("model", "decoder", list(PRECISIONS), "Which network to export.")
    flags.DEFINE_enum(
        "precision",
        "float32",
        list(PRECISIONS["decoder"]),
        "Numbers in the file; the encoder takes float32 and float16.",
    )
    flags.DEFINE_integer(
        "batch", 1, "Canvases per call; 0 leaves the number free.", lower_bound=0
    )
    flags.DEFINE_string(
        "data", "drawn", "'drawn' or a folder of photos, to calibrate int8 on."
    )
    flags.DEFINE_bool("overwrite", False, "Replace an existing output.")
    run_main(main)
