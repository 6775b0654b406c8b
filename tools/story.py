"""The story of the README on one photo: tag, deepfake, save as JPEG, trace.

    python -m tools.story [PHOTO]

Runs the four commands, prints what they print, and writes the pictures and their panel
`story.png` to `build/story`. Without a PHOTO it is scikit-image's astronaut.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys

import cv2
import numpy as np
import skimage.data

from faketagger_tf.photos import captioned, read_photo, write_image
from tools.arguments import call

FOLDER = pathlib.Path("build/story")
SIDE = 384  # Of each picture in the panel, in pixels.


def run(*arguments: str) -> None:
    """Runs one `faketagger` command and shows it."""
    print(f"$ faketagger {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "faketagger_tf", *arguments]
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(code)


def cell(path: pathlib.Path, caption: str) -> np.ndarray:
    """One picture with its caption below, uint8 [H, SIDE + 4, 3]."""
    photo = read_photo(path)
    height = round(SIDE * photo.shape[0] / photo.shape[1])
    small = cv2.resize(photo, (SIDE, height), interpolation=cv2.INTER_AREA)
    return captioned(small, caption)


def main(photo: str = "") -> None:
    """Runs the story; see the module's docstring."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    original, tagged, fake, read = (
        FOLDER / name for name in ("photo.png", "tagged.png", "fake.jpg", "read.png")
    )
    write_image(original, read_photo(photo) if photo else skimage.data.astronaut())
    force = "--overwrite"
    run("tag", str(original), str(tagged), "--payload=1F2E3D4C", force)
    run("deepfake", str(tagged), str(fake), "--quality=75", force)
    run("trace", str(fake), f"--annotate={read}", force)
    panel = [
        cell(original, "original"),
        cell(tagged, "tagged"),
        cell(fake, "deepfaked, saved as JPEG 75"),
        cell(read, "read"),
    ]
    write_image(FOLDER / "story.png", np.hstack(panel))
    print(f"Wrote {FOLDER / 'story.png'}")


if __name__ == "__main__":
    call(main)
