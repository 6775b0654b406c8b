"""Prints how long our decoder and RivaGAN's take on one photo and on one canvas.

    make bench-rivagan

RivaGAN's ONNX decoder comes from the package `invisible-watermark` (32 bits a photo, no
channel code). It needs `requirements-rivagan.txt`, in an environment of its own. Both
run on the CPU with the same number of threads; ours includes cutting the canvas out of
the photo, but not finding the face.
"""

from __future__ import annotations

import importlib.util
import pathlib
import sys
import time

import cv2
import numpy as np
import onnxruntime

from faketagger_tf.lite import load_decoder
from faketagger_tf.photos.canvas import canvas_square, crop_canvas

CALLS = 20
SIDES = (512, 256, 128)


def median_ms(function) -> float:
    """Median of `CALLS` calls in milliseconds, after two to warm up."""
    times = []
    for _ in range(CALLS + 2):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times[2:]))


def rivagan(threads: int):
    """Returns the function photo uint8 [H, W, 3] -> 32 soft bits."""
    # Found, not imported: the package itself imports PyTorch.
    package = importlib.util.find_spec("imwatermark").submodule_search_locations[0]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(pathlib.Path(package) / "rivagan_decoder.onnx"), options
    )

    def decode(photo):
        frame = photo.astype(np.float32).transpose(2, 0, 1)[None, :, None]
        return session.run(None, {"frame": frame / 127.5 - 1.0})[0]

    return decode


def main(decoder: str) -> None:
    """Runs the benchmark on the photo of noise of each size."""
    print("| photo | threads | RivaGAN, ms | ours, ms | ratio |\n|---|---|---|---|---|")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for side in SIDES:
        photo = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
        for threads in (1, 2):
            theirs, read = rivagan(threads), load_decoder(decoder, threads)
            size = 128

            def ours(photo=photo, read=read, size=size):
                canvas = crop_canvas(photo, canvas_square(*photo.shape[1::-1]), size)
                return read(canvas[None].astype(np.float32) / 255.0)

            slow = median_ms(lambda photo=photo, theirs=theirs: theirs(photo))
            fast = median_ms(ours)
            print(
                f"| {side}x{side} | {threads} | {slow:.1f} | {fast:.1f} | "
                f"{slow / fast:.0f} |"
            )


if __name__ == "__main__":
    main(sys.argv[1])
