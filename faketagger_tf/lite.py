"""Reads tags with a TFLite file alone; TensorFlow need not be installed.

    python -m faketagger_tf.lite decoder.tflite photo.jpg [...]

Needs NumPy, OpenCV to open photos, and ai-edge-litert (or TensorFlow's interpreter).
The photos are canvases: what is not square is cut to its largest centred square.
Exit code: 0, or 2 if a file could not be read.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

import numpy as np

from faketagger_tf.data.canvas import canvas_square, crop_canvas
from faketagger_tf.data.images import read_photo
from faketagger_tf.messages import Decoded, MessageCode, format_payload


def _interpreter(path: str):
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
    if not os.path.isfile(path):
        raise ValueError(f"There is no decoder file {path!r}.")
    try:
        interpreter = Interpreter(model_path=path)
        interpreter.allocate_tensors()
        return interpreter
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path!r} is no TFLite decoder: {error}") from None


def load_decoder(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """Opens a decoder written by export.tflite.

    Args:
        path: the .tflite file.

    Returns:
        A function: float32 canvases `[N, S, S, 3]` in [0, 1] -> logits `[N, L]`.

    Raises:
        ValueError: no such file, or no TFLite model in it.
    """
    interpreter = _interpreter(path)
    source = interpreter.get_input_details()[0]
    target = interpreter.get_output_details()[0]

    def decode(canvases: np.ndarray) -> np.ndarray:
        logits = []
        for canvas in canvases:
            interpreter.set_tensor(source["index"], canvas[None].astype(np.float32))
            interpreter.invoke()
            logits.append(interpreter.get_tensor(target["index"])[0].copy())
        return np.stack(logits)

    return decode


def load_sidecar(path: str) -> dict:
    """Reads the JSON that export.tflite writes beside a decoder."""
    try:
        with open(f"{path}.json", encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"The decoder's description {path + '.json'!r} cannot be read: {error}."
        ) from None


def read_files(decoder: str, photos: list[str]) -> dict[str, Decoded | str]:
    """Reads the centred canvas of every photo.

    Args:
        decoder: a .tflite file with its JSON beside it.
        photos: image files.

    Returns:
        Photo -> what was decoded (one word), or one sentence about what went wrong.
    """
    about = load_sidecar(decoder)
    decode = load_decoder(decoder)
    code = MessageCode(about["payload_bits"], about["message_bits"], about["crc_bits"])
    results: dict[str, Decoded | str] = {}
    for path in photos:
        try:
            pixels = read_photo(path)
        except ValueError as error:
            results[path] = str(error)
            continue
        square = canvas_square(pixels.shape[1], pixels.shape[0])
        canvas = crop_canvas(pixels, square, about["image_size"])
        logits = decode(canvas[None].astype(np.float32) / 255.0)
        results[path] = code.decode(logits)
    return results


def main(arguments: list[str]) -> int:
    """Prints a line for every photo."""
    if len(arguments) < 2:
        print("Usage: python -m faketagger_tf.lite decoder.tflite photo [...]")
        return 2
    try:
        about = load_sidecar(arguments[0])
        results = read_files(arguments[0], arguments[1:])
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    failed = False
    for path, result in results.items():
        if isinstance(result, str):
            print(f"{path}: {result}", file=sys.stderr)
            failed = True
            continue
        payload = format_payload(result.payloads[0], about["payload_bits"])
        crc = "checksum right" if result.crc_ok[0] else "checksum wrong"
        print(
            f"{path}: payload {payload}, {crc}, "
            f"{result.corrected_bits[0]} of {about['message_bits']} bits corrected, "
            f"score {result.score[0]:.3f}"
        )
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
