"""Reads the tags of photos with one decoder file.

    python -m faketagger_tf.lite decoder.tflite photo.jpg [...] [--fpr=1e-6]
    python -m faketagger_tf.lite decoder.tflite canvas.png [...] --canvas

What `faketagger trace` finds in a photo is found here too: faces, both ways, with the
same search. All that it knows of the tagger stands in the file. With `--canvas` each
file is a canvas, as `faketagger trace PHOTO --canvas=canvas.png` writes it, and is read
at one place, its largest centred square. Keyed tags are not read.

Needs NumPy, OpenCV, Pillow and ai-edge-litert; `read_canvases` needs no OpenCV and no
Pillow. Photos are read as `trace` reads them, damaged ones too.

A tag counts as found where its checksum is right and its p-value at most `--fpr`.
Short codes do not reach 1e-6: give the 16 bits of `seed64` `--fpr=1e-3`. Where even a
reading of score 1 would not reach the rate, a note says so, and of a canvas the
checksum alone decides; a whole photo has too many places for that.

Exit codes: 0 a tag was found, 1 none was, 2 an error, or a file could not be read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pathlib
import re
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from faketagger_tf.config import FORMAT, TaggerConfig
from faketagger_tf.messages import Decoded, MessageCode, format_payload
from faketagger_tf.messages.presence import Presence, surprise
from faketagger_tf.names import one_line, printable
from faketagger_tf.tagging.networks import Networks, lite_decoder

if TYPE_CHECKING:
    from faketagger_tf.tagging.tagger import Reading, Tagger

METADATA = "faketagger"  # Name of the description among a file's metadata.


def load_decoder(path: str, threads: int = 1) -> Callable[[np.ndarray], np.ndarray]:
    """Opens a decoder written by export.tflite, of any precision.

    Args:
        path: the .tflite file.
        threads: threads that one call may use.

    Returns:
        A function: float32 canvases `[N, S, S, 3]` in [0, 1] -> logits `[N, L]`. It
        raises a ValueError for canvases of another shape, and may be called from many
        threads.

    Raises:
        ValueError: no such file, or no TFLite decoder in it.
    """
    model = lite_decoder(path, threads)
    return lambda canvases: model({"image": canvases})["logits"]


def load_description(path: str) -> dict:
    """Reads what export.tflite wrote into a file about its tensors and message code.

    Raises:
        ValueError: no such file, no description in it or one of a later release, or a
            sidecar (`path` + ".json") whose SHA-256 is another file's.
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
    version = re.search(r"\d+$", str(about.get("format", "1")))
    if not version or int(version[0]) > FORMAT:
        raise ValueError(
            f"{path!r} was written by a later release and cannot be read. Received: "
            f"format {about['format']!r}. Accepted: versions up to {FORMAT}."
        )
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


def load_tagger(decoder: str) -> Tagger:
    """Makes a tagger that reads, out of a decoder's file alone.

    Raises:
        ValueError: the file cannot be read, or there is no OpenCV. Embedding raises
            one too.
    """
    about = load_description(decoder)
    decode = load_decoder(decoder)
    try:
        from faketagger_tf.tagging.search import PLACES
        from faketagger_tf.tagging.tagger import Tagger
    except ImportError as error:
        raise _missing(error) from None

    def refuse(*_):
        raise ValueError(
            f"Tagging needs an encoder. Received: a decoder alone, {decoder!r}. "
            "Accepted: Tagger.load, with a preset."
        )

    names = ("image_size", "canvas_scale", "message_bits", "payload_bits", "crc_bits")
    fields = {name: about[name] for name in (*names, "outside") if name in about}
    config = TaggerConfig(strength="learned", **fields)
    networks = Networks(config, refuse, decode, refuse)
    return Tagger(config, networks, _presence(about, PLACES))


def read_canvases(decoder: str, canvases: np.ndarray) -> Decoded:
    """Reads the tags of canvases: uint8 `[N, S, S, 3]`, RGB. Errors as above."""
    code = _code(load_description(decoder))
    return code.decode(load_decoder(decoder)(canvases.astype(np.float32) / 255.0))


def read_files(decoder: str, photos: list[str]) -> dict[str, Decoded | str]:
    """Reads the centred canvas of every photo; no face is looked for.

    Args:
        decoder: a .tflite file.
        photos: image files.

    Returns:
        Photo -> what was decoded (one word), or one sentence about what went wrong.

    Raises:
        ValueError: the decoder cannot be read, or there is no OpenCV.
    """
    about, decode = load_description(decoder), load_decoder(decoder)
    code, size = _code(about), about["image_size"]
    try:
        from faketagger_tf.photos.canvas import canvas_square, crop_canvas
        from faketagger_tf.photos.codec import read_photo
    except ImportError as error:
        raise _missing(error) from None

    def read(pixels: np.ndarray) -> Decoded:
        square = canvas_square(pixels.shape[1], pixels.shape[0])
        canvas = crop_canvas(pixels, square, size)
        return code.decode(decode(canvas[None].astype(np.float32) / 255.0))

    # Canvases are as small as their tagger's: they must not get a border.
    return _each(photos, lambda path: read(read_photo(path)))


