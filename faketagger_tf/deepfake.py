"""Deepfakes of whole photos, so that anyone can try what a tag survives.

Four kinds, each of which finds the faces first:

- `swap_faces`, the classic pipeline: align the face, run the autoencoder with the other
  identity's decoder, match its colours and blend it back by Poisson editing (Perez et
  al. 2003, `cv2.seamlessClone`);
- `swap_faces_by_graphics`, which FaceForensics++ (Roessler et al. 2019) calls FaceSwap:
  a donor's face warped to the landmarks, matched in colour and blended in;
- `reenact_faces`: the face's own pixels, warped to another expression;
- `edit_faces`: hair, skin, age, beard or glasses edited, the face drawn anew by a
  latent autoencoder and pasted back, as the output of attribute-editing GANs is
  (AttGAN, He et al. 2019; StarGAN, Choi et al. 2018).

Entire synthesis needs no face: `models.regenerate_photo`.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import keras
import numpy as np

from faketagger_tf.manipulations import MANIPULATIONS, Range, parse_chain
from faketagger_tf.manipulations.attributes import (
    REGIONS,
    Layout,
    attribute_names,
    edit_attribute,
    face_units,
    redrawn,
)
from faketagger_tf.manipulations.blend import poisson_clone
from faketagger_tf.manipulations.donors import donor_names, fit_donor, load_donor
from faketagger_tf.manipulations.face import face_mask, match_colour
from faketagger_tf.manipulations.mesh import CANVAS_SCALE, hull_mask, mesh_points
from faketagger_tf.manipulations.reenactment import (
    EXPRESSION,
    RING_AXES,
    canvas_places,
    expression_field,
    paint_mouth,
)
from faketagger_tf.models import FaceswapConfig, regenerate, swap_function
from faketagger_tf.photos import similarity_from_landmarks, warp_canvas
from faketagger_tf.photos.faces import Face, detect_faces

MASK = (0.40, 0.46)  # Half axes of the ellipse that is exchanged, in face crops.
MIN_FACE = 24  # Side in photo pixels of the smallest face that is changed.
EDIT_SIZE = 256  # Side in pixels of the canvas that is edited, as StarGAN's v2 has it.
EDIT_FADE = 0.04  # Of its side: a whole canvas that is pasted back fades to its border.
LATTICE = 128  # Points a side, over the canvas, at which a warp is computed.


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
    size = config.face_size
    canvas_size = round(size / config.face_region)
    render = swap_function(model, identity)

    def change(photo, face):
        matrix = similarity_from_landmarks(
            face.landmarks, canvas_size, config.canvas_scale
        )
        matrix[:, 2] -= (canvas_size - size) / 2
        if size / np.hypot(matrix[0, 0], matrix[1, 0]) < MIN_FACE:
            return None
        crop = warp_canvas(photo, matrix, size)[None].astype(np.float32) / 255
        result = keras.ops.convert_to_numpy(render(crop))
        result = match_colour(np, result, crop, face_mask("feather", size, 0, size))[0]
        return _blend(photo, result, matrix)

    return _change_faces(photo, faces, least, change, "swapped")


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
    pixels = cv2.warpAffine(
        np.clip(face * 255, 0, 255),
        _of_part(matrix, left, top),
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
    target = np.ascontiguousarray(photo[top:bottom, left:right])
    clone = poisson_clone(target, pixels, inside)
    if clone is None:
        return None
    result = photo.copy()
    result[top:bottom, left:right] = clone
    return result


def swap_faces_by_graphics(
    photo: np.ndarray,
    donor: str = "*",
    rng: np.random.Generator | None = None,
    faces: list[Face] | None = None,
    least: int = 1,
) -> tuple[np.ndarray, int]:
    """Puts a donor's face onto every face of a photo by computer graphics.

    Args:
        photo: uint8 [H, W, 3] RGB, upright.
        donor: one of `manipulations.donors.DONORS`: drawn, or a composite of many
            people. `*` draws one for each face.
        rng: draws the donors; a fixed one by default.
        faces, least: as for `swap_faces`.

    Returns:
        A new photo of the same shape, and how many faces were swapped.

    Raises:
        ValueError: there is no such donor, or fewer faces could be swapped.
    """
    names = donor_names(donor)
    rng = np.random.default_rng(0) if rng is None else rng

    def change(photo, face):
        points = mesh_points(face.landmarks)
        square = _square_around(photo, points)
        if square is None:
            return None
        left, top, right, bottom = square
        target = np.ascontiguousarray(photo[top:bottom, left:right])
        chosen = load_donor(names[rng.integers(len(names))])
        landmarks = face.landmarks - (left, top)
        pixels, mask = fit_donor(chosen, landmarks, bottom - top, right - left)
        weights = (mask > 0).astype(np.float32)[..., None]
        if not weights.any():
            return None
        pair = (p[None].astype(np.float32) / 255 for p in (pixels, target))
        matched = match_colour(np, *pair, weights)[0]
        matched = np.clip(np.rint(255 * matched), 0, 255).astype(np.uint8)
        clone = poisson_clone(target, matched, mask)
        if clone is None:
            return None
        result = photo.copy()
        result[top:bottom, left:right] = clone
        return result

    return _change_faces(photo, faces, least, change, "swapped")


def reenact_faces(
    photo: np.ndarray,
    expression: Mapping[str, float] | None = None,
    rng: np.random.Generator | None = None,
    faces: list[Face] | None = None,
    least: int = 1,
) -> tuple[np.ndarray, int]:
    """Gives every face of a photo another expression and turn of the head.

    Args:
        photo: uint8 [H, W, 3] RGB, upright.
        expression: amounts by the names of `manipulations.reenactment.EXPRESSION`, as
            `parse_expression` gives them; what is left out stays as it is. None draws
            one for each face, from the ranges that `reenact` has by default.
        rng: draws the expressions; a fixed one by default.
        faces, least: as for `swap_faces`.

    Returns:
        A new photo of the same shape, and how many faces were changed.

    Raises:
        ValueError: fewer faces could be changed.
    """
    rng = np.random.default_rng(0) if rng is None else rng

    def change(photo, face):
        amounts = expression
        if amounts is None:
            amounts = {
                parameter.name: rng.uniform(
                    parameter.default.low, parameter.default.high
                )
                for parameter in MANIPULATIONS["reenact"].parameters
            }
        return _reenact(photo, face, amounts)

    return _change_faces(photo, faces, least, change, "changed")


def edit_faces(
    photo: np.ndarray,
    model: keras.Model,
    attribute: str = "*",
    amount: float = 0.7,
    region: str = "face",
    rng: np.random.Generator | None = None,
    faces: list[Face] | None = None,
    least: int = 1,
) -> tuple[np.ndarray, int]:
    """Edits an attribute of every face and has a latent model draw it anew.

    The face's canvas is brought to `EDIT_SIZE` pixels, edited, run through the model,
    and pasted back with a soft border.

    Args:
        photo: uint8 [H, W, 3] RGB, upright.
        model: a latent autoencoder, of `models.build_latent`.
        attribute: one of `manipulations.attributes.ATTRIBUTES`. `*` draws one for each
            face.
        amount: how far it goes, in [0, 1].
        region: what is drawn anew: "face", with what was edited beside it, such as
            hair, or the whole "canvas".
        rng: draws the attributes; a fixed one by default.
        faces, least: as for `swap_faces`.

    Returns:
        A new photo of the same shape, and how many faces were changed.

    Raises:
        ValueError: there is no such attribute or region, the amount is out of range, or
            fewer faces could be changed.
    """
    names = attribute_names(attribute)
    if not 0 <= amount <= 1:
        raise ValueError(f"The amount must be from 0 to 1. Received: {amount!r}.")
    if region not in REGIONS:
        raise ValueError(
            f"There is no region {region!r}. Accepted: {', '.join(REGIONS)}."
        )
    rng = np.random.default_rng(0) if rng is None else rng

    def change(photo, face):
        name = names[rng.integers(len(names))]
        return _edit(photo, face, model, name, amount, region)

    return _change_faces(photo, faces, least, change, "changed")


def parse_expression(text: str) -> dict[str, float] | None:
    """Reads an expression such as "mouth=0.8,turn=-0.5"; None for an empty text.

    Raises:
        ValueError: a name or an amount that `reenact` does not take.

    Example:
        >>> parse_expression("mouth=0.8,turn=-0.5")
        {'mouth': 0.8, 'turn': -0.5}
    """
    if not text.strip():
        return None
    (step,) = parse_chain(f"reenact({text})").steps
    named = zip(EXPRESSION, step.arguments, strict=True)
    return {name: value for name, value in named if not isinstance(value, Range)}


def _change_faces(photo, faces, least: int, change, verb: str):
    """Applies `change(photo, face)`, which may refuse with None, to every face."""
    faces = detect_faces(photo) if faces is None else faces
    changed, count = photo, 0
    for face in faces:
        result = change(changed, face)
        if result is not None:
            changed, count = result, count + 1
    if count < least:
        raise ValueError(
            f"The photo has no face that could be {verb}. "
            f"Received: {photo.shape[1]}x{photo.shape[0]} pixels, {len(faces)} faces."
        )
    return changed, count


def _of_part(matrix: np.ndarray, left: int, top: int) -> np.ndarray:
    """A matrix for OpenCV, which counts from pixel centres, of a photo's part."""
    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ (left, top)
    local[:, 2] += local[:, :2] @ (0.5, 0.5) - 0.5
    return local


