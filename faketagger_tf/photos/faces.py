"""Finds faces and their landmarks with MTCNN's networks (Zhang et al. 2016).

The three networks lie in `weights/faces` as TFLite files, written by `export.faces`
from the package `mtcnn` (MIT licence), and run on LiteRT. The cascade around them is
our own: the package's stops at small sizes, rounds landmarks to whole pixels, and
searches every size in every photo. docs/faces.md says what the files take and give.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
import threading
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

FOLDER = pathlib.Path(__file__).parents[1] / "weights" / "faces"

DETECTION_SIZE = 480  # Longer side of the small copy that is searched.
CELL, STRIDE = 12, 2  # The proposal network's window and step in pixels.
# Longer sides of the pyramid's levels: the window is 5% of the photo in the first one.
PYRAMID = 0.709
SIDES = tuple(math.ceil(240 * PYRAMID**level) for level in range(9))
# The first levels have windows below 10% of the photo and take three quarters of the
# pyramid's time. They are searched only where no face is this large, as a fraction of
# the photo's longer side: what they would find beside it is less than a third as large.
FINE_LEVELS, LARGE_FACE = 2, 0.25
THRESHOLDS = (0.6, 0.6, 0.8)  # Of the three networks, on their own probabilities.
# Boxes that share more than this go: of their union within a level, between levels and
# after the second network; of the smaller one after the third.
OVERLAPS = (0.5, 0.7, 0.7, 0.5)
MAX_PROPOSALS = 400  # Of the coarse levels, and again of the fine ones.
NORMALISED = ((np.arange(256) - 127.5) / 128).astype(np.float32)  # By pixel value.
# Shifts (in boxes) and scales of the box at which landmarks are read and averaged, each
# also mirrored: the average moves less between two copies of a photo than one reading.
JITTER = ((0, 0, 1.0), (0.04, 0.02, 0.96), (-0.04, 0.02, 1.04), (0, -0.04, 1.1))
# Readings drift as a face tilts, by more than a canvas pixel at 10 degrees. Between
# these angles in degrees a second reading, of the face turned upright, gains weight, up
# to half. It is no more than half so that tags which were anchored to the first reading
# alone stay where they are looked for.
TILTS, UPRIGHT_WEIGHT = (5.0, 9.0), 0.5
# An upright reading that still tilts by more degrees is of something else: left out.
LARGEST_REST = 15.0
MIRRORED = [1, 0, 2, 4, 3]  # Landmarks in the order in which a mirror shows them.


@dataclasses.dataclass(frozen=True)
class Face:
    """One face of a photo.

    Attributes:
        box: (left, top, width, height) in photo pixels; may reach over the border.
        landmarks: float64 [5, 2], in the order of `canvas.LANDMARKS`, photo pixels.
        confidence: of the last network, 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    confidence: float


def detect_faces(photo: np.ndarray) -> list[Face]:
    """Finds the faces of a photo. Safe to call from many threads.

    Windows from 5% of the photo's longer side on are searched, where one face is larger
    than 25% from 10% on. A box may be a third smaller than the window it was found in.

    Args:
        photo: uint8 [H, W, 3] RGB, upright.

    Returns:
        The faces, largest first.

    Raises:
        ValueError: the photo is not such an array.

    Example:
        >>> detect_faces(np.full((200, 300, 3), 128, np.uint8))
        []
    """
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise ValueError(
            "A photo must be uint8 RGB of shape [height, width, 3]. "
            f"Received: {photo.dtype} of shape {photo.shape}."
        )
    with _borrow_networks() as networks:
        return run_cascade(networks, photo)


