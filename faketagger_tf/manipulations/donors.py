"""Faces that a graphics swap puts onto others: drawn, or composites of many people."""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import cv2
import numpy as np

from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.manipulations import mesh
from faketagger_tf.manipulations.names import named
from faketagger_tf.photos.canvas import LANDMARKS

# The identity and the seed of the photo of each drawn donor: frontal, no glasses.
DRAWN = {"drawn1": (1, 1), "drawn2": (4, 4), "drawn3": (16, 16), "drawn4": (23, 23)}
# Squares side by side, each the mean of 28 people whose landmarks were brought to the
# template's, from dark skin to light.
COMPOSITES = ("composite1", "composite2", "composite3", "composite4")
COMPOSITES_FILE = (
    pathlib.Path(__file__).parents[1] / "weights" / "donors" / "composites.webp"
)
DONORS = (*DRAWN, *COMPOSITES)
SIZE = 384  # Side in pixels at which donors are drawn.


@dataclasses.dataclass(frozen=True)
class Donor:
    """A photo with one face.

    Attributes:
        pixels: uint8 [H, W, 3] RGB.
        landmarks: float64 [5, 2] in the order of `canvas.LANDMARKS`, photo pixels.
    """

    pixels: np.ndarray
    landmarks: np.ndarray


def donor_names(name: str) -> tuple[str, ...]:
    """The donors that a spec string names; `*` is all of them.

    Raises:
        ValueError: there is no such donor.
    """
    return named("donor", name, DONORS)


@functools.cache
def load_donor(name: str) -> Donor:
    """Returns a donor; errors as for `donor_names`."""
    donor_names(name)
    if name in DRAWN:
        identity, seed = DRAWN[name]
        photo, _, landmarks = draw_photo(
            identity_from_seed(identity), np.random.default_rng(seed), SIZE
        )
        return Donor(photo, landmarks)
    strip = cv2.imread(str(COMPOSITES_FILE), cv2.IMREAD_COLOR)
    side = strip.shape[0]
    number = COMPOSITES.index(name)
    square = strip[:, number * side : (number + 1) * side, ::-1]
    return Donor(np.ascontiguousarray(square), mesh.to_canvas(LANDMARKS, side))


def fit_donor(
    donor: Donor, landmarks: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Warps a donor's face to landmarks.

    Args:
        donor: whose face.
        landmarks: [5, 2] in pixels of the picture that it is fitted to.
        height, width: of that picture.

    Returns:
        (uint8 [height, width, 3], mask uint8 [height, width]): the warped face, and 255
        where it is.
    """
    target, source = (mesh.mesh_points(p) for p in (landmarks, donor.landmarks))
    places = mesh.piecewise_affine_map(target, source, height, width)
    outside = np.isnan(places[..., 0])
    places = np.where(outside[..., None], -1e3, places - 0.5)
    pixels = donor.pixels
    # Averaged first where the face gets smaller, since remap takes single samples.
    shrink = np.ptp(source[5:, 1]) / max(np.ptp(target[5:, 1]), 1e-6)
    if shrink > 1.5:
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.4 * shrink)
    warped = cv2.remap(
        pixels,
        places[..., 0].astype(np.float32),
        places[..., 1].astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mask = mesh.hull_mask(target, height, width)
    mask[outside] = 0
    return warped, mask
