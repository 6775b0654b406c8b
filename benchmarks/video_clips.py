"""Clips made from portraits: they zoom, pan and turn, with a sensor's noise.

How each frame lies is known, so that what is done to a face can be looked at in the
face's own coordinates, whatever a tracker says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import av
import cv2
import numpy as np

from faketagger_tf.video.container import Frame

RATE = 25
NOISE = 2.0  # Standard deviation of the sensor's noise, of 255.
FADE = 12  # Frames of a cross-fade.
_SHIFTS = 256  # Pixels by which the noise of two frames may be shifted, each way.
_RIM = 0.12  # Share of a portrait's height over which its surroundings lose focus.
_SOFT = 0.1  # Their blur, as a share of that height: no second face is seen in them.


class MovingPortraits:
    """Portraits that move, one after the other, faded over into the next.

    Args:
        photos: uint8 [H, W, 3] each.
        count: number of frames.
        height: of a frame in pixels; it is 16:9.
        seed: of motion and noise.
    """

    def __init__(self, photos: Sequence[np.ndarray], count: int, height: int, seed=0):
        self.count, self.height = count, height
        self.width = height * 16 // 18 * 2
        self._seed = seed
        rng = np.random.default_rng(seed)
        self._phases = rng.uniform(0, 2 * np.pi, 4)
        self._speeds = rng.uniform(0.1, 0.35, 4)
        self._shapes = [photo.shape[:2] for photo in photos]
        self._scenes = [_widen(photo) for photo in photos]
        self._each = -(-count // len(photos))

    def shot(self, index: int) -> int:
        """Which portrait a frame shows, where it is not faded over."""
        return index // self._each

    def pose(self, shot: int, index: int) -> np.ndarray:
        """Matrix 2x3 from a portrait's pixels to a frame's."""
        wave = np.sin(2 * np.pi * self._speeds * index / RATE + self._phases)
        height, width = self._shapes[shot]
        scale = self.height / height * (1.1 + 0.15 * wave[0])
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 6 * wave[1], scale)
        middle = np.array([self.width - width, self.height - height]) / 2
        matrix[:, 2] += middle + np.array([0.12, 0.05]) * self.height * wave[2:]
        return matrix

    def frames(self) -> Iterator[Frame]:
        """The frames, the same each time."""
        rng = np.random.default_rng((self._seed, 1))
        # One field of noise, another part of it in each frame: a new one takes longer
        # than all the rest.
        shape = self.height + _SHIFTS, self.width + _SHIFTS, 3
        field = np.float32(NOISE) * rng.standard_normal(shape, np.float32)
        for index in range(self.count):
            shot = self.shot(index)
            pixels = self._draw(shot, index)
            left = (shot + 1) * self._each - index
            if shot + 1 < len(self._scenes) and left <= FADE:
                share = 1 - left / (FADE + 1)
                then = self._draw(shot + 1, index)
                pixels = cv2.addWeighted(then, share, pixels, 1 - share, 0)
            top, left = rng.integers(_SHIFTS, size=2)
            noise = field[top : top + self.height, left : left + self.width]
            pixels = cv2.add(pixels, noise, dtype=cv2.CV_8U)  # Rounds and limits.
            yield Frame(index, index, index / RATE, pixels)

    def middle_square(self, index: int, size: int) -> np.ndarray:
        """Matrix from a frame's pixels to a square of `size`: the portrait's middle."""
        shot = self.shot(index)
        height, width = self._shapes[shot]
        ratio = size / min(height, width)
        matrix = ratio * cv2.invertAffineTransform(self.pose(shot, index))
        matrix[:, 2] += size / 2 - ratio * np.array([width, height]) / 2
        return matrix

    def _draw(self, shot: int, index: int) -> np.ndarray:
        scene, margin = self._scenes[shot]
        matrix = self.pose(shot, index)
        matrix[:, 2] -= matrix[:, :2] @ margin
        size = self.width, self.height
        return cv2.warpAffine(
            scene, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )


def _widen(photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A portrait in surroundings of its own colours, and the margins' (x, y)."""
    height = len(photo)
    margin = np.array([height, height // 2])
    wide = cv2.copyMakeBorder(
        photo, margin[1], margin[1], margin[0], margin[0], cv2.BORDER_REFLECT_101
    )
    soft = cv2.GaussianBlur(wide, (0, 0), _SOFT * height)
    shown = np.zeros(wide.shape[:2], np.uint8)
    shown[margin[1] : -margin[1], margin[0] : -margin[0]] = 1
    away = cv2.distanceTransform(1 - shown, cv2.DIST_L2, 5) / (_RIM * height)
    share = np.clip(1 - away, 0, 1)[..., None]
    return np.rint(soft + share * (wide - soft.astype(np.float32))).astype(
        np.uint8
    ), margin


def write_frames(path: str, frames: Iterable[Frame], crf: int = 12) -> None:
    """Writes frames as H.264 of high quality, BT.709."""
    with av.open(path, "w") as output:
        stream = output.add_stream(
            "libx264", rate=RATE, options={"crf": str(crf), "preset": "ultrafast"}
        )
        for frame in frames:
            if not frame.index:
                stream.height, stream.width = frame.pixels.shape[:2]
                stream.codec_context.colorspace = 1
                stream.codec_context.color_primaries = 1
                stream.codec_context.color_trc = 1
            image = av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")
            image = image.reformat(format="yuv420p", dst_colorspace=1)
            image.pts, image.time_base = frame.index, Fraction(1, RATE)
            output.mux(stream.encode(image))
        output.mux(stream.encode(None))