def run_cascade(
    networks: Networks,
    photo: np.ndarray,
    large_face: float = LARGE_FACE,
    upright_weight: float = UPRIGHT_WEIGHT,
) -> list[Face]:
    """Does what `detect_faces` does, with networks of the caller's.

    Args:
        networks: not in use by another thread.
        photo: uint8 [H, W, 3] RGB, upright.
        large_face: the finest levels are left out where a face is larger than this
            fraction of the photo's longer side; infinity searches them always.
        upright_weight: of the second reading of a tilted face; 0 leaves it out.

    Returns:
        The faces, largest first.
    """
    height, width = photo.shape[:2]
    ratio = DETECTION_SIZE / max(height, width)
    if ratio < 1:
        size = max(1, round(width * ratio)), max(1, round(height * ratio))
        photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    image = cv2.LUT(photo, NORMALISED)
    boxes, scores = _find_boxes(networks, image, large_face)
    # A second look, from boxes that no longer depend on the pyramid's steps.
    landmarks = _read_landmarks(networks, image, _square(boxes), upright_weight)
    ratio = np.array([width, height]) / photo.shape[1::-1]
    faces = [
        Face(
            (*(box[:2] * ratio).tolist(), *((box[2:] - box[:2]) * ratio).tolist()),
            points * ratio,
            float(score),
        )
        for box, points, score in zip(boxes, landmarks, scores, strict=True)
    ]
    return sorted(faces, key=lambda face: -face.box[2] * face.box[3])