def _square_around(photo: np.ndarray, points: np.ndarray):
    """(left, top, right, bottom) around points; None if too little is in the photo."""
    size = np.array(photo.shape[1::-1])
    left, top = np.clip(np.floor(points.min(0)) - 4, 0, size).astype(int)
    right, bottom = np.clip(np.ceil(points.max(0)) + 4, 0, size).astype(int)
    small = min(right - left, bottom - top) < MIN_FACE
    return None if small else (left, top, right, bottom)


def _reenact(photo: np.ndarray, face: Face, expression: Mapping[str, float]):
    """One face of `reenact_faces`; None if it lies outside of the photo."""
    matrix = similarity_from_landmarks(face.landmarks, LATTICE, CANVAS_SCALE)
    back = cv2.invertAffineTransform(matrix)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * RING_AXES * LATTICE
    corners = corners / CANVAS_SCALE + LATTICE / 2
    square = _square_around(photo, corners @ back[:, :2].T + back[:, 2])
    if square is None:
        return None
    left, top, right, bottom = square
    target = np.ascontiguousarray(photo[top:bottom, left:right])
    amounts = np.array([expression.get(n, 0.0) for n in EXPRESSION], np.float32)

    own = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
    own = (own / LATTICE - 0.5) * CANVAS_SCALE + 0.5
    field = expression_field(canvas_places(LATTICE), own) @ amounts
    moves = field.reshape(LATTICE, LATTICE, 2) * (LATTICE / CANVAS_SCALE)
    # From moves on the canvas to moves in the photo.
    moves = (moves @ back[:, :2].T).astype(np.float32)

    x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
    places = np.stack([x, y], -1) @ matrix[:, :2].T + matrix[:, 2]
    lattice = (places - 0.5).astype(np.float32)
    moves = cv2.remap(
        moves,
        lattice[..., 0],
        lattice[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    row, column = np.mgrid[: bottom - top, : right - left].astype(np.float32)
    warped = cv2.remap(
        target,
        column - moves[..., 0],
        row - moves[..., 1],
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    inside = hull_mask(
        mesh_points(face.landmarks - (left, top)), bottom - top, right - left
    )
    brightness = target[inside > 0].mean() / 255 if inside.any() else 0.5
    units = (places / LATTICE - 0.5) * CANVAS_SCALE + 0.5
    colours, weights = paint_mouth(
        np,
        units.reshape(-1, 2).astype(np.float32),
        amounts[None],
        np.array([brightness], np.float32),
        own,
    )
    colours, weights = (p.reshape(*units.shape[:2], -1) for p in (colours, weights))
    mixed = warped + weights * (255 * colours - warped)
    result = photo.copy()
    result[top:bottom, left:right] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return result


def _edit(photo: np.ndarray, face: Face, model, attribute: str, amount, region: str):
    """One face of `edit_faces`; None if it is too small or outside of the photo."""
    matrix = similarity_from_landmarks(face.landmarks, EDIT_SIZE, CANVAS_SCALE)
    back = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * EDIT_SIZE
    square = _square_around(photo, corners @ back[:, :2].T + back[:, 2])
    side = EDIT_SIZE / np.hypot(matrix[0, 0], matrix[1, 0])
    if square is None or side / CANVAS_SCALE < MIN_FACE:
        return None
    row, column = np.mgrid[:EDIT_SIZE, :EDIT_SIZE] + 0.5
    own = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
    layout = Layout(face_units(np.stack([column, row], -1), own))
    canvas = warp_canvas(photo, matrix, EDIT_SIZE)[None].astype(np.float32) / 255
    edited, where = edit_attribute(canvas, attribute, amount, layout)
    drawn = keras.ops.convert_to_numpy(regenerate(model, edited))[0]
    weights = keras.ops.convert_to_numpy(redrawn(region, where, layout))[0]
    middle = np.minimum(np.minimum(row, column), EDIT_SIZE - np.maximum(row, column))
    weights = weights * np.clip(middle / (EDIT_FADE * EDIT_SIZE), 0, 1)[..., None]

    left, top, right, bottom = square
    pasted = np.concatenate([255 * drawn, weights], -1).astype(np.float32)
    if side < EDIT_SIZE / 1.5:  # Smaller again: averaged first, against aliasing.
        pasted = cv2.GaussianBlur(pasted, (0, 0), 0.4 * EDIT_SIZE / side)
    pasted = cv2.warpAffine(
        pasted,
        _of_part(matrix, left, top),
        (right - left, bottom - top),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    colours, weights = pasted[..., :3], np.clip(pasted[..., 3:], 0, 1)
    result = photo.copy()
    target = photo[top:bottom, left:right].astype(np.float32)
    mixed = target + weights * (np.clip(colours, 0, 255) - target)
    result[top:bottom, left:right] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return result
