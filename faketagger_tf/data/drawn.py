"""Drawn faces: an endless, seeded supply of portraits that show nobody.

Every face is drawn from formulas, so that demos and tests need no photo of a person
and nothing is downloaded. A face is a texture and a height field in a frontal frame;
it is lit from the normals of the field, and turned by moving each point along the
field's depth. Hair, neck, clothes, glasses and background are layers around it.

    python -m faketagger_tf.data.drawn --output=docs/drawn-faces.png
    python -m faketagger_tf.data.drawn --folder=drawn --identities=2 --count=50

The first command writes a contact sheet, the second photos in one folder per identity.

The frontal frame: u to the viewer's right, v down, z to the viewer, in units of half a
face box, so that the box is [-1, 1] x [-1, 1] and the landmarks lie where
`canvas.LANDMARKS` has them.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from concurrent import futures

import cv2
import numpy as np
from absl import app, flags

from faketagger_tf.data.canvas import canvas_square, crop_canvas
from faketagger_tf.data.images import write_image

HAIR_STYLES = ("bald", "short", "fringe", "long", "bob", "curly", "receding")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
CLOTHES = ("crew", "suit", "vneck")

# sRGB anchors, light to dark; an identity's number picks a point in between.
_SKINS = np.array(
    [
        [246, 214, 194],
        [236, 188, 160],
        [214, 160, 124],
        [176, 120, 84],
        [128, 84, 58],
        [84, 56, 42],
    ]
)
_HAIRS = {
    "black": (26, 22, 22),
    "dark brown": (58, 38, 28),
    "brown": (98, 66, 42),
    "blond": (196, 156, 98),
    "red": (150, 72, 36),
    "grey": (150, 148, 146),
    "white": (216, 212, 206),
}
_IRISES = ((70, 44, 26), (104, 70, 36), (92, 104, 62), (88, 122, 152), (110, 120, 126))
_FABRICS = (
    (38, 44, 62),
    (60, 60, 64),
    (150, 40, 44),
    (44, 90, 70),
    (190, 186, 176),
    (70, 96, 150),
    (120, 84, 130),
    (206, 150, 70),
)


@dataclasses.dataclass(frozen=True)
class Identity:
    """The features that make a drawn face recognisable; see `identity_from_seed`.

    Lengths are in half face boxes, `skin` and `age` run from 0 to 1 (light to dark,
    young to old), `texture` seeds freckles, wrinkles and hair ends.
    """

    skin: float = 0.3
    redness: float = 0.5
    age: float = 0.3
    freckles: float = 0.0
    face_width: float = 0.80
    jaw: float = 0.5
    chin: float = 1.0
    forehead: float = 1.12
    eye_spacing: float = 0.40
    eye_width: float = 0.17
    eye_height: float = 0.085
    eye_tilt: float = 0.0
    iris: int = 0
    brow_height: float = 0.22
    brow_thickness: float = 0.05
    brow_arch: float = 0.06
    nose_width: float = 0.14
    nose_length: float = 0.46
    nose_height: float = 0.26
    mouth_width: float = 0.32
    upper_lip: float = 0.055
    lower_lip: float = 0.08
    lip_colour: float = 0.3
    hair: str = "brown"
    hair_style: str = "short"
    hair_volume: float = 0.12
    hair_part: float = 0.2
    beard: str = "none"
    glasses: int = 0
    texture: int = 0


# The two identities of the demo, as unlike each other as the drawing allows.
DEFAULT_IDENTITIES = (
    Identity(
        skin=0.17,
        redness=0.7,
        age=0.25,
        freckles=0.5,
        face_width=0.76,
        jaw=0.25,
        chin=0.99,
        eye_height=0.095,
        eye_width=0.18,
        eye_tilt=0.05,
        iris=3,
        brow_thickness=0.035,
        brow_arch=0.08,
        nose_width=0.115,
        nose_height=0.22,
        mouth_width=0.31,
        upper_lip=0.065,
        lower_lip=0.09,
        lip_colour=0.8,
        hair="red",
        hair_style="long",
        hair_volume=0.16,
        texture=1,
    ),
    Identity(
        skin=0.72,
        redness=0.4,
        age=0.6,
        face_width=0.86,
        jaw=0.8,
        chin=1.05,
        eye_height=0.075,
        iris=0,
        brow_thickness=0.065,
        brow_arch=0.04,
        nose_width=0.18,
        nose_height=0.28,
        mouth_width=0.35,
        upper_lip=0.06,
        lower_lip=0.085,
        lip_colour=0.15,
        hair="black",
        hair_style="receding",
        hair_volume=0.05,
        beard="full",
        glasses=1,
        texture=2,
    ),
)


def identity_from_seed(seed: int) -> Identity:
    """Draws the features of an identity; the same seed gives the same identity."""
    rng = np.random.default_rng([seed, 7])
    uniform = rng.uniform
    skin = uniform()
    age = uniform()
    dark = ("black", "dark brown", "brown")
    hair = rng.choice(dark if skin > 0.45 else [*dark, "blond", "red"])
    if age > 0.65 and uniform() < 0.6:
        hair = rng.choice(["grey", "white"])
    style = rng.choice(HAIR_STYLES, p=(0.06, 0.28, 0.16, 0.16, 0.12, 0.12, 0.10))
    bearded = style in ("bald", "short", "receding", "curly") and uniform() < 0.55
    return Identity(
        skin=skin,
        redness=uniform(),
        age=age,
        freckles=uniform() ** 3 if skin < 0.4 else 0.0,
        face_width=uniform(0.74, 0.88),
        jaw=uniform(),
        chin=uniform(0.96, 1.07),
        forehead=uniform(1.06, 1.2),
        eye_spacing=uniform(0.37, 0.43),
        eye_width=uniform(0.155, 0.185),
        eye_height=uniform(0.065, 0.1),
        eye_tilt=uniform(-0.06, 0.1),
        iris=int(rng.integers(2 if skin > 0.5 else len(_IRISES))),
        brow_height=uniform(0.19, 0.25),
        brow_thickness=uniform(0.03, 0.07),
        brow_arch=uniform(0.02, 0.09),
        nose_width=uniform(0.11, 0.18),
        nose_length=uniform(0.42, 0.5),
        nose_height=uniform(0.2, 0.32),
        mouth_width=uniform(0.27, 0.36),
        upper_lip=uniform(0.035, 0.07),
        lower_lip=uniform(0.06, 0.1),
        lip_colour=uniform(),
        hair=str(hair),
        hair_style=str(style),
        hair_volume=uniform(0.06, 0.2),
        hair_part=uniform(-0.4, 0.4),
        beard=str(rng.choice(BEARDS[1:])) if bearded else "none",
        glasses=int(rng.choice([0, 0, 0, 1, 2])),
        texture=int(rng.integers(2**31)),
    )


def default_identities(count: int = 2) -> dict[str, Identity]:
    """Returns `count` identities (1 to 26) named "A", "B", ..."""
    if not 1 <= count <= 26:
        raise ValueError(f"Identities must number from 1 to 26. Received: {count!r}.")
    more = [identity_from_seed(seed) for seed in range(2, count)]
    faces = [*DEFAULT_IDENTITIES, *more][:count]
    return {chr(ord("A") + n): face for n, face in enumerate(faces)}


@dataclasses.dataclass(frozen=True)
class _Scene:
    """What changes from one photo of an identity to the next."""

    yaw: float
    pitch: float
    roll: float
    smile: float
    mouth_open: float
    brow_raise: float
    blink: float
    gaze: tuple[float, float]
    light: np.ndarray  # unit vector (u, v, z) towards the light
    key: np.ndarray  # RGB of the light
    ambient: np.ndarray
    clothes: str
    fabric: np.ndarray
    second: np.ndarray
    grain: np.ndarray  # shifts into the noise banks


def _draw_scene(rng: np.random.Generator) -> _Scene:
    azimuth, elevation = rng.uniform(-1.0, 1.0), rng.uniform(0.05, 0.85)
    strength, warmth = rng.uniform(0.55, 0.95), rng.uniform(-0.08, 0.08)
    tint = np.array([1 + warmth, 1.0, 1 - warmth], np.float32)
    fabrics = rng.choice(len(_FABRICS), 2, replace=False)
    open_mouth = rng.uniform() < 0.35
    return _Scene(
        yaw=float(np.clip(rng.normal(0, 0.22), -0.45, 0.45)),
        pitch=float(np.clip(rng.normal(0, 0.10), -0.22, 0.22)),
        roll=float(np.clip(rng.normal(0, 0.07), -0.2, 0.2)),
        smile=rng.uniform(-0.1, 1.0),
        mouth_open=rng.uniform(0.15, 1.0) if open_mouth else 0.0,
        brow_raise=rng.uniform(-0.5, 1.0),
        blink=rng.uniform(0.6, 1.0) if rng.uniform() < 0.06 else rng.uniform(0, 0.3),
        gaze=(rng.normal(0, 0.35), rng.normal(0, 0.2)),
        light=np.array(
            [
                np.sin(azimuth) * np.cos(elevation),
                -np.sin(elevation),
                np.cos(azimuth) * np.cos(elevation),
            ],
            np.float32,
        ),
        key=strength * tint,
        ambient=rng.uniform(0.28, 0.5) * (2 - tint),
        clothes=str(rng.choice(CLOTHES)),
        fabric=_linear(_FABRICS[fabrics[0]]),
        second=_linear(_FABRICS[fabrics[1]]),
        grain=rng.integers(0, 512, 8),
    )


class _Field:
    """Coordinates of a grid and the shapes that are drawn on it."""

    def __init__(self, left, top, right, bottom, resolution):
        self.left, self.top, self.resolution = left, top, resolution
        columns = round((right - left) * resolution)
        rows = round((bottom - top) * resolution)
        u = left + (np.arange(columns, dtype=np.float32) + 0.5) / resolution
        v = top + (np.arange(rows, dtype=np.float32) + 0.5) / resolution
        self.u, self.v = np.meshgrid(u, v)
        self.shape = self.u.shape

    def window(self, left, top, right, bottom):
        """Returns the part of the field around a feature, and its slices."""
        (first, last), (upper, lower) = (
            [max(0, round((x - start) * self.resolution)) for x in pair]
            for pair, start in (
                ((left, right), self.left),
                ((top, bottom), self.top),
            )
        )
        part = object.__new__(_Field)
        slices = (slice(upper, lower), slice(first, last))
        part.left = self.left + first / self.resolution
        part.top = self.top + upper / self.resolution
        part.resolution = self.resolution
        part.u, part.v = self.u[slices], self.v[slices]
        part.shape = part.u.shape
        return part, slices

    def inside(self, distance, softness=1.0):
        """Anti-aliased mask of a signed distance (negative inside), in units."""
        return np.clip(0.5 - distance * (self.resolution / softness), 0, 1)

    def bump(self, u, v, width, height):
        """Gaussian hill; separable where it stands upright."""
        across = np.exp(-(((self.u[0] - u) / width) ** 2))
        down = np.exp(-(((self.v[:, 0] - v) / height) ** 2))
        return down[:, None] * across[None]

    def bumps(self, u, v, width, height):
        """The sum of a hill at (u, v) and its mirror image at (-u, v)."""
        across = np.exp(-(((self.u[0] - u) / width) ** 2))
        across += np.exp(-(((self.u[0] + u) / width) ** 2))
        down = np.exp(-(((self.v[:, 0] - v) / height) ** 2))
        return down[:, None] * across[None]

    def pixels(self, u, v):
        """Coordinates for cv2.remap of points in units."""
        return (
            ((u - self.left) * self.resolution - 0.5).astype(np.float32),
            ((v - self.top) * self.resolution - 0.5).astype(np.float32),
        )


def _linear(colour) -> np.ndarray:
    """sRGB 0-255 to linear light, with gamma 2 for speed."""
    return (np.asarray(colour, np.float32) / 255) ** 2


def _smooth(low, high, x):
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _mix(image, colour, mask):
    """Blends a colour or an image into `image` in place."""
    image += (colour - image) * mask[..., None]


@functools.lru_cache(maxsize=1)
def _noises() -> dict[str, np.ndarray]:
    """Banks of [512, 512] float32 noise with mean 0 and deviation 1."""
    rng = np.random.default_rng(2024)

    def bank(*blurs):
        total = np.zeros([512, 512], np.float32)
        for across, down, weight in blurs:
            noise = rng.standard_normal([512, 512]).astype(np.float32)
            noise = np.pad(noise, 96, "wrap")  # so that the bank tiles
            noise = cv2.GaussianBlur(noise, (0, 0), across, None, down)[96:-96, 96:-96]
            total += weight * noise / noise.std()
        return (total - total.mean()) / total.std()

    return {
        "skin": bank((0.7, 0.7, 1), (1.6, 1.6, 0.8), (5, 5, 0.6)),
        "cloud": bank((12, 12, 0.6), (28, 28, 1)),
        "strand": bank((0.8, 14, 1), (2.5, 20, 0.9), (8, 16, 0.6)),
        "curl": bank((2.2, 2.2, 1), (5, 5, 0.8)),
        "weave": bank((0.6, 0.6, 1), (0.6, 6, 0.5)),
    }


def _noise(name, x, y):
    """Samples a noise bank at pixel coordinates, repeating it."""
    bank = _noises()[name]
    return cv2.remap(
        bank,
        np.ascontiguousarray(x, np.float32),
        np.ascontiguousarray(y, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )


def _polar(field, centre, angles, radii):
    """Distance of each point over the closed curve's radius in its direction.

    The curve is symmetric about the vertical; `angles` run from 0 (up) to pi (down).
    """
    du, dv = np.abs(field.u), field.v - centre
    radius = np.hypot(du, dv)
    angle = np.arctan2(du, -dv)
    table = _spline(angles, radii)
    curve = np.interp(angle.ravel(), _TABLE_ANGLES, table).astype(np.float32)
    return radius, curve.reshape(field.shape)


_TABLE_ANGLES = np.linspace(0, np.pi, 181)


def _spline(angles, radii):
    """Smooth closed curve through radii: samples of 0..pi, flat at both ends."""
    table = np.interp(_TABLE_ANGLES, angles, radii).astype(np.float32)
    # Linear pieces, mirrored at both ends and smoothed twice, have no corners.
    padded = np.concatenate([table[60:0:-1], table, table[-2:-62:-1]])
    smooth = cv2.GaussianBlur(padded[None], (0, 0), 9, None, 0.01)[0]
    return smooth[60:-60]


def _closed_curve(field, centre, points):
    """`_polar` for a curve through points (u, v) with u >= 0, from top to bottom."""
    points = np.asarray(points, np.float64)
    angles = np.arctan2(points[:, 0], centre - points[:, 1])
    return _polar(field, centre, angles, np.hypot(points[:, 0], points[:, 1] - centre))


_CENTRE = -0.12  # v of the middle of the head


def _head_points(face: Identity, drop: float):
    """The outline of the skull and jaw; `drop` lowers the jaw."""
    width = face.face_width
    return [
        (0.0, _CENTRE - face.forehead - 0.04),
        (0.62 * width, _CENTRE - 0.93 * face.forehead),
        (0.97 * width, -0.68),
        (1.02 * width, -0.15),
        (0.97 * width, 0.22),
        ((0.78 + 0.13 * face.jaw) * width, 0.62 + 0.4 * drop),
        ((0.42 + 0.16 * face.jaw) * width, 0.90 + 0.8 * drop),
        (0.20 * width, face.chin + drop),
        (0.0, face.chin + 0.015 + drop),
    ]


def _height(field, face, scene, drop):
    """Relief of the features over the round of the head, in units."""
    smile = max(scene.smile, 0.0)
    tip = -0.30 + face.nose_length
    relief = -0.13 * field.bumps(face.eye_spacing - 0.02, -0.32, 0.22, 0.13)
    relief += 0.045 * field.bumps(0.40, -0.30 - face.brow_height, 0.26, 0.12)
    cheek = 0.12 + 0.05 * (1 - smile)
    relief += (0.05 + 0.06 * smile) * field.bumps(0.47, cheek, 0.22, 0.2)
    relief -= 0.05 * field.bumps(0.62, 0.45, 0.16, 0.22)
    # Nose: a ridge that rises from between the eyes to the tip, and falls steeply.
    v = field.v[:, 0]
    rise = _smooth(-0.45, tip, v) ** 1.3
    fall = 1 - _smooth(tip - 0.02, tip + 0.15, v)
    width = 0.075 + 0.32 * face.nose_width * _smooth(-0.35, tip, v)
    ridge = np.exp(-((field.u / width[:, None]) ** 2))
    relief += 0.8 * face.nose_height * (rise * fall)[:, None] * ridge
    relief += 0.06 * field.bump(0, tip - 0.01, 0.10, 0.085)
    relief += 0.075 * field.bumps(0.80 * face.nose_width, tip + 0.02, 0.06, 0.07)
    # Folds from the nose to the corners of the mouth.
    depth = 0.006 + 0.018 * smile + 0.02 * face.age
    line = 0.9 * face.nose_width + 0.04 + 0.36 * np.clip(v - tip + 0.03, 0, 1) ** 0.7
    along = _smooth(tip - 0.05, tip + 0.1, v) * (1 - _smooth(0.62, 0.85, v))
    offset = np.abs(field.u) - line[:, None]
    relief -= depth * along[:, None] * np.exp(-((offset / 0.045) ** 2))
    relief += 0.07 * field.bump(0, 0.90 + drop, 0.22, 0.12)
    relief -= 0.035 * field.bump(0, 0.78 + drop, 0.2, 0.05)
    relief -= 0.015 * field.bump(0, tip + 0.2, 0.035, 0.08)
    if face.age > 0.45:
        lines = np.sin((v + 0.02 * np.sin(7 * v)) * 55) * _smooth(-0.60, -0.68, v)
        lines *= 1 - _smooth(-0.90, -0.98, v)
        relief += 0.007 * (face.age - 0.3) * lines[:, None] * np.exp(-(field.u**2) * 4)
    return relief


def _skin_colour(face):
    place = np.clip(face.skin, 0, 1) * (len(_SKINS) - 1)
    return _linear([np.interp(place, range(len(_SKINS)), c) for c in _SKINS.T])


def _skin(field, face):
    """Albedo of the skin, stable for an identity."""
    base = _skin_colour(face)
    shift_u, shift_v = face.texture % 509, face.texture // 509 % 509
    grain = 1.25 * field.resolution / 48
    x, y = field.pixels(field.u, field.v)
    noise = _noise("skin", x / grain + shift_u, y / grain + shift_v)
    cloud = _noise("cloud", x / grain * 1.5 + shift_v, y / grain * 1.5 + shift_u)
    tone = 1 + (0.035 + 0.03 * face.age) * noise + 0.04 * cloud
    skin = base * tone[..., None]
    red = field.bumps(0.48, 0.14, 0.22, 0.18) + 0.8 * field.bump(0, 0.12, 0.14, 0.12)
    red = red + 0.35 * field.bump(0, 0.92, 0.2, 0.1)
    red = (0.10 + 0.30 * face.redness) * (1 - 0.6 * face.skin) * red
    skin *= 1 - red[..., None] * np.array([0.0, 0.55, 0.5], np.float32)
    dark = field.bumps(face.eye_spacing, -0.24, 0.19, 0.13) * (0.14 + 0.18 * face.age)
    skin *= 1 - dark[..., None] * np.array([0.8, 1.0, 0.9], np.float32)
    if face.freckles > 0.1:
        spots = _noise("curl", x / grain * 2.4 + shift_v, y / grain * 2.4 + 77)
        spots = _smooth(1.1, 1.9, spots) * face.freckles
        spots *= np.exp(-(((field.v - 0.05) / 0.35) ** 2))
        skin *= 1 - spots[..., None] * np.array([0.25, 0.42, 0.5], np.float32)
    return skin


def _draw_eye(field, image, wet, face, scene, side):
    """Draws one eye into the albedo, and its highlights into `wet`."""
    spacing, width = side * face.eye_spacing, face.eye_width
    part, at = field.window(
        spacing - 2 * width, -0.30 - 0.27, spacing + 2 * width, -0.30 + 0.25
    )
    out = side * (part.u - spacing)  # towards the temple
    v = part.v + 0.30 + face.eye_tilt * out
    x = np.clip(out / width, -1, 1)
    opening = (1 - 0.9 * scene.blink) * (1 - 0.22 * max(scene.smile, 0))
    opening *= 1 + 0.15 * scene.brow_raise
    arch = (1 - x * x) ** 0.75
    upper = -face.eye_height * opening * arch * (1 - 0.12 * x) + 0.03 * scene.blink
    lower = 0.62 * face.eye_height * (1 - 0.35 * scene.blink) * (1 - x * x)
    lower = np.maximum(lower * (1 + 0.15 * x), upper)
    eye = part.inside(np.maximum(upper - v, v - lower), 1.3)
    eye *= part.inside(np.abs(out) - width)

    target = image[at]
    # Lid crease, and the shade that the brow throws on the lid.
    crease = np.abs(v - upper + 0.045 * (1 - 0.5 * x * x) - 0.02 * scene.blink)
    strength = 0.4 * np.exp(-((crease / 0.018) ** 2)) * (np.abs(out) < 1.15 * width)
    target *= 1 - strength[..., None]
    bag = np.abs(v - lower - 0.07 * arch) / 0.03
    bag = (0.08 + 0.2 * face.age) * np.exp(-(bag**2)) * arch
    target *= 1 - bag[..., None]

    gaze_u = spacing + 0.055 * scene.gaze[0] + 0.02 * scene.yaw
    gaze_v = -0.30 - 0.012 + 0.03 * scene.gaze[1]
    du, dv = part.u - gaze_u, part.v - gaze_v
    radius = np.hypot(du, dv)
    ball = np.array([0.72, 0.69, 0.66], np.float32) * np.ones([*part.shape, 1])
    ball *= (1 - 0.35 * np.clip(np.abs(x), 0, 1) ** 3)[..., None]
    corner = np.exp(-(((out + width * 0.93) / 0.03) ** 2))
    _mix(ball, np.array([0.55, 0.25, 0.22], np.float32), 0.8 * corner)
    iris = _linear(_IRISES[face.iris])
    rays = 1 + 0.25 * np.sin(11 * np.arctan2(dv, du) + face.texture % 7)
    disc = iris * (rays * (0.75 + 5 * np.clip(radius - 0.03, 0, 0.06)))[..., None]
    disc *= (1 - 0.65 * _smooth(0.066, 0.09, radius))[..., None]
    _mix(ball, disc, part.inside(radius - 0.088, 1.5))
    _mix(ball, np.array([0.008, 0.007, 0.007], np.float32), part.inside(radius - 0.036))
    # The upper lid and its lashes shade the eyeball.
    ball *= (1 - 0.6 * np.exp(-np.clip(v - upper, 0, 1) / 0.03))[..., None]
    _mix(target, ball, eye)

    lash = np.exp(-(((v - upper) / (0.016 + 0.008 * (x > 0) * x)) ** 2))
    lash *= part.inside(np.abs(out - 0.01) - 1.07 * width, 3)
    _mix(target, _linear((30, 20, 18)), 0.85 * lash)
    line = np.exp(-(((v - lower) / 0.014) ** 2)) * arch
    _mix(target, target * 0.5, 0.55 * line * (1 - eye))
    spot_u = gaze_u + 0.035 * np.sign(scene.light[0] + 0.01)
    spot = np.hypot(part.u - spot_u, part.v - gaze_v + 0.03)
    wet[at] += 0.9 * part.inside(spot - 0.018, 1.5) * eye
    return eye, at


def _draw_brow(field, image, face, scene, side, colour):
    left = 0.05 if side > 0 else -0.85
    part, at = field.window(left, -0.85, left + 0.80, -0.38)
    out = side * part.u
    t = np.clip((out - 0.16) / 0.52, 0, 1)
    lift = 0.05 * scene.brow_raise
    frown = 0.03 * min(scene.brow_raise, 0) * (1 - t)
    line = -0.30 - face.brow_height - lift - frown
    line = line - face.brow_arch * np.sin(np.pi * t**0.8) * 1.2 + 0.05 * t * t
    half = face.brow_thickness * (1 - 0.72 * t**1.5)
    x, y = part.pixels(part.u, part.v)
    hairs = _noise("strand", (y - side * 0.9 * x) * 1.6 + 40, (x * side + y) * 2.2)
    distance = np.abs(part.v - line) - half + 0.012 * hairs
    ends = _smooth(0.12, 0.2, out) * (1 - _smooth(0.62, 0.72, out))
    mask = np.clip(0.5 - distance / 0.045, 0, 1) * ends
    _mix(image[at], colour * 0.7, 0.85 * mask)


def _draw_mouth(field, image, wet, face, scene, drop):
    smile, jaw = scene.smile + 0.35, 1.25 * drop
    width = face.mouth_width * (1 + 0.16 * max(smile, 0) - 0.10 * scene.mouth_open)
    part, at = field.window(-0.6, 0.38, 0.6, 1.02)
    target = image[at]
    x = np.clip(part.u / width, -1, 1)
    arch = 1 - x * x
    middle = 0.624 - 0.105 * smile * (x * x - 0.35)
    bow = (
        1
        - 0.22 * np.exp(-((x / 0.13) ** 2))
        + 0.12 * np.exp(-(((abs(x) - 0.27) / 0.15) ** 2))
    )
    thin = 1 - 0.25 * max(smile, 0)
    upper_edge = middle - face.upper_lip * thin * arch**0.8 * bow - 0.2 * jaw * arch
    teeth_gap = 0.055 * max(smile - 0.35, 0) * arch
    upper_in = middle - 0.15 * jaw * arch - 0.3 * teeth_gap
    lower_in = middle + jaw * arch + teeth_gap
    lower_edge = lower_in + face.lower_lip * thin * np.sqrt(arch)
    v = part.v
    ends = part.inside(np.abs(part.u) - width)

    skin = target.copy()
    tint = np.array([0.76, 0.36, 0.36], np.float32)
    vivid = np.array([0.70, 0.14, 0.19], np.float32)
    lips = skin * (tint + face.lip_colour * (vivid - tint))
    x_pixel, y_pixel = part.pixels(part.u, part.v)
    fine = _noise("strand", x_pixel * 1.4 + 9, y_pixel * 0.4)
    lips *= (1 + 0.07 * fine)[..., None]
    lips *= (1 - 0.22 * (v < middle))[..., None]
    mask = part.inside(np.maximum(upper_edge - v, v - lower_edge), 2.2) * ends
    _mix(target, lips, 0.9 * mask)

    inner = part.inside(np.maximum(upper_in - v, v - lower_in), 1.3) * ends
    inside = np.ones_like(target) * np.array([0.06, 0.015, 0.015], np.float32)
    tongue = np.exp(-(((v - lower_in) / 0.07) ** 2)) * arch
    _mix(inside, np.array([0.32, 0.10, 0.10], np.float32), 0.8 * tongue)
    row = 0.085 * (1 - 0.35 * x * x)
    teeth = part.inside(np.maximum(upper_in - v, v - upper_in - row))
    gaps = 0.78 + 0.22 * np.abs(np.sin(np.pi * part.u / 0.075 + 0.5 * np.pi)) ** 0.25
    ivory = np.array([0.74, 0.70, 0.62], np.float32)
    ivory = ivory * (gaps * (1 - 0.75 * np.abs(x) ** 3))[..., None]
    _mix(inside, ivory, teeth)
    _mix(target, inside, inner)
    # Without an opening the lips meet in a dark line.
    line = np.exp(-(((v - 0.5 * (upper_in + lower_in)) / 0.014) ** 2))
    line *= part.inside(np.abs(part.u) - 1.03 * width, 2) * (1 - inner)
    closed = 1 - _smooth(0.0, 0.03, float(np.max(lower_in - upper_in)))
    edge = np.exp(-((np.hypot(np.abs(part.u) - width, v - middle) / 0.035) ** 2))
    target *= (1 - 0.75 * np.maximum(closed * line, 0.6 * edge))[..., None]
    shine = np.exp(-(((v - lower_in - 0.4 * face.lower_lip) / 0.022) ** 2))
    shine *= np.exp(-((part.u / 0.14) ** 2)) * mask
    wet[at] += (0.05 + 0.08 * face.lip_colour) * shine

    relief = np.zeros(field.shape, np.float32)
    body = np.sin(np.pi * np.clip((v - upper_edge) / 0.14, 0, 1)) * 0.04
    body += np.sin(np.pi * np.clip((v - lower_in) / 0.12, 0, 1)) * 0.05
    relief[at] = body * arch * ends
    return relief


def _draw_beard(field, image, face, colour, q):
    if face.beard == "none":
        return
    u, v = np.abs(field.u), field.v
    jawline = _smooth(0.12, 0.42, v - 0.35 * (q - 0.75)) * _smooth(0.42, 0.66, q)
    cheek = _smooth(0.0, 0.14, v - 0.30 + 0.95 * (u - 0.45))
    full = np.clip(cheek * _smooth(0.3, 0.45, q), 0, 1) * _smooth(0.15, 0.4, v)
    lip = np.exp(-(((v - 0.50) / 0.055) ** 2)) * (1 - _smooth(0.33, 0.43, u))
    goatee = _smooth(0.74, 0.80, v) * (1 - _smooth(0.26, 0.36, u))
    side = np.exp(-(((u - 0.40) / 0.06) ** 2)) * _smooth(0.48, 0.56, v)
    soul = np.exp(-((u / 0.07) ** 2)) * _smooth(0.72, 0.78, v)
    shape = {
        "stubble": 0.55 * np.maximum(full, lip),
        "moustache": lip,
        "goatee": np.maximum.reduce([lip, goatee, side, soul]),
        "full": np.maximum.reduce([full * jawline, lip, goatee, side, soul]),
    }[face.beard]
    shape = np.clip(shape, 0, 1)
    if face.beard != "stubble":
        keep = np.hypot(u / (1.1 * face.mouth_width), (v - 0.64) / 0.10)
        shape *= _smooth(0.75, 1.1, keep)
    x, y = field.pixels(field.u, field.v)
    turn = 0.5 * np.sign(field.u) * u
    hairs = _noise("strand", (x + turn * y) * 1.2 + face.texture % 300, y * 3.5)
    dots = _noise("skin", x * 1.2, y * 1.2)
    cover = np.clip(1.4 * shape + 0.06 * hairs * (shape > 0.02) - 0.15, 0, 1)
    if face.beard == "stubble":
        cover = shape * (0.75 + 0.2 * dots)
    tone = colour * (0.85 + 0.15 * hairs)[..., None].clip(0.4, 1.5)
    _mix(image, tone, np.clip(0.93 * cover, 0, 1))


def _normals(field, height):
    """Unit normals (u, v, z) of a height field, [rows, columns, 3]."""
    # Sobel over 3x3 pixels sums to eight times the difference per pixel.
    scale = field.resolution / 8
    du = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=scale)
    dv = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=scale)
    norm = 1 / np.sqrt(1 + du * du + dv * dv)
    return np.stack([-du * norm, -dv * norm, norm], -1)


def _lit(scene, normals, wrap=0.25):
    """RGB light that arrives at a surface: a key light and a sky."""
    # Head and light turn together here: the pose is small against the light's angle.
    key = np.clip((normals @ scene.light + wrap) / (1 + wrap), 0, None)
    sky = 0.68 - 0.32 * normals[..., 1]
    fill = 0.12 * np.clip(-normals[..., 0] * np.sign(scene.light[0]), 0, 1)
    return key[..., None] * scene.key + (sky + fill)[..., None] * scene.ambient


def _hair_shade(field, face, scene, outer):
    """RGB of the hair at every point, lit."""
    x, y = field.pixels(field.u, field.v)
    scale = 48 / field.resolution
    if face.hair_style == "curly":
        strands = _noise("curl", x * scale * 1.3 + face.texture % 400, y * scale * 1.3)
        contrast = 0.42
    else:
        du, dv = field.u - face.hair_part * 0.6, field.v + 1.55
        angle = np.arctan2(du, dv + 0.2)
        far = np.hypot(du, dv)
        wave = 0.05 if face.hair_style in ("long", "bob") else 0.015
        angle += wave * np.sin(5 * far + 2 * angle + face.texture % 6)
        strands = _noise("strand", angle * 95 + face.texture % 400, far * 48)
        contrast = 0.30
    tone = np.clip(1 + contrast * strands, 0.25, 2.2)
    round_ = 0.85 * np.sqrt(np.clip(1 - outer * outer, 0, None) + 0.10)
    normals = _normals(field, round_.astype(np.float32) + 0.012 * strands)
    light = _lit(scene, normals, 0.4)
    colour = _linear(_HAIRS[face.hair])
    band = np.exp(-(((outer - 0.80 + 0.25 * field.u * scene.light[0]) / 0.10) ** 2))
    band *= np.clip(0.5 - field.v, 0, 1) * np.clip(0.7 + 0.5 * strands, 0, 2)
    shine = (0.02 + 0.45 * colour) * band[..., None] * scene.key
    return colour * tone[..., None] * light * 0.9 + 0.8 * shine


def _hair_masks(field, face):
    """Returns (front mask, back mask, place between centre and outline 0..1)."""
    width, top = face.face_width, _CENTRE - face.forehead
    volume, style = face.hair_volume, face.hair_style
    x, y = field.pixels(field.u, field.v)
    scale = 48 / field.resolution
    rough = _noise("strand", x * scale * 1.3 + face.texture % 200, y * scale * 1.3)
    amount, fray = 0.018, 0.009 if style in ("long", "receding") else 0.018
    if style == "curly":
        rough = _noise("curl", x * scale * 0.8, y * scale * 0.8 + face.texture % 200)
        amount, volume = 0.05, volume + 0.16
    lift = {"bald": 0.0, "receding": 0.3, "short": 0.8}.get(style, 1.0) * volume
    end = {"long": 2.4, "bob": 0.82}.get(style, 0.0)
    sides = 0.45 if style in ("bald", "receding", "short", "fringe") else 1.0
    reach = width * 1.02 + sides * lift
    points = [
        (0.0, top - 0.05 - lift),
        (0.66 * width + 0.5 * lift, top + 0.06 - 0.8 * lift),
        (width + sides * lift * 0.9, -0.70),
        (reach, -0.18),
        (0.99 * width + (0.6 * lift if style == "curly" else 0.0), 0.12),
        (0.5 * width, 0.35),
        (0.0, 0.40),
    ]
    radius, curve = _closed_curve(field, _CENTRE, points)
    outer = radius / curve
    cap = field.inside((outer - 1) * curve + amount * rough, 1.6)

    # The face's opening in the cap.
    line, temple = {
        "short": (-0.86, -0.62),
        "fringe": (-0.60, -0.50),
        "long": (-1.0, -0.56),
        "bob": (-0.58, -0.48),
        "curly": (-0.84, -0.60),
        "receding": (-1.08, -0.80),
        "bald": (-1.6, -0.9),
    }[style]
    opening = [
        (0.0, line),
        (0.38 * width, line + 0.02),
        (0.80 * width, 0.5 * (line + temple)),
        (0.93 * width, temple + 0.1),
        (0.955 * width, -0.2),
        (0.99 * width, 0.15),
        (0.9 * width, 0.5),
        (0.0, 1.2),
    ]
    if style == "bald":
        return None, None, outer
    hole_radius, hole = _closed_curve(field, _CENTRE, opening)
    slant = 0.10 * face.hair_part * field.u if style != "receding" else 0
    inner = hole_radius - hole + slant + fray * rough
    if style == "receding":
        inner += 0.10 * np.exp(-((field.u / 0.22) ** 2)) * (field.v < -0.6)
    if style == "long":  # a parting that opens the forehead in the middle
        inner -= 0.06 * np.exp(-(((field.u - face.hair_part * 0.5) / 0.16) ** 2))
    front = cap * np.clip(0.5 + inner / 0.08, 0, 1)
    if style in ("short", "receding", "fringe"):
        front *= 1 - _smooth(-0.15, 0.12, field.v + 0.03 * rough)
    if not end:
        return front, None, outer
    u, v = np.abs(field.u), field.v
    flare = reach + 0.10 * _smooth(-0.1, 0.9, v) + 0.02 * np.sin(4 * v + field.u)
    flare = flare - (0.25 * _smooth(0.5, 0.85, v) if style == "bob" else 0.0)
    tail = np.maximum(u - flare + amount * rough, v - end + 0.05 * rough)
    low = np.where(v > -0.3, tail, 1.0)
    back = field.inside(np.minimum(low, (outer - 1) * curve) + 0.03, 1.6)
    edge = width * (0.93 + 0.02 * np.sin(3 * v)) - 0.25 * _smooth(0.45, 1.3, v)
    locks = field.inside(np.maximum(tail, edge - u + 0.02 * rough), 2.0) * (v > -0.5)
    return np.maximum(front, locks), back, outer


def _draw_glasses(field, image, alpha, face, scene):
    if not face.glasses:
        return
    u, v = np.abs(field.u), field.v + 0.28
    # Rounded rectangles, as superellipses.
    wide, high = (0.29, 0.20) if face.glasses == 1 else (0.27, 0.22)
    power = 3.5 if face.glasses == 1 else 2.2
    x = np.abs(u - face.eye_spacing) / wide
    y = np.abs(v) / high
    shape = (x**power + y**power + 1e-6) ** (1 / power)
    distance = (shape - 1) * min(wide, high)
    thick = 0.022 if face.glasses == 1 else 0.012
    rim = field.inside(np.abs(distance) - thick, 1.3)
    gap = face.eye_spacing - wide
    bridge = field.inside(np.abs(v + 0.06 + 0.2 * u * u) - thick) * (u < gap)
    arm = field.inside(np.abs(v + 0.07) - thick) * (u > face.eye_spacing + 0.97 * wide)
    arm *= field.inside(u - 1.0 * face.face_width)
    frame = np.maximum.reduce([rim, bridge, arm])
    colour = ((24, 20, 20), (150, 120, 70))[face.glasses - 1]
    lens = field.inside(distance)
    glare = _smooth(0.75, 1.0, np.sin(6 * (field.u + 1.4 * field.v) + 1.0))
    image += (lens * (0.015 + 0.05 * glare))[..., None] * scene.key
    shadow = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), field.resolution / 30)
    shadow = np.roll(shadow, round(0.05 * field.resolution), 0)
    image *= 1 - 0.35 * (shadow * (1 - frame))[..., None]
    edge = 1 + 0.8 * np.clip(-(v + high) / 0.03, -0.3, 1)
    _mix(image, _linear(colour) * edge[..., None], 0.95 * frame * alpha)


def _draw_head(face, scene, resolution):
    """Draws the frontal head.

    Returns:
        (field, image [rows, columns, 4] linear RGB premultiplied by alpha, the layer
        behind the neck of the same kind or None, depth [rows, columns]).
    """
    bottom = {"long": 2.2}.get(face.hair_style, 1.3)
    field = _Field(-1.45, -1.8, 1.45, bottom, resolution)
    drop = 0.09 * scene.mouth_open
    radius, curve = _closed_curve(field, _CENTRE, _head_points(face, drop))
    q = radius / curve
    head = field.inside((q - 1) * curve, 1.3)
    inner = np.clip(1 - q * q, 0, None)

    image = _skin(field, face)
    wet = np.zeros(field.shape, np.float32)
    hair_colour = _linear(_HAIRS[face.hair])
    relief = _height(field, face, scene, drop)
    # Nostrils.
    tip = -0.30 + face.nose_length
    nostril = field.bumps(0.5 * face.nose_width, tip + 0.075, 0.042, 0.022)
    under = field.bump(0, tip + 0.10, 0.8 * face.nose_width, 0.035)
    image *= 1 - np.clip(0.85 * nostril + 0.25 * under, 0, 0.92)[..., None]
    relief += _draw_mouth(field, image, wet, face, scene, drop)
    if face.beard != "none":
        mouth = field.window(-0.6, 0.38, 0.6, 1.02)[1]
        before = image[mouth].copy()
        _draw_beard(field, image, face, hair_colour, q)
        part = field.window(-0.6, 0.38, 0.6, 1.02)[0]
        keep = part.inside(
            np.hypot(part.u / (1.02 * face.mouth_width), (part.v - 0.64) / 0.085) - 1,
            0.5,
        )
        _mix(image[mouth], before, np.clip(keep, 0, 1))
    eyes = np.zeros(field.shape, np.float32)
    for side in (-1, 1):
        eye, at = _draw_eye(field, image, wet, face, scene, side)
        eyes[at] = np.maximum(eyes[at], eye)
        _draw_brow(field, image, face, scene, side, hair_colour)

    light_height = 0.80 * np.sqrt(inner + 0.04) + relief * (1 - 0.7 * eyes)
    normals = _normals(field, light_height.astype(np.float32))
    light = _lit(scene, normals)
    half = scene.light + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    gloss = np.clip(normals @ half, 0, 1)
    gloss = 0.06 * gloss**16 + 0.07 * gloss**50
    # Crevices see less of the sky.
    hollow = cv2.GaussianBlur(relief, (0, 0), 0.10 * resolution) - relief
    occlusion = 1 - np.clip(3.2 * hollow, -0.1, 0.45)
    occlusion *= 1 - 0.25 * _smooth(0.8, 1.0, q)
    light *= occlusion[..., None]
    lit = (
        image * light + ((gloss * (1 - eyes) + wet) * occlusion)[..., None] * scene.key
    )

    # Ears stand behind the face's outline.
    u = np.abs(field.u) - 1.06 * face.face_width
    ear_q = np.hypot((u - 0.12 * (field.v + 0.05)) / 0.11, (field.v + 0.04) / 0.25)
    ear = field.inside((ear_q - 1) * 0.12, 1.2)
    rim = 0.62 + 0.5 * _smooth(0.45, 0.9, ear_q) - 0.25 * _smooth(0.9, 1.05, ear_q)
    away = field.u * scene.light[0] < 0
    ear_light = (0.75 * scene.key + scene.ambient) * np.where(away, 0.7, 1.0)[..., None]
    ears = image * rim[..., None] * ear_light * np.array([0.95, 0.78, 0.75], np.float32)
    alpha = np.maximum(head, ear)
    lit = ears * (alpha - head)[..., None] + lit * head[..., None]

    front, back, outer = _hair_masks(field, face)
    behind = None
    if front is not None:
        front = front.astype(np.float32)
        hair = _hair_shade(field, face, scene, outer)
        shadow = cv2.GaussianBlur(front, (0, 0), 0.07 * resolution)
        shadow = np.roll(shadow, round(0.04 * resolution), 0)
        lit *= 1 - 0.45 * shadow[..., None]
        _mix(lit, hair, front)
        alpha = alpha + (1 - alpha) * front
        if back is not None:
            behind = np.dstack([hair * 0.5 * back[..., None], back])
    _draw_glasses(field, lit, alpha, face, scene)

    depth = 0.55 * np.clip(inner, 0, 1) + 0.9 * relief * head
    depth = cv2.GaussianBlur(depth.astype(np.float32), (0, 0), 0.03 * resolution)
    return field, np.dstack([lit, alpha]), behind, depth


def _draw_background(rng, size):
    field = np.mgrid[0:size, 0:size].astype(np.float32) / size
    y, x = field
    # Walls are seldom vivid: colours are drawn around a grey.
    first, second = (
        _linear(np.clip(rng.uniform(40, 215) + rng.normal(0, 28, 3), 10, 245))
        for _ in range(2)
    )
    angle = rng.uniform(0, 2 * np.pi)
    blend = _smooth(-0.7, 0.7, np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5))
    image = first + (second - first) * blend[..., None]
    kind = rng.integers(4)
    shift = rng.integers(0, 512, 2)
    cloud = _noise("cloud", x * 220 + shift[0], y * 220 + shift[1])
    image *= np.clip(1 + (0.1 + 0.1 * (kind == 1)) * cloud, 0.3, 2)[..., None]
    if kind == 2:  # shelves, posts, window frames: upright bars out of focus
        bars = np.zeros([size, size], np.float32)
        colour = _linear(np.clip(rng.uniform(20, 225) + rng.normal(0, 25, 3), 5, 250))
        for _ in range(rng.integers(2, 6)):
            left = rng.uniform(-0.1, 1)
            wide = rng.uniform(0.03, 0.15)
            bars[:, max(int(left * size), 0) : max(int((left + wide) * size), 0)] += 1
        bars = cv2.GaussianBlur(bars, (0, 0), size * rng.uniform(0.008, 0.03))
        _mix(image, colour, np.clip(bars, 0, 1))
    elif kind == 3:  # leaves and lamps: discs out of focus
        discs = np.zeros([size, size, 3], np.float32)
        for _ in range(rng.integers(6, 16)):
            where = (rng.uniform(0, size, 2)).astype(int)
            tone = first * rng.uniform(0.2, 1.5) + rng.uniform(0, 0.15)
            radius = int(size * rng.uniform(0.03, 0.1))
            cv2.circle(discs, where.tolist(), radius, tone.tolist(), -1, cv2.LINE_AA)
        image += 0.6 * cv2.GaussianBlur(discs, (0, 0), size * 0.012)
    dim = 1 - 0.5 * rng.uniform() * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    return (image * dim[..., None]).astype(np.float32)


def _draw_body(image, x, y, pixel, face, scene):
    """Draws neck and clothes; `x`, `y` are units from the middle of the face."""

    def inside(distance, softness=1.0):
        return np.clip(0.5 - distance / (pixel * softness), 0, 1)

    def cylinder(middle, half):
        slope = np.clip((x - middle) / half, -1, 1)
        normals = np.dstack(
            [slope, np.full_like(x, 0.25), np.sqrt(1.1 - slope * slope)]
        )
        return _lit(scene, normals / np.linalg.norm(normals, axis=-1, keepdims=True))

    lean = 0.22 * scene.yaw
    half = 0.36 + 0.12 * face.jaw + 0.1 * _smooth(1.0, 1.5, y)
    middle = lean * (1 - _smooth(0.8, 1.5, y))
    skin = _skin_colour(face)
    neck = inside(np.abs(x - middle) - half) * (y > 0.2)
    shade = 0.30 + 0.55 * _smooth(0.95, 1.55, y)
    tendon = 1 - 0.12 * np.exp(-(((np.abs(x - middle) - 0.2 + 0.1 * y) / 0.04) ** 2))
    tone = cylinder(middle, half * 1.1) * (shade * tendon)[..., None]
    _mix(image, skin * tone * np.array([1.0, 0.94, 0.92], np.float32), neck)

    wide = np.abs(x)
    slope = 1.22 + 0.30 * np.clip(wide - 0.42, 0, 3) + 0.25 * np.clip(wide - 1.3, 0, 3)
    torso = inside(slope - y, 1.5)
    _mix(image, skin * tone, torso * (wide < 0.7))
    if scene.clothes == "vneck":
        hole = np.maximum(wide - 0.52 * (1 - (y - 1.15) / 0.75), y - 1.9)
    elif scene.clothes == "suit":
        hole = np.maximum(wide - 0.50 * (1 - (y - 1.10) / 0.5), y - 1.6)
    else:
        hole = (np.hypot(x / 0.52, (y - 1.18) / 0.30) - 1) * 0.35
    garment = torso * (1 - inside(hole, 1.5))
    grain_x, grain_y = scene.grain[:2]
    weave = _noise("weave", x / pixel * 0.9 + grain_x, y / pixel * 0.9 + grain_y)
    folds = _noise("cloud", x * 60 + grain_y, y * 30 + grain_x)
    light = cylinder(0.0, 2.0) * (1 + 0.05 * weave + 0.12 * folds)[..., None]
    cloth = scene.fabric * light
    if scene.clothes == "suit":
        shirt = _linear((228, 228, 232)) * light
        lapel = wide - 0.62 * (1 - (y - 1.2) / 1.0)
        cloth = scene.fabric * 0.5 * light
        cloth *= (1 - 0.4 * np.exp(-((lapel / 0.02) ** 2)))[..., None]
        _mix(cloth, shirt, inside(lapel, 2))
        collar = np.abs(wide - 0.50 * (1 - (y - 1.10) / 0.5) - 0.17) / 0.015
        cloth *= (1 - 0.25 * np.exp(-(collar**2)) * (y < 1.75))[..., None]
        knot = inside(wide - 0.09 - 0.05 * _smooth(1.62, 2.2, y), 1.5) * (y > 1.52)
        stripes = 1 + 0.2 * np.sign(np.sin(28 * (x + y)))
        _mix(cloth, scene.second * light * stripes[..., None], knot)
    else:
        seam = np.exp(-(((hole - 0.05) / 0.018) ** 2))
        cloth *= (1 - 0.25 * seam)[..., None]
    _mix(image, cloth, garment)


def draw_photo(
    identity: Identity, rng: np.random.Generator, size: int = 256
) -> tuple[np.ndarray, tuple[float, float, float, float], np.ndarray]:
    """Draws one photo of an identity: another pose, expression, light and place.

    Args:
        identity: who is drawn.
        rng: its state decides on all that changes between photos.
        size: side of the square photo in pixels, at least 64.

    Returns:
        (photo, box, landmarks): [size, size, 3] uint8 RGB; the face as a detector
        boxes it, (left, top, width, height), such that a canvas of 1.9 boxes fits; and
        [5, 2] float64 points in the order of `canvas.LANDMARKS`.
    """
    if size < 64:
        raise ValueError(f"size must be at least 64 pixels. Received: {size!r}.")
    scene = _draw_scene(rng)
    side = size / rng.uniform(1.95, 2.2)
    unit = side / 2  # pixels per unit
    slack = (size - 1.9 * side) / 2
    middle = size / 2 + rng.uniform(-slack, slack, 2)

    field, head, behind, depth = _draw_head(identity, scene, 1.1 * unit)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) + 0.5
    x, y = (x - middle[0]) / unit, (y - middle[1]) / unit
    image = _draw_background(rng, size)

    cos_roll, sin_roll = np.cos(scene.roll), np.sin(scene.roll)
    turned_x = np.float32(cos_roll) * x + np.float32(sin_roll) * y
    turned_y = np.float32(cos_roll) * y - np.float32(sin_roll) * x
    sin_yaw, cos_yaw = np.sin(scene.yaw), np.cos(scene.yaw)
    sin_pitch, cos_pitch = np.sin(scene.pitch), np.cos(scene.pitch)
    # The middle of the face stays in place: the box is centred on it.
    pivot = 0.45

    def place(layer, z):
        u = (turned_x - (z - pivot) * np.float32(sin_yaw)) / np.float32(cos_yaw)
        v = (turned_y + (z - pivot) * np.float32(sin_pitch)) / np.float32(cos_pitch)
        return (
            u,
            v,
            cv2.remap(
                layer,
                *field.pixels(u, v),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
            ),
        )

    if behind is not None:
        layer = place(behind.astype(np.float32), np.float32(-0.15))[2]
        image = image * (1 - layer[..., 3:]) + layer[..., :3]
    first = max(0, round(middle[1] + 0.3 * unit))  # the neck is hidden above
    _draw_body(image[first:], x[first:], y[first:], 1 / unit, identity, scene)

    # Where did the surface point come from that is seen here? u depends on the depth
    # at u: a few rounds of substitution settle it.
    z = np.full_like(x, 0.3)
    for _ in range(4):
        z = place(depth, z)[2]
    layer = place(head.astype(np.float32), z)[2]
    # The head's shadow on neck and clothes.
    shadow = cv2.GaussianBlur(np.ascontiguousarray(layer[..., 3]), (0, 0), 0.13 * unit)
    shift = np.float32([[1, 0, -0.2 * scene.light[0] * unit], [0, 1, 0.12 * unit]])
    shadow = cv2.warpAffine(shadow, shift, (size, size))
    below = _smooth(0.6, 1.0, y)
    image *= 1 - 0.45 * (shadow * below)[..., None]
    image = image * (1 - layer[..., 3:]) + layer[..., :3]

    exposure = rng.uniform(0.85, 1.15)
    image = np.sqrt(np.clip(image * exposure, 0, None))
    image = np.where(image > 0.8, 0.8 + 0.2 * np.tanh((image - 0.8) / 0.2), image)
    image = image * 255 + rng.normal(0, rng.uniform(0.5, 2.0), image.shape)
    photo = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    photo = cv2.GaussianBlur(photo, (0, 0), rng.uniform(0.3, 0.6))

    points = np.array(
        [
            [-identity.eye_spacing, -0.30],
            [identity.eye_spacing, -0.30],
            [0.0, -0.30 + identity.nose_length],
            [-identity.mouth_width, 0.624],
            [identity.mouth_width, 0.624],
        ]
    )
    columns, rows = field.pixels(points[:, 0], points[:, 1])
    z = depth[np.rint(rows).astype(int), np.rint(columns).astype(int)] - pivot
    across = points[:, 0] * cos_yaw + z * sin_yaw
    down = points[:, 1] * cos_pitch - z * sin_pitch
    landmarks = unit * np.stack(
        [cos_roll * across - sin_roll * down, sin_roll * across + cos_roll * down], 1
    )
    landmarks += middle
    # A detector's box is not exact.
    box_side = side * rng.uniform(0.96, 1.0)
    left, top = middle - box_side / 2 + side * rng.uniform(-0.02, 0.02, 2)
    return photo, (float(left), float(top), box_side, box_side), landmarks


def _sample_rng(identity: Identity, seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number, identity.texture])


def draw_canvases(
    identity: Identity,
    count: int,
    seed: int = 0,
    image_size: int = 128,
    canvas_scale: float = 1.9,
) -> np.ndarray:
    """Draws photos and cuts their canvases out, by the same code as for real photos.

    Photo n is a function of (identity, seed, n) alone.

    Returns:
        [count, image_size, image_size, 3] uint8 RGB.
    """
    size = max(64, round(1.25 * image_size))

    def draw(number):
        photo, box, _ = draw_photo(identity, _sample_rng(identity, seed, number), size)
        square = canvas_square(size, size, box, canvas_scale)
        return crop_canvas(photo, square, image_size)

    with futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        canvases = list(pool.map(draw, range(count)))
    return (
        np.stack(canvases)
        if canvases
        else np.empty([0, *[image_size] * 2, 3], np.uint8)
    )


def write_drawn_folder(
    folder: str | os.PathLike,
    identities: int = 2,
    count: int = 50,
    seed: int = 0,
    size: int = 256,
) -> list[str]:
    """Writes `count` photos of each identity to `folder`/A, `folder`/B, ... as JPEG.

    Returns:
        The paths.

    Raises:
        ValueError: the folder cannot be written.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1. Received: {count!r}.")
    paths = []
    for name, face in default_identities(identities).items():
        parent = os.path.join(os.fspath(folder), name)
        try:
            os.makedirs(parent, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"Cannot write the folder {parent!r}: {error.strerror or error}."
            ) from None
        for number in range(count):
            photo = draw_photo(face, _sample_rng(face, seed, number), size)[0]
            paths.append(os.path.join(parent, f"{name}_{number:04d}.jpg"))
            write_image(paths[-1], photo)
    return paths


