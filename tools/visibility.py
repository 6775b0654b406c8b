"""How much of a tag is to be seen: the picture of face128's card.

    python -m tools.visibility [TAGGER [PHOTO]]

Writes `build/visibility.jpg`: the cover and, for a tag in one pass and a refined one,
the tagged canvas, details of cheek and background enlarged eight times (the cover's
first) and the residual x10. TAGGER is face128 unless given, PHOTO is scikit-image's
astronaut.
"""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data

from faketagger_tf import metrics
from faketagger_tf.photos import captioned, read_photo, write_image
from faketagger_tf.tagging.refine import STEPS
from faketagger_tf.tagging.tagger import Tagger
from tools.arguments import call

SIDE = 256  # Of each picture, in pixels.
PATCH = 32  # Of an enlarged detail, in pixels of the canvas.
FILE = "build/visibility.jpg"


def cell(image: np.ndarray, caption: str) -> np.ndarray:
    """One picture with its caption below, uint8 [H, SIDE + 4, 3]."""
    method = cv2.INTER_NEAREST if len(image) < SIDE else cv2.INTER_AREA
    return captioned(cv2.resize(image, (SIDE, SIDE), interpolation=method), caption)


def main(tagger: str = "face128", photo: str = "") -> None:
    """Draws the picture; see the module's docstring."""
    tagger = Tagger.load(tagger)
    pixels = read_photo(photo) if photo else skimage.data.astronaut()
    size = tagger.config.image_size
    (canvas, *_) = tagger.find_canvases(pixels)
    cover = tagger.canvas_image(pixels, canvas)
    whole = [tagger.centred_canvas(cover)]

    def details(image):
        # Canvas pixels: below an eye, and beside the head.
        places = {"cheek": (0.32, 0.4), "background": (0.02, 0.05)}
        for what, (left, top) in places.items():
            x, y = int(left * size), int(top * size)
            yield what, image[y : y + PATCH, x : x + PATCH]

    rows = []
    for what, steps in (("one pass", 0), (f"refined, {STEPS} steps", STEPS)):
        tagged = tagger.embed(cover, 0x1F2E3D4C, None, whole, steps)
        psnr = metrics.psnr(cover[None], tagged[None])[0]
        ssim = metrics.ssim(cover[None], tagged[None])[0]
        residual = tagged.astype(np.int16) - cover
        cells = [
            cell(cover, "cover"),
            cell(tagged, f"{what}: {psnr:.1f} dB {ssim:.4f}"),
        ]
        for (detail, ours), (_, theirs) in zip(
            details(tagged), details(cover), strict=True
        ):
            cells += [
                cell(theirs, f"{detail}, cover"),
                cell(ours, f"{detail}, tagged"),
            ]
        amplified = np.clip(128 + 10 * residual, 0, 255).astype(np.uint8)
        rows.append(np.hstack([*cells, cell(amplified, "residual x10")]))
    write_image(FILE, np.vstack(rows))
    print(f"Wrote {FILE}")


if __name__ == "__main__":
    call(main)