def read_photos(
    decoder: str, photos: list[str], fpr: float = 1e-6
) -> dict[str, list[Reading] | str]:
    """Reads the faces of every photo, as `Tagger.examine` does.

    Arguments and errors as for `read_files`.

    Returns:
        Photo -> its readings, at least one, or one sentence about what went wrong.
    """
    tagger = load_tagger(decoder)
    try:
        from faketagger_tf.photos.suspect import read_suspect
    except ImportError as error:
        raise _missing(error) from None
    return _each(photos, lambda path: tagger.examine(read_suspect(path).pixels, fpr))


def _each(photos: list[str], read: Callable) -> dict:
    results = {}
    for path in photos:
        try:
            results[path] = read(path)
        except ValueError as error:
            results[path] = str(error)
    return results


def _missing(error: ImportError) -> ValueError:
    return ValueError(
        f"Opening photos needs a package that is missing, {error.name}: "
        "python -m pip install opencv-python-headless pillow."
    )


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


def is_too_short(about: dict, fpr: float, places: int = 1) -> bool:
    """Tells whether a decoder's code has too few bits for p-values of `fpr`.

    That is so where even a perfect reading, of score 1, would not reach it.
    """
    code = _code(about)
    perfect = float(surprise(1.0, code.message_bits, code.k))
    return _presence(about, places).p_value(perfect, code.crc_bits) > fpr


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
    parser.add_argument("photo", nargs="+", help="photo to read")
    parser.add_argument(
        "--canvas", action="store_true", help="the files are canvases; find no faces"
    )
    parser.add_argument(
        "--fpr",
        type=float,
        default=1e-6,
        help="largest p-value of a tag that counts as found (default: 1e-6)",
    )
    values = parser.parse_args(arguments)
    if not 0 < values.fpr < 1:
        raise ValueError(
            f"--fpr must be a rate. Received: {values.fpr}. Accepted: above 0, below 1."
        )
    return values


def main(arguments: list[str]) -> int:
    """Prints a line per tag, or per photo without one; returns the exit code."""
    try:
        values = _parse(arguments)
        about = load_description(values.decoder)
        read = _canvas_lines if values.canvas else _photo_lines
        lines = read(about, values)
    except ValueError as error:
        print(f"Error: {one_line(str(error))}", file=sys.stderr)
        return 2
    failed = any_found = False
    for path, found, text in lines:
        failed |= found is None
        any_found |= bool(found)
        line = printable(path) + one_line(text)
        print(line, file=sys.stderr if found is None else sys.stdout)
    return 2 if failed else 0 if any_found else 1


def _photo_lines(about: dict, values) -> list[tuple[str, bool | None, str]]:
    """(photo, whether a tag was found or None for an error, text) of each line."""
    results = read_photos(values.decoder, values.photo, values.fpr)
    from faketagger_tf.tagging.search import PLACES

    if is_too_short(about, values.fpr, PLACES):
        _note(about, values.fpr, "no tag of a photo can be found; --fpr=1e-3 may do")
    lines = []
    for path, result in results.items():
        if isinstance(result, str):
            lines.append((path, None, f": {result}"))
            continue
        for reading in [r for r in result if r.found]:
            text = _found(
                about, reading.payload, reading.p_value, reading.corrected_bits
            )
            lines.append((path, True, text + "  mirrored" * reading.mirrored))
        if not any(reading.found for reading in result):
            p_value = min(reading.p_value for reading in result)
            lines.append((path, False, f"  no tag  p {p_value:.2g}"))
    return lines


def _canvas_lines(about: dict, values) -> list[tuple[str, bool | None, str]]:
    """As `_photo_lines`, of canvases."""
    results = read_files(values.decoder, values.photo)
    short = is_too_short(about, values.fpr)
    if short:
        _note(
            about,
            values.fpr,
            "the checksum alone decides, which is right by chance in 1 of "
            f"{2 ** about['crc_bits']} canvases without a tag, or more",
        )
    lines = []
    for path, result in results.items():
        if isinstance(result, str):
            lines.append((path, None, f": {result}"))
            continue
        p_value = p_values(about, result)[0]
        found = bool(result.crc_ok[0]) and (short or p_value <= values.fpr)
        text = f"  no tag  p {p_value:.2g}"
        if found:
            corrected = int(result.corrected_bits[0])
            text = _found(about, result.payloads[0], p_value, corrected)
        lines.append((path, found, text))
    return lines


def _found(about: dict, payload: int, p_value: float, corrected: int) -> str:
    written = format_payload(payload, about["payload_bits"])
    return f"  payload {written}  p {p_value:.2g}  {corrected} bits corrected"


def _note(about: dict, fpr: float, consequence: str) -> None:
    print(
        f"Note: {about['message_bits']} bits for a payload of {about['payload_bits']} "
        f"are too few for p-values of {fpr:g}, so that {consequence}.",
        file=sys.stderr,
    )


def _code(about: dict) -> MessageCode:
    return MessageCode(about["payload_bits"], about["message_bits"], about["crc_bits"])


def _presence(about: dict, places: int = 1) -> Presence:
    """The calibration in a description; else the ideal model for so many places.

    A tagger without a calibration is described by the ideal model for a single place;
    files from before calibrations say nothing.
    """
    fields = about.get("presence")
    presence = Presence(**fields) if fields else Presence.ideal(1)
    return Presence.ideal(places) if presence == Presence.ideal(1) else presence


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
