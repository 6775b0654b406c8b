"""The story of docs/video.md on one clip: tag, deepfake at CRF 28, trace.

    python -m tools.clip_story [PHOTO]

Makes a clip in which a PHOTO (scikit-image's astronaut, unless given) zooms, pans and
turns, runs the three commands on it, prints what they print, and writes a contact strip
of frames, `strip.jpg`, to `build/clip`.
"""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data

from benchmarks.video_clips import RATE, MovingPortraits, write_frames
from faketagger_tf.photos import captioned, read_photo, write_image
from faketagger_tf.video.container import Clip
from tools.arguments import call
from tools.story import run

FOLDER = "build/clip"
SECONDS, HEIGHT = 4, 480
SHOWN = 5  # Frames of each clip, evenly from first to last.
WIDTH = 240  # Of a frame in the strip, in pixels.
STRONGER = 10  # Times by which the tag is shown stronger.


def shown_frames(path: str) -> list[np.ndarray]:
    """Some frames of a clip, uint8 [H, W, 3]."""
    wanted = np.linspace(0, SECONDS * RATE - 1, SHOWN).astype(int)
    with Clip(path) as clip:
        return [frame.pixels for frame in clip.frames() if frame.index in wanted]


def row(frames: list[np.ndarray], caption: str) -> np.ndarray:
    """Frames side by side with a caption below, uint8 [H, SHOWN * WIDTH + 4, 3]."""
    height = round(WIDTH * frames[0].shape[0] / frames[0].shape[1])
    small = [
        cv2.resize(f, (WIDTH, height), interpolation=cv2.INTER_AREA) for f in frames
    ]
    return captioned(np.hstack(small), caption)


def main(photo: str = "") -> None:
    """Runs the story; see the module's docstring."""
    pixels = read_photo(photo) if photo else skimage.data.astronaut()[:300, 60:380]
    clip, tagged, fake, read = (
        f"{FOLDER}/{name}.mp4" for name in ("clip", "tagged", "fake", "read")
    )
    made = MovingPortraits([pixels], SECONDS * RATE, HEIGHT, seed=5)
    write_image(f"{FOLDER}/portrait.png", pixels)  # Makes the folder, too.
    write_frames(clip, made.frames())
    force = "--overwrite"
    run("tag", clip, tagged, "--payload=1F2E3D4C", force)
    run("deepfake", tagged, fake, "--crf=28", force)
    run("trace", fake, f"--annotate={read}", force)
    plain, marked = shown_frames(clip), shown_frames(tagged)
    difference = [
        128 + STRONGER * (b.astype(int) - a) for a, b in zip(plain, marked, strict=True)
    ]
    difference = [np.clip(each, 0, 255).astype(np.uint8) for each in difference]
    strip = [
        row(plain, "original"),
        row(marked, "tagged, H.264 CRF 18"),
        row(difference, f"the difference, {STRONGER} times, coding included"),
        row(shown_frames(fake), "deepfaked, H.264 CRF 28"),
        row(shown_frames(read), "read"),
    ]
    write_image(f"{FOLDER}/strip.jpg", np.vstack(strip))
    print(f"Wrote {FOLDER}/strip.jpg")


if __name__ == "__main__":
    call(main)
