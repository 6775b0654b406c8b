"""Finds faces and their landmarks with MTCNN's networks (Zhang et al. 2016).

The three networks and their weights come from the package `mtcnn` (MIT licence). The
cascade around them is our own: the package's stops at small sizes, rounds landmarks to
whole pixels, and unpickles a file named `pnet.lz4` from the working directory if there
is one.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import math

import cv2
import numpy as np

CELL, STRIDE = 12, 2  # The proposal network's window and step in pixels.
PYRAMID = 0.709
THRESHOLDS = (0.6, 0.6, 0.8)  # Of the three networks, on their own probabilities.
MAX_PROPOSALS = 400
# Shifts (in boxes) and scales of the box at which landmarks are read and averaged, each
# also mirrored: the average moves less between two copies of a photo than one reading.
JITTER = ((0, 0, 1.0), (0.04, 0.02, 0.96), (-0.04, 0.02, 1.04), (0, -0.04, 1.1))
MIRRORED = [1, 0, 2, 4, 3]  # Landmarks in the order in which a mirror shows them.


@dataclasses.dataclass(frozen=True)
class Face:
    """One face of a photo.

    Attributes:
        box: (left, top, width, height) in photo pixels; may reach over the border.
        landmarks: float64 [5, 2], in the order of `data.LANDMARKS`, photo pixels.
        confidence: of the last network, 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    confidence: float


@functools.cache
def _networks():
    """Loads the three networks as graph functions, on first use."""
    import joblib
    import tensorflow as tf
    from mtcnn.network.onet import ONet
    from mtcnn.network.pnet import PNet
    from mtcnn.network.rnet import RNet

    functions = []
    for network, name in ((PNet(), "pnet"), (RNet(), "rnet"), (ONet(), "onet")):
        network.build()
        weights = importlib.resources.files("mtcnn") / f"assets/weights/{name}.lz4"
        network.set_weights(joblib.load(str(weights)))
        side = {"pnet": None, "rnet": 24, "onet": 48}[name]
        signature = [tf.TensorSpec([None, side, side, 3], tf.float32)]
        functions.append(tf.function(network.__call__, input_signature=signature))
    return functions


def _suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float, least=False):
    """Non-maximum suppression; returns the indices kept, best first.

    Overlap is over the union, or with `least` over the smaller of the two boxes.
    """
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        common = np.prod(np.maximum(high - low, 0), axis=1)
        other = area[order]
        base = np.minimum(area[best], other) if least else area[best] + other - common
        order = order[common <= overlap * base]
    return np.array(kept, int)


