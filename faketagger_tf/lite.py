"""Reads tags with a TFLite file alone; TensorFlow need not be installed.

    python -m faketagger_tf.lite decoder.tflite canvas.png [...] [--fpr=1e-6]

Needs NumPy and ai-edge-litert (or TensorFlow's interpreter); photo files also need
OpenCV, which NumPy cannot replace.

The files are canvases: each is read at one place, its largest centred square, and no
face is looked for. A photo tagged by `faketagger tag` carries its tag on the face, so
that nothing is found in it here unless the face's canvas is cut out first: `faketagger
trace PHOTO --canvas=canvas.png` writes it. Keyed tags are not read.

A tag counts as found where its checksum is right and its p-value at most `--fpr`, as
for `faketagger trace`. Short codes need a perfect photo for 1e-6: give the 16 bits of
`seed64` `--fpr=1e-3`. Where even a reading of score 1 would not reach the rate, the
checksum alone decides, and a note says so.

Exit codes: 0 a tag was found, 1 none was, 2 an error, or a file could not be read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pathlib
import struct
import sys
from collections.abc import Callable

import numpy as np

from faketagger_tf.messages import Decoded, MessageCode, format_payload
from faketagger_tf.messages.presence import Presence, surprise

METADATA = "faketagger"  # Name of the description among a file's metadata.


def load_decoder(path: str, threads: int = 1) -> Callable[[np.ndarray], np.ndarray]:
    """Opens a decoder written by export.tflite, of any precision.

    Args:
        path: the .tflite file.
        threads: threads that one call may use.

    Returns:
        A function: float32 canvases `[N, S, S, 3]` in [0, 1] -> logits `[N, L]`. It
        raises a ValueError for canvases of another shape.

    Raises:
        ValueError: no such file, or no TFLite decoder in it.
    """
    interpreter = _interpreter(path, threads)
    signatures = list(interpreter.get_signature_list())
    if "decode" not in signatures:
        kind = "an encoder" if "tag" in signatures else "no decoder of ours"
        raise ValueError(
            f"{path!r} is {kind}. Received: signatures {signatures}. Accepted: a file "
            "written by export.tflite --model=decoder."
        )
    source = interpreter.get_input_details()[0]
    target = interpreter.get_output_details()[0]
    shape = source["shape_signature"]

    def run(canvases: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source["index"], canvases)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"]).copy()

    def decode(canvases: np.ndarray) -> np.ndarray:
        canvases = np.ascontiguousarray(canvases, np.float32)
        if canvases.shape[1:] != tuple(shape[1:]):
            raise ValueError(
                f"Canvases must have the shape {['N', *shape[1:].tolist()]}. "
                f"Received: {list(canvases.shape)}."
            )
        if not len(canvases):
            return np.zeros((0, target["shape"][1]), np.float32)
        if shape[0] != -1:
            return np.concatenate([run(canvas[np.newaxis]) for canvas in canvases])
        current = interpreter.get_input_details()[0]["shape"][0]
        if current != len(canvases):
            interpreter.resize_tensor_input(source["index"], canvases.shape)
            interpreter.allocate_tensors()
        return run(canvases)

    return decode


def load_description(path: str) -> dict:
    """Reads what export.tflite wrote into a file about its tensors and message code.

    Raises:
        ValueError: no such file, no description in it, or a sidecar (`path` + ".json")
            whose SHA-256 is another file's.
    """
    # A named pipe would be waited for, and a device could be read, for ever.
    if pathlib.Path(path).exists() and not pathlib.Path(path).is_file():
        raise ValueError(
            f"The decoder {path!r} is not a regular file. Accepted: a file written by "
            "export.tflite."
        )
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(
            f"There is no decoder file {path!r}: {error.strerror or error}."
        ) from None
    try:
        about = json.loads(_metadata(content)[METADATA])
    except (KeyError, IndexError, ValueError, struct.error):
        raise ValueError(
            f"{path!r} is no TFLite decoder of ours: it holds no metadata "
            f"{METADATA!r}. Accepted: a file written by export.tflite."
        ) from None
    sidecar = pathlib.Path(f"{path}.json")
    if sidecar.is_file():
        try:
            expected = json.loads(sidecar.read_text("utf-8"))["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            raise ValueError(
                f"The description {str(sidecar)!r} is damaged: it holds no SHA-256."
            ) from None
        received = hashlib.sha256(content).hexdigest()
        if received != expected:
            raise ValueError(
                f"{path!r} is not the file that {str(sidecar)!r} describes. Received: "
                f"SHA-256 {received}. Accepted: {expected}."
            )
    return about


def read_canvases(decoder: str, canvases: np.ndarray) -> Decoded:
    """Reads the tags of canvases: uint8 `[N, S, S, 3]`, RGB. Errors as above."""
    code = _code(load_description(decoder))
    return code.decode(load_decoder(decoder)(canvases.astype(np.float32) / 255.0))


def read_files(decoder: str, photos: list[str]) -> dict[str, Decoded | str]:
    """Reads the centred canvas of every photo.

    Args:
        decoder: a .tflite file.
        photos: image files.

    Returns:
        Photo -> what was decoded (one word), or one sentence about what went wrong.

    Raises:
        ValueError: the decoder cannot be read, or there is no OpenCV.
    """
    try:
        from faketagger_tf.photos.canvas import canvas_square, crop_canvas
        from faketagger_tf.photos.codec import read_photo
    except ImportError as error:
        raise ValueError(
            f"Opening photos needs a package that is missing, {error.name}: "
            "python -m pip install opencv-python-headless."
        ) from None
    about = load_description(decoder)
    decode = load_decoder(decoder)
    code = _code(about)
    results: dict[str, Decoded | str] = {}
    for path in photos:
        try:
            pixels = read_photo(path)
        except ValueError as error:
            results[path] = str(error)
            continue
        square = canvas_square(pixels.shape[1], pixels.shape[0])
        canvas = crop_canvas(pixels, square, about["image_size"])
        results[path] = code.decode(decode(canvas[None].astype(np.float32) / 255.0))
    return results


def p_values(about: dict, read: Decoded) -> list[float]:
    """Returns the probability of each reading on a canvas without a tag.

    Args:
        about: the decoder's description, see `load_description`.
        read: what it decoded.
    """
    code, presence = _code(about), _presence(about)
    surprises = surprise(read.score, code.message_bits, code.k)
    return [
        presence.p_value(float(x), code.crc_bits if crc_ok else 0)
        for x, crc_ok in zip(surprises, read.crc_ok, strict=True)
    ]


def is_too_short(about: dict, fpr: float) -> bool:
    """Tells whether a decoder's code has too few bits for p-values of `fpr`.

    That is so where even a perfect reading, of score 1, would not reach it.
    """
    code = _code(about)
    perfect = float(surprise(1.0, code.message_bits, code.k))
    return _presence(about).p_value(perfect, code.crc_bits) > fpr


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise ValueError(f"{message[0].upper()}{message[1:]}; see --help.")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = _Parser(
        "python -m faketagger_tf.lite",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("decoder", help="file written by export.tflite")
    parser.add_argument("photo", nargs="+", help="canvas to read")
    parser.add_argument(
        "--fpr",
        type=float,
        default=1e-6,
        help="largest p-value of a tag that counts as found (default: 1e-6)",
    )
    values = parser.parse_args(arguments)
    if not 0 < values.fpr <= 1:
        raise ValueError(
            f"--fpr must be a rate. Received: {values.fpr}. Accepted: above 0, up to 1."
        )
    return values


def main(arguments: list[str]) -> int:
    """Prints a line for every photo; returns the exit code."""
    try:
        values = _parse(arguments)
        about = load_description(values.decoder)
        results = read_files(values.decoder, values.photo)
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    short = is_too_short(about, values.fpr)
    if short:
        print(
            f"Note: {about['message_bits']} bits for a payload of "
            f"{about['payload_bits']} are too few for p-values of {values.fpr:g}, so "
            "that the checksum alone decides, which is right by chance in 1 of "
            f"{2 ** about['crc_bits']} photos without a tag, or more.",
            file=sys.stderr,
        )
    failed = any_found = False
    for path, result in results.items():
        if isinstance(result, str):
            print(f"{path}: {result}", file=sys.stderr)
            failed = True
            continue
        p_value = p_values(about, result)[0]
        found = bool(result.crc_ok[0]) and (short or p_value <= values.fpr)
        any_found |= found
        if found:
            payload = format_payload(result.payloads[0], about["payload_bits"])
            corrected = f"{result.corrected_bits[0]} bits corrected"
            print(f"{path}  payload {payload}  p {p_value:.2g}  {corrected}")
        else:
            print(f"{path}  no tag  p {p_value:.2g}")
    return 2 if failed else 0 if any_found else 1


def _code(about: dict) -> MessageCode:
    return MessageCode(about["payload_bits"], about["message_bits"], about["crc_bits"])


def _presence(about: dict) -> Presence:
    """The calibration in a description; the ideal model in files from before it."""
    fields = about.get("presence")
    if fields is None:
        return Presence.ideal(1)
    return Presence(fields["threshold"], fields["rate"], fields["scale"])


def _interpreter(path: str, threads: int):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tensorflow.lite import Interpreter
        except ImportError:
            raise ValueError(
                "Reading a TFLite file needs ai-edge-litert: "
                "python -m pip install ai-edge-litert."
            ) from None
    if not pathlib.Path(path).is_file():
        raise ValueError(f"There is no decoder file {path!r}.")
    try:
        interpreter = Interpreter(model_path=path, num_threads=threads)
        interpreter.allocate_tensors()
        return interpreter
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path!r} is no TFLite decoder: {error}") from None


def _metadata(content: bytes) -> dict[str, bytes]:
    """Returns a TFLite file's metadata buffers by name.

    The few steps through the FlatBuffer are written out, because Python's interpreter
    does not offer them. Field numbers: `Model` buffers 4, metadata 6; `Metadata` name
    0, buffer 1; `Buffer` data 0 (tensorflow/lite/schema/schema.fbs).
    """
    if content[4:8] != b"TFL3":
        raise ValueError("no TFLite file")

    def uint32(at: int) -> int:
        return struct.unpack_from("<I", content, at)[0]

    def field(table: int, number: int) -> int | None:
        """Position of a table's field; None where it has its default."""
        vtable = table - struct.unpack_from("<i", content, table)[0]
        if 4 + 2 * number >= struct.unpack_from("<H", content, vtable)[0]:
            return None
        offset = struct.unpack_from("<H", content, vtable + 4 + 2 * number)[0]
        return table + offset if offset else None

    def follow(at: int) -> int:
        return at + uint32(at)

    def tables(at: int | None) -> list[int]:
        if at is None:
            return []
        vector = follow(at)
        return [follow(vector + 4 + 4 * i) for i in range(uint32(vector))]

    def data(at: int | None) -> bytes:
        if at is None:
            return b""
        vector = follow(at)
        return content[vector + 4 : vector + 4 + uint32(vector)]

    model = follow(0)
    buffers = tables(field(model, 4))
    found = {}
    for entry in tables(field(model, 6)):
        number = field(entry, 1)
        buffer = buffers[uint32(number) if number is not None else 0]
        found[data(field(entry, 0)).decode()] = data(field(buffer, 0))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
