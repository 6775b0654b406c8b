"""Finds, face by face, the weakest tag that still reads after what a photo meets.

FakeTagger (arXiv:2009.09869) tags every photo at one strength. Photos differ more than
manipulations do: one keeps its tag through JPEG 50 where it is ten times weaker than
another's. Here the copies that a *promise* names are made of the tagged face, and each
is decoded where its canvas lies; the weakest strength whose copies all read is found by
halving. They read with a margin, which pays for what the reader meets beyond that:
landmarks that wander, and a search over many places.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from faketagger_tf.messages import parse_payload
from faketagger_tf.tagging.copies import PROMISES, Copy
from faketagger_tf.tagging.paste import add_residual
from faketagger_tf.tagging.search import Canvas

if TYPE_CHECKING:
    from faketagger_tf.tagging.tagger import Tagger

LEVELS = 7  # Strengths that are told apart, the strongest and the weakest included.
# A copy's largest p-value: a ten-thousandth of the rate of false positives that `trace`
# asks. A copy that cannot reach it is content with the second one, so that a face that
# fills its photo is not tagged louder than is of use.
MARGINS = 1e-10, 1e-7
# Larger canvases are shrunk to this side before they are copied: the copies then lose
# more than the photo's would, and the cost of a face is bounded.
MOST_SIDE = 384
_GRID = 16  # Pixels of a JPEG's block of 4:2:0: a cut of the photo keeps to its grid.
# A pasted face's ellipse, in shares of the canvas: half axes; `manipulations.face`
# places its `large` mask like that.
_PASTE = (0.26, 0.32)
_FEATHER = 0.02  # Blur of the ellipse's edge, in shares of the canvas's side.


@dataclasses.dataclass(frozen=True)
class Choice:
    """How strongly a face is tagged.

    Attributes:
        strength: in dB, as `Tagger.embed` takes it.
        broken: names of the copies that the tag does not survive; empty where the
            promise is kept.
        residual: float32 [S, S, 3], the tag of which the copies were made: what
            `Tagger.embed` is to add.
    """

    strength: float
    broken: tuple[str, ...] = ()
    residual: np.ndarray | None = dataclasses.field(
        default=None, compare=False, repr=False
    )


def check_promise(tagger: Tagger, promise: str) -> None:
    """Raises a ValueError for a promise that there is not, or a learned strength."""
    if promise not in PROMISES:
        raise ValueError(
            f"promise must be one of {', '.join(PROMISES)}. Received: {promise!r}."
        )
    tagger.check_strength(tagger.config.strongest)


def make_copy(
    copy: Copy,
    photo: np.ndarray,
    canvas: Canvas,
    size: int,
    untagged: np.ndarray | None = None,
) -> tuple[np.ndarray, Canvas]:
    """Makes a copy of a photo of one face.

    Args:
        copy: which one.
        photo: uint8 [H, W, 3].
        canvas: where the face's tag lies in it.
        size: side of a canvas in pixels.
        untagged: the photo without its tag, from which a face is pasted; None takes the
            photo itself.

    Returns:
        the copy, and where the tag lies there.

    Example:
        >>> canvas = tagger.find_canvases(photo)[0]
        >>> seen, place = make_copy(Copy("small", scale=0.5), photo, canvas, 128)
        >>> seen.shape[0] == round(photo.shape[0] / 2)
        True
    """
    if copy.pasted:
        donor = photo if untagged is None else untagged
        photo = _paste_mirrored(photo, donor, canvas, size)
    if copy.grey:
        photo = cv2.cvtColor(
            cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB
        )
    if copy.scale != 1:
        photo, canvas = _resize(photo, canvas, copy.scale)
    for quality in copy.qualities:
        flags = [
            *(cv2.IMWRITE_JPEG_QUALITY, quality),
            *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
        ]
        _, data = cv2.imencode(".jpg", photo[..., ::-1], flags)
        photo = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    return np.ascontiguousarray(photo), canvas


def choose_strengths(
    tagger: Tagger,
    photo: np.ndarray,
    payload: int | str | bytes,
    canvases: Sequence[Canvas],
    promise: str = "web",
) -> list[Choice]:
    """Finds for each canvas the weakest strength that keeps a promise.

    It lies between the configuration's `weakest` and `strongest`. A copy that not even
    the strongest survives is named by the choice and has no say in it, unless none
    survives: then it is the strongest.

    Args:
        tagger: tags and reads; its strength must be one that can be set.
        photo: uint8 [H, W, 3] RGB, at least 96 pixels each way.
        payload: as `messages.parse_payload` accepts it.
        canvases: from `Tagger.find_canvases`.
        promise: one of `PROMISES`.

    Returns:
        one choice per canvas.

    Raises:
        ValueError: an argument is not accepted, or the strength is learned.

    Example:
        >>> canvases = tagger.find_canvases(photo)
        >>> choices = choose_strengths(tagger, photo, 0x1F2E3D4C, canvases)
        >>> residuals = np.stack([choice.residual for choice in choices])
        >>> tagged = tagger.embed(photo, 0x1F2E3D4C, None, canvases, 0, residuals)
    """
    check_promise(tagger, promise)
    strongest, weakest = tagger.config.strongest, tagger.config.weakest
    value = parse_payload(payload, tagger.config.payload_bits)
    # One residual made stronger and weaker, as is then added: a new one for each
    # strength reads no better and costs an encoding.
    own = tagger.check_strength(tagger.check_strength(None) or strongest)
    residuals = tagger.residuals(photo, value, canvases, own) * _gain(strongest, own)
    levels = np.linspace(strongest, weakest, LEVELS)
    return [
        _choose(tagger, photo, value, residual, canvas, levels, PROMISES[promise])
        for residual, canvas in zip(residuals, canvases, strict=True)
    ]


def _gain(level: float, own: float) -> np.float32:
    """What takes a residual from its own level in dB to another one."""
    return np.float32(10 ** ((own - level) / 20))


def _choose(tagger, photo, payload, residual, canvas, levels, copies) -> Choice:
    """The weakest level whose copies all read; `levels` are strongest first.

    A copy that reads at a level is taken to read at each stronger one, so that each is
    looked at where the ones before it still read, and most are decoded once.
    """
    size = tagger.config.image_size
    photo, canvas = _cut(photo, canvas, size)

    def choice(level: float, broken: Sequence[str] = ()) -> Choice:
        tag = residual * _gain(level, levels[0])
        return Choice(float(level), tuple(broken), tag)

    @functools.cache
    def tagged(index: int) -> np.ndarray:
        pixels = photo.copy()
        add_residual(photo, pixels, choice(levels[index]).residual, [canvas], 0)
        return pixels

    @functools.cache
    def p_value(index: int, copy: Copy) -> float:
        pixels, place = make_copy(copy, tagged(index), canvas, size, photo)
        return tagger.p_values(pixels, [place], payload)[0]

    def weakest_of(copy: Copy, margin: float, last: int) -> int:
        """The weakest level, `last` at most, at which a copy reads; -1 for none."""
        first = 0
        while first <= last:
            middle = (first + last) // 2
            if p_value(middle, copy) <= margin:
                first = middle + 1
            else:
                last = middle - 1
        return last

    weakest, broken = len(levels) - 1, []
    for number, copy in enumerate(copies):
        if number and p_value(weakest, copy) <= MARGINS[0]:
            continue
        found = (weakest_of(copy, margin, weakest) for margin in MARGINS)
        level = next((level for level in found if level >= 0), None)
        if level is None:
            broken.append(copy.name)
        else:
            weakest = level
    return choice(levels[weakest if len(broken) < len(copies) else 0], broken)


def _cut(photo: np.ndarray, canvas: Canvas, size: int) -> tuple[np.ndarray, Canvas]:
    """The part of a photo that a canvas covers, on the grid of the photo's blocks."""
    corners = canvas.corners(size)
    height, width = photo.shape[:2]
    left, top = np.clip(corners.min(0) // _GRID * _GRID, 0, (width, height)).astype(int)
    ends = (corners.max(0) // _GRID + 1) * _GRID
    right, bottom = np.clip(ends, 0, (width, height)).astype(int)
    matrix = canvas.matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ (left, top)
    part = np.ascontiguousarray(photo[top:bottom, left:right])
    canvas = dataclasses.replace(canvas, matrix=matrix)
    side = canvas.side(size)
    return (
        _resize(part, canvas, MOST_SIDE / side) if side > MOST_SIDE else (part, canvas)
    )


def _resize(
    photo: np.ndarray, canvas: Canvas, scale: float
) -> tuple[np.ndarray, Canvas]:
    """Shrinks a photo by area, and moves its canvas along."""
    height, width = photo.shape[:2]
    shape = max(1, round(scale * width)), max(1, round(scale * height))
    small = cv2.resize(photo, shape, interpolation=cv2.INTER_AREA)
    matrix = canvas.matrix * [width / shape[0], height / shape[1], 1]
    return small, dataclasses.replace(canvas, matrix=matrix)


def _paste_mirrored(photo, donor, canvas: Canvas, size: int) -> np.ndarray:
    """Replaces the face by the donor's mirror image."""
    middle = canvas.corners(size).mean(0)
    side = canvas.side(size)
    turn = -math.degrees(math.atan2(canvas.matrix[0, 1], canvas.matrix[0, 0]))
    mask = np.zeros(photo.shape[:2], np.uint8)
    axes = tuple(side * share for share in _PASTE)
    box = (tuple(middle.tolist()), (2 * axes[0], 2 * axes[1]), turn)
    cv2.ellipse(mask, box, 255, -1)
    # Reflected about the canvas's upright axis: into the canvas, mirrored, and back.
    mirror = canvas.mirror(size).matrix
    there = np.vstack([canvas.matrix, [0, 0, 1]])
    back = np.linalg.inv(np.vstack([mirror, [0, 0, 1]]))
    step = (back @ there)[:2]
    other = cv2.warpAffine(
        donor,
        step,
        photo.shape[1::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mask = cv2.GaussianBlur(mask, (0, 0), side * _FEATHER)[..., None]
    mixed = photo + (other.astype(np.float32) - photo) * (mask / np.float32(255))
    return np.rint(mixed).astype(np.uint8)