def _square(boxes: np.ndarray) -> np.ndarray:
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = np.max(boxes[:, 2:] - boxes[:, :2], axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _patches(image: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    """Cuts square boxes out, normalised as the networks expect; outside is grey."""
    patches = np.empty([len(boxes), side, side, 3], np.float32)
    for patch, (left, top, right, _) in zip(patches, boxes, strict=True):
        scale = side / (right - left)
        matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
        matrix[:, 2] += (scale - 1) / 2  # From pixel borders to pixel centres.
        cv2.warpAffine(
            image,
            matrix,
            (side, side),
            dst=patch,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(0, 0, 0),
        )
    return patches


def _propose(image: np.ndarray, smallest: float) -> tuple[np.ndarray, np.ndarray]:
    network = _networks()[0]
    height, width = image.shape[:2]
    boxes, scores = [np.zeros([0, 4])], [np.zeros([0])]
    scale = CELL / smallest
    while min(height, width) * scale >= CELL:
        size = math.ceil(width * scale), math.ceil(height * scale)
        level = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        offsets, probability = network(level[None])
        offsets, probability = offsets.numpy()[0], probability.numpy()[0, :, :, 1]
        row, column = np.nonzero(probability > THRESHOLDS[0])
        if len(row):
            corner = np.stack([column, row], 1) * STRIDE
            found = np.concatenate([corner, corner + CELL], 1)
            found = found + offsets[row, column] * CELL
            score = probability[row, column]
            kept = _suppress(found, score, 0.5)
            ratio = np.array([width / size[0], height / size[1]] * 2)
            boxes.append(found[kept] * ratio)
            scores.append(score[kept])
        scale *= PYRAMID
    boxes, scores = np.concatenate(boxes), np.concatenate(scores)
    kept = _suppress(boxes, scores, 0.7)[:MAX_PROPOSALS]
    return boxes[kept], scores[kept]


def _read_landmarks(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Landmarks [N, 5, 2] of square boxes: the mean over `JITTER` and a mirror."""
    side = boxes[:, 2:3] - boxes[:, :1]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    total = np.zeros([len(boxes), 5, 2])
    for right, down, scale in JITTER:
        middle = centre + side * (right, down)
        corner, extent = middle - side * scale / 2, side * scale
        patches = _patches(image, np.concatenate([corner, corner + extent], 1), 48)
        both = np.concatenate([patches, patches[:, :, ::-1]])
        points = _networks()[2](both)[1].numpy().reshape(-1, 2, 5).transpose(0, 2, 1)
        straight, mirrored = np.split(points, 2)
        mirrored = mirrored[:, MIRRORED] * (-1, 1) + (1, 0)
        mean = (straight + mirrored) / 2
        total += corner[:, None] + mean * extent[:, None]
    return total / len(JITTER)


def detect_faces(
    photo: np.ndarray, detection_size: int = 480, min_face: float = 0.05
) -> list[Face]:
    """Finds the faces of a photo.

    Args:
        photo: uint8 [H, W, 3] RGB, upright.
        detection_size: longer side in pixels of the small copy that is searched.
        min_face: the smallest face that is looked for, as a fraction of that side.

    Returns:
        The faces, largest first.

    Raises:
        ValueError: the photo is not such an array.
    """
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise ValueError(
            "A photo must be uint8 RGB of shape [height, width, 3]. "
            f"Received: {photo.dtype} of shape {photo.shape}."
        )
    height, width = photo.shape[:2]
    longer = max(height, width)
    if longer > detection_size:
        ratio = detection_size / longer
        small = cv2.resize(
            photo,
            (max(1, round(width * ratio)), max(1, round(height * ratio))),
            interpolation=cv2.INTER_AREA,
        )
    else:
        small = photo
    image = (small.astype(np.float32) - 127.5) / 128
    boxes, _ = _propose(image, max(min_face * max(small.shape[:2]), CELL))
    if not len(boxes):
        return []
    _, refine, last = _networks()

    boxes = _square(boxes)
    offsets, probability = (x.numpy() for x in refine(_patches(image, boxes, 24)))
    kept = probability[:, 1] > THRESHOLDS[1]
    side = boxes[:, 2:3] - boxes[:, :1]
    boxes, scores = (boxes + offsets * side)[kept], probability[kept, 1]
    boxes = _square(boxes[_suppress(boxes, scores, 0.7)])
    if not len(boxes):
        return []

    offsets, _, probability = (x.numpy() for x in last(_patches(image, boxes, 48)))
    kept = probability[:, 1] > THRESHOLDS[2]
    side = boxes[:, 2:3] - boxes[:, :1]
    boxes, scores = (boxes + offsets * side)[kept], probability[kept, 1]
    kept = _suppress(boxes, scores, 0.5, least=True)
    boxes, scores = boxes[kept], scores[kept]
    if not len(boxes):
        return []
    # A second look, from boxes that no longer depend on the pyramid's steps.
    landmarks = _read_landmarks(image, _square(boxes))

    ratio = np.array([width / small.shape[1], height / small.shape[0]])
    found = [
        Face(
            (*(box[:2] * ratio).tolist(), *((box[2:] - box[:2]) * ratio).tolist()),
            points * ratio,
            float(score),
        )
        for box, points, score in zip(boxes, landmarks, scores, strict=True)
    ]
    return sorted(found, key=lambda face: -face.box[2] * face.box[3])