def contact_sheet(identities: int = 4, count: int = 7, seed: int = 0) -> np.ndarray:
    """Returns one row of `count` 128-pixel canvases per identity, uint8 RGB."""
    rows = [
        np.hstack(draw_canvases(face, count, seed))
        for face in default_identities(identities).values()
    ]
    return np.vstack(rows)


def main(_) -> None:
    values = flags.FLAGS
    if not values.output and not values.folder:
        sys.exit("Error: give --output=FILE for a contact sheet or --folder=DIR.")
    try:
        if values.folder:
            paths = write_drawn_folder(
                values.folder, values.identities, values.count, values.seed, values.size
            )
            print(f"Wrote {len(paths)} photos to {values.folder}")
        if values.output:
            sheet = contact_sheet(max(values.identities, 4), seed=values.seed)
            write_image(values.output, sheet)
            print(f"Wrote {values.output}")
    except ValueError as error:
        sys.exit(f"Error: {error}")


def _define_flags() -> None:
    flags.DEFINE_string("output", "", "Image file of a contact sheet.")
    flags.DEFINE_string("folder", "", "Folder that gets one sub-folder per identity.")
    flags.DEFINE_integer("identities", 2, "Number of identities.")
    flags.DEFINE_integer("count", 50, "Photos of each identity.")
    flags.DEFINE_integer("seed", 0, "Seed of the poses, lights and places.")
    flags.DEFINE_integer("size", 256, "Side of the photos in pixels.")


if __name__ == "__main__":
    _define_flags()
    app.run(main)