class Networks:
    """The three networks, for one thread at a time.

    Args:
        folder: holds the files that `export.faces` writes.
    """

    def __init__(self, folder: pathlib.Path = FOLDER):
        self._propose = load_interpreter(model_path=str(folder / "pnet.tflite"))
        self._levels = {
            side: self._propose.get_signature_runner(f"propose_{side}")
            for side in SIDES
        }
        self._refine = _Single(folder / "rnet.tflite", "refine")
        self._locate = _Single(folder / "onet.tflite", "locate")

    def propose(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reads a level of the pyramid at every step.

        Args:
            level: float32 [H, W, 3], normalised; its longer side is one of `SIDES`.

        Returns:
            Offsets [h, w, 4] of the window's corners, in windows, and the probability
            [h, w] of a face; h = (H - 12) // 2 + 1.
        """
        height, width = level.shape[:2]
        side = max(height, width)
        # The file takes squares; outside of the photo is grey, as for the patches.
        square = np.zeros([1, side, side, 3], np.float32)
        square[0, :height, :width] = level
        outputs = self._levels[side](image=square)
        rows, columns = ((edge - CELL) // STRIDE + 1 for edge in (height, width))
        inside = np.s_[0, :rows, :columns]
        return outputs["box"][inside], outputs["probability"][inside]

    def refine(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Offsets [N, 4] and probability [N] of float32 patches [N, 24, 24, 3]."""
        outputs = self._refine(patches)
        return outputs["box"], outputs["probability"]

    def locate(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets [N, 4], probability [N], landmarks [N, 5, 2] of [N, 48, 48, 3]."""
        outputs = self._locate(patches)
        return outputs["box"], outputs["probability"], outputs["landmarks"]


class _Single:
    """A network that takes one patch a call: larger batches are no faster a patch."""

    def __init__(self, path: pathlib.Path, signature: str):
        self._interpreter = load_interpreter(model_path=str(path))
        self._interpreter.allocate_tensors()
        runner = self._interpreter.get_signature_runner(signature)
        (self._input,) = (x["index"] for x in runner.get_input_details().values())
        self._outputs = runner.get_output_details()

    def __call__(self, patches: np.ndarray) -> dict[str, np.ndarray]:
        results = {
            name: np.empty([len(patches), *about["shape"][1:]], np.float32)
            for name, about in self._outputs.items()
        }
        for number, patch in enumerate(patches):
            self._interpreter.set_tensor(self._input, patch[None])
            self._interpreter.invoke()
            for name, about in self._outputs.items():
                results[name][number] = self._interpreter.get_tensor(about["index"])[0]
        return results


def load_interpreter(**model):
    """Loads a TFLite file for one thread: `model_path` or `model_content`."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite import Interpreter
    return Interpreter(**model, num_threads=1)


_idle: list[Networks] = []
_free = threading.BoundedSemaphore(os.cpu_count() or 1)


@contextlib.contextmanager
def _borrow_networks() -> Iterator[Networks]:
    """Lends a set of networks, loaded on first use, to one thread.

    There are no more sets than processors, about 40 MB each: further threads wait.
    """
    with _free:
        try:
            networks = _idle.pop()
        except IndexError:
            networks = Networks()
        try:
            yield networks
        finally:
            _idle.append(networks)


def _suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Non-maximum suppression; returns the indices kept, best first.

    A box goes where a better one shares more than `overlap` of their union with it.
    """
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxes(sizes.tolist(), scores.tolist(), 0.0, overlap)
    return np.array(kept, int).reshape(-1)


def _suppress_inner(
    boxes: np.ndarray, scores: np.ndarray, overlap: float
) -> np.ndarray:
    """The same with the share of the smaller box, so that a box in a box goes."""
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        common = np.prod(np.maximum(high - low, 0), axis=1)
        order = order[common <= overlap * np.minimum(area[best], area[order])]
    return np.array(kept, int)


def _square(boxes: np.ndarray) -> np.ndarray:
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = np.max(boxes[:, 2:] - boxes[:, :2], axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _patches(
    image: np.ndarray, boxes: np.ndarray, side: int, turns: np.ndarray | None = None
) -> np.ndarray:
    """Cuts square boxes out; outside is grey.

    Args:
        image: float32 [H, W, 3], normalised.
        boxes: [N, 4].
        side: of the patches in pixels.
        turns: [N], radians by which each box is turned clockwise about its centre.
    """
    patches = np.empty([len(boxes), side, side, 3], np.float32)
    turns = np.zeros(len(boxes)) if turns is None else turns
    for patch, (left, top, right, bottom), turn in zip(
        patches, boxes, turns, strict=True
    ):
        scale = side / (right - left)
        cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
        linear = np.array([[cosine, sine], [-sine, cosine]])
        # Pixel borders to pixel borders; OpenCV counts from pixel centres.
        shift = side / 2 - linear @ ((left + right) / 2, (top + bottom) / 2)
        shift += linear @ (0.5, 0.5) - 0.5
        cv2.warpAffine(
            image,
            np.column_stack([linear, shift]),
            (side, side),
            dst=patch,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(0, 0, 0),
        )
    return patches


def _propose(
    networks: Networks, image: np.ndarray, levels: Iterable[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [N, 4] and scores [N] of what may be faces, from some of the levels."""
    height, width = image.shape[:2]
    boxes, scores = [np.zeros([0, 4])], [np.zeros([0])]
    for number in levels:
        scale = SIDES[0] * PYRAMID**number / max(height, width)
        if scale > 1 or min(height, width) * scale < CELL:
            continue
        # Less than a millionth of a pixel is a rounding error of the product.
        size = [math.ceil(side * scale - 1e-6) for side in (width, height)]
        level = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        offsets, probability = networks.propose(level)
        row, column = np.nonzero(probability > THRESHOLDS[0])
        if len(row):
            corner = np.stack([column, row], 1) * STRIDE
            found = np.concatenate([corner, corner + CELL], 1)
            found = found + offsets[row, column] * CELL
            score = probability[row, column]
            kept = _suppress(found, score, OVERLAPS[0])
            ratio = np.array([width / size[0], height / size[1]] * 2)
            boxes.append(found[kept] * ratio)
            scores.append(score[kept])
    boxes, scores = np.concatenate(boxes), np.concatenate(scores)
    kept = _suppress(boxes, scores, OVERLAPS[1])[:MAX_PROPOSALS]
    return boxes[kept], scores[kept]


def _confirm(
    networks: Networks, image: np.ndarray, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Puts proposals before the second and the third network."""
    boxes = _square(boxes)
    offsets, probability = networks.refine(_patches(image, boxes, 24))
    boxes, scores = _keep(boxes, offsets, probability, THRESHOLDS[1])
    boxes = _square(boxes[_suppress(boxes, scores, OVERLAPS[2])])
    offsets, probability, _ = networks.locate(_patches(image, boxes, 48))
    return _keep(boxes, offsets, probability, THRESHOLDS[2])


def _keep(
    boxes: np.ndarray, offsets: np.ndarray, probability: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    kept = probability > threshold
    side = boxes[:, 2:3] - boxes[:, :1]
    return (boxes + offsets * side)[kept], probability[kept]


def _find_boxes(
    networks: Networks, image: np.ndarray, large_face: float
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (left, top, right, bottom) [N, 4] of the faces and their scores [N]."""
    boxes, scores = np.zeros([0, 4]), np.zeros([0])
    for levels in (range(FINE_LEVELS, len(SIDES)), range(FINE_LEVELS)):
        proposals, _ = _propose(networks, image, levels)
        new_boxes, new_scores = _confirm(networks, image, proposals)
        boxes = np.concatenate([boxes, new_boxes])
        scores = np.concatenate([scores, new_scores])
        if np.any(boxes[:, 2:] - boxes[:, :2] > large_face * max(image.shape[:2])):
            break
    kept = _suppress_inner(boxes, scores, OVERLAPS[3])
    return boxes[kept], scores[kept]


def _read_landmarks(
    networks: Networks, image: np.ndarray, boxes: np.ndarray, upright_weight: float
) -> np.ndarray:
    """Landmarks [N, 5, 2] of square boxes, see `JITTER` and `TILTS`."""
    landmarks = _read_turned(networks, image, boxes, np.zeros(len(boxes)))
    tilts = _tilts(landmarks)
    low, high = np.radians(TILTS)
    weights = upright_weight * np.clip((np.abs(tilts) - low) / (high - low), 0, 1)
    (tilted,) = np.nonzero(weights)
    upright = _read_turned(networks, image, boxes[tilted], tilts[tilted])
    rest = np.abs(_tilts(upright) - tilts[tilted])
    weights = np.where(rest < np.radians(LARGEST_REST), weights[tilted], 0)
    landmarks[tilted] += weights[:, None, None] * (upright - landmarks[tilted])
    return landmarks


def _tilts(landmarks: np.ndarray) -> np.ndarray:
    """Angles [N] by which faces are turned clockwise, in radians."""
    left_eye, right_eye, _, left_mouth, right_mouth = landmarks.swapaxes(0, 1)
    across = right_eye - left_eye + right_mouth - left_mouth
    return np.arctan2(across[:, 1], across[:, 0])


def _read_turned(
    networks: Networks, image: np.ndarray, boxes: np.ndarray, turns: np.ndarray
) -> np.ndarray:
    """Landmarks [N, 5, 2], read in boxes that are turned clockwise by `turns` [N]."""
    side = boxes[:, 2:3] - boxes[:, :1]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    cosine, sine = np.cos(turns), np.sin(turns)
    back = np.array([[cosine, sine], [-sine, cosine]]).transpose(2, 0, 1)
    total = np.zeros([len(boxes), 5, 2])
    for right, down, scale in JITTER:
        middle = centre + side * (right, down)
        corner, extent = middle - side * scale / 2, side * scale
        jittered = np.concatenate([corner, corner + extent], 1)
        patches = _patches(image, jittered, 48, turns)
        _, _, straight = networks.locate(patches)
        _, _, mirrored = networks.locate(patches[:, :, ::-1])
        mirrored = mirrored[:, MIRRORED] * (-1, 1) + (1, 0)
        points = (straight + mirrored) / 2 - 0.5
        total += middle[:, None] + points @ back * extent[:, None]
    return total / len(JITTER)
