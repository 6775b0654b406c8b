"""A face swap on a photo, so that anyone can try what a tag survives.

The classic pipeline: find the face, align it, run the autoencoder with the other
identity's decoder, match its colours and blend it back by Poisson editing (Perez et
al. 2003, `cv2.seamlessClone`).
"""

from __future__ import annotations

import cv2
import keras
import numpy as np

from faketagger_tf.manipulations.face import face_mask, match_colour
from faketagger_tf.models import FaceswapConfig, swap_function
from faketagger_tf.photos import similarity_from_landmarks, warp_canvas
from faketagger_tf.photos.faces import Face, detect_faces

MASK = (0.40, 0.46)  # Half axes of the ellipse that is exchanged, in face crops.
MIN_FACE = 24  # Side in photo pixels of the smallest crop that is swapped.


def swap_faces(
    photo: np.ndarray,
    config: FaceswapConfig,
    model: keras.Model,
    identity: str,
    faces: list[Face] | None = None,
    least: int = 1,
) -> tuple[np.ndarray, int]:
    """Swaps every face of a photo to one identity.

    Args:
        photo: uint8 [H, W, 3] RGB, upright.
        config, model: a face-swap autoencoder.
        identity: one of the model's identities.
        faces: from `detect_faces`, where they are known already.
        least: number of faces that must be swapped.

    Returns:
        A new photo of the same shape, and how many faces were swapped.

    Raises:
        ValueError: the model has no such identity, or fewer faces could be swapped.
    """
    check_identity(config, identity)
    faces = detect_faces(photo) if faces is None else faces
    size = config.face_size
    canvas_size = round(size / config.face_region)
    render = swap_function(model, identity)
    swapped, count = photo, 0
    for face in faces:
        matrix = similarity_from_landmarks(
            face.landmarks, canvas_size, config.canvas_scale
        )
        matrix[:, 2] -= (canvas_size - size) / 2
        if size / np.hypot(matrix[0, 0], matrix[1, 0]) < MIN_FACE:
            continue
        crop = warp_canvas(swapped, matrix, size)[None].astype(np.float32) / 255
        result = keras.ops.convert_to_numpy(render(crop))
        result = match_colour(np, result, crop, face_mask("feather", size, 0, size))[0]
        blended = _blend(swapped, result, matrix)
        if blended is not None:
            swapped, count = blended, count + 1
    if count < least:
        raise ValueError(
            "The photo has no face that could be swapped. "
            f"Received: {photo.shape[1]}x{photo.shape[0]} pixels, {len(faces)} faces."
        )
    return swapped, count


def check_identity(config: FaceswapConfig, identity: str) -> None:
    """Raises a ValueError where the model has no such identity."""
    if identity not in config.identities:
        raise ValueError(
            f"The face-swap model has no identity {identity!r}. "
            f"Accepted: {', '.join(config.identities)}."
        )


def _blend(photo: np.ndarray, face: np.ndarray, matrix: np.ndarray):
    """Clones `face` float32 [F, F, 3] in [0, 1] into a photo; None if outside of it."""
    size = len(face)
    corners = np.array([[0, 0, 1], [size, 0, 1], [size, size, 1], [0, size, 1]])
    corners = corners @ cv2.invertAffineTransform(matrix).T
    height, width = photo.shape[:2]
    left, top = np.floor(np.clip(corners.min(0) - 2, 0, (width, height))).astype(int)
    right, bottom = np.ceil(np.clip(corners.max(0) + 2, 0, (width, height))).astype(int)
    if min(right - left, bottom - top) < 8:
        return None
    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ (left, top)
    local[:, 2] += local[:, :2] @ (0.5, 0.5) - 0.5
    pixels = cv2.warpAffine(
        np.clip(face * 255, 0, 255),
        local,
        (right - left, bottom - top),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

    x = np.arange(left, right)[None, :] + 0.5
    y = np.arange(top, bottom)[:, None] + 0.5
    (a, b, c), (d, e, f) = matrix / size
    across, down = a * x + b * y + c - 0.5, d * x + e * y + f - 0.5
    inside = (across / MASK[0]) ** 2 + (down / MASK[1]) ** 2 < 1
    # seamlessClone needs a border of pixels to tie the gradient field to.
    inside[[0, -1], :] = inside[:, [0, -1]] = False
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if len(rows) < 4 or len(columns) < 4:
        return None
    # The clone is centred on the middle of the mask's bounding box.
    middle = (
        int(columns[0] + (columns[-1] - columns[0] + 1) // 2),
        int(rows[0] + (rows[-1] - rows[0] + 1) // 2),
    )
    target = np.ascontiguousarray(photo[top:bottom, left:right])
    clone = cv2.seamlessClone(
        pixels, target, inside.astype(np.uint8) * 255, middle, cv2.NORMAL_CLONE
    )
    result = photo.copy()
    result[top:bottom, left:right] = clone
    return result
