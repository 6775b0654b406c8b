"""Attribute editing: hair, skin, age, beard and glasses, by regions and landmarks.

An attribute is edited in three layers: regions (skin and hair, found in each picture by
their place and colour), recolouring in L*a*b* with the shading kept, and what is drawn
(wrinkles, a beard's strands, glasses) at fixed places of the face. All units are those
of faces, see `mesh`. `keras.ops` throughout: recolouring is differentiable; regions and
what is drawn count as constant.
"""

from __future__ import annotations

import functools

import numpy as np
from keras import ops

from faketagger_tf.manipulations import mesh
from faketagger_tf.manipulations.lab import from_lab, to_lab
from faketagger_tf.manipulations.names import named
from faketagger_tf.manipulations.photometric import gaussian_blur
from faketagger_tf.manipulations.random import any_of
from faketagger_tf.photos.canvas import LANDMARKS

# Mean colour, L*a*b*, that hair and skin are moved to.
HAIR = {
    "blond_hair": (68.0, 6.0, 30.0),
    "red_hair": (40.0, 26.0, 30.0),
    "black_hair": (15.0, 1.0, 2.0),
}
SKIN = {"pale_skin": (79.0, 11.0, 16.0), "dark_skin": (42.0, 14.0, 20.0)}
ATTRIBUTES = (*HAIR, *SKIN, "age", "beard", "glasses")

REGIONS = ("face", "canvas")

# Upper edge of a beard, (away from the middle, y): moustache, cheek, sideburns.
BEARD_EDGE = (
    (0.0, 0.70),
    (0.05, 0.69),
    (0.16, 0.73),
    (0.24, 0.80),
    (0.36, 0.62),
    (0.43, 0.42),
)
BROWN = (22.0, 6.0, 9.0)  # Of a beard where there is no hair to take it from.
GREY_HAIR = (70.0, 0.0, 3.0)
FRAME = (0.07, 0.06, 0.06)  # Of glasses, RGB.
ROUNDS = 3  # Of fitting the regions' colours.
# Bounds of their deviations, L*a*b*; hair has the most light and shade.
NARROW = (6.0, 3.0, 3.0)
WIDE = ((13.0, 7.0, 7.0), (20.0, 8.0, 8.0), (13.0, 7.0, 7.0), (13.0, 7.0, 7.0))
# The ellipse that an editor redraws, from the hairline to below the chin.
FACE_MIDDLE, FACE_AXES = (0.5, 0.48), (0.60, 0.74)


def _ellipse(units, middle, axes, soft):
    """1 inside of an ellipse, 0 outside, over a border of `soft` radii."""
    radius = np.hypot(*np.moveaxis((units - np.array(middle)) / np.array(axes), -1, 0))
    ramp = np.clip((1 - radius) / soft + 0.5, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _step(values, soft):
    ramp = np.clip(values / soft + 0.5, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


@functools.cache
def _lattice() -> np.ndarray:
    return np.random.default_rng(7).random([128, 128])


def _noise(u, v):
    """Smooth noise in [0, 1] at places; a feature is about one unit wide."""
    left, top = np.floor(u).astype(int), np.floor(v).astype(int)
    x, y = u - left, v - top
    x, y = x * x * (3 - 2 * x), y * y * (3 - 2 * y)
    table = _lattice()

    def corner(right, down):
        return table[(left + right) % 128, (top + down) % 128]

    upper = (1 - x) * corner(0, 0) + x * corner(1, 0)
    return (1 - y) * upper + y * ((1 - x) * corner(0, 1) + x * corner(1, 1))


def _strands(units, middle=(0.5, 0.35)):
    """Hair's texture in [0, 1]: strands that fan out from a point."""
    x, y = units[..., 0] - middle[0], units[..., 1] - middle[1]
    angle, radius = np.arctan2(x, y), np.hypot(x, y)
    # Strands are neither straight nor parallel.
    angle = angle + 0.12 * (_noise(9 * units[..., 0], 9 * units[..., 1]) - 0.5)
    fine = _noise(120 * angle, 16 * radius + 40)
    coarse = _noise(52 * angle + 70, 10 * radius)
    return 0.6 * fine + 0.4 * coarse


# Lines that come with age: corners and depth of each, on the left; the right mirrors.
_FOLDS = (
    (((0.415, 0.62), (0.36, 0.67), (0.315, 0.74), (0.295, 0.81)), 1.0),
    (((0.30, 0.85), (0.285, 0.90), (0.29, 0.95)), 0.7),
    (((0.215, 0.395), (0.25, 0.425), (0.31, 0.437), (0.37, 0.42), (0.405, 0.40)), 0.8),
    (((0.19, 0.345), (0.14, 0.325), (0.095, 0.315)), 0.55),
    (((0.185, 0.36), (0.13, 0.362), (0.085, 0.37)), 0.6),
    (((0.19, 0.378), (0.14, 0.405), (0.10, 0.435)), 0.55),
    (((0.468, 0.235), (0.463, 0.275), (0.47, 0.31)), 0.6),
)
_WAVE = tuple((x, 0.018 * np.cos(9 * (x - 0.5))) for x in np.linspace(0.24, 0.76, 8))
_BROW_LINES = tuple(
    (tuple((x, y + rise) for x, rise in _WAVE), 0.6) for y in (0.045, 0.10, 0.155)
)


def _wrinkles(units, pixel: float) -> np.ndarray:
    """Lightness of lines, about -1 in their middle, with a light ridge beside."""
    mirrored = tuple(
        (tuple((1 - x, y) for x, y in corners), depth) for corners, depth in _FOLDS
    )
    total = np.zeros(units.shape[:2])
    for corners, depth in (*_FOLDS, *mirrored, *_BROW_LINES):
        corners = np.array(corners)
        least, along = np.full(units.shape[:2], np.inf), np.zeros(units.shape[:2])
        count = len(corners) - 1
        for number in range(count):
            first, way = corners[number], corners[number + 1] - corners[number]
            part = np.clip((units - first) @ way / (way @ way), 0, 1)
            away = np.hypot(*np.moveaxis(units - first - part[..., None] * way, -1, 0))
            nearer = away < least
            least = np.where(nearer, away, least)
            along = np.where(nearer, (number + part) / count, along)
        width = max(0.011, 0.7 * pixel)
        square = (least / width) ** 2
        profile = -(1 - 0.6 * square) * np.exp(-square / 2)
        total += depth * profile * np.sqrt(np.clip(4 * along * (1 - along), 0.08, 1))
    return total


def _beard(units) -> np.ndarray:
    """Where a beard grows, and how densely: [0, 1]."""
    x, y = np.abs(units[..., 0] - 0.5), units[..., 1]
    ragged = 0.035 * (_noise(22 * units[..., 0], 22 * y) - 0.5)
    upper = np.interp(x, *zip(*BEARD_EDGE, strict=True))
    grows = _step(y - upper + ragged, 0.06)
    grows *= _ellipse(units, (0.5, 0.55), (0.44, 0.54), 0.14)
    # Thinner on the cheeks than on the chin.
    grows *= 1 - 0.45 * _step(x - 0.27, 0.2) * _step(0.95 - y, 0.3)
    lips = _ellipse(units, (0.5, 0.822), (0.185, 0.062), 0.25)
    below = 0.45 * _ellipse(units, (0.5, 0.905), (0.10, 0.025), 0.8)
    return np.clip(grows * (1 - lips) * (1 - below), 0, 1)


def _glasses(units, pixel: float):
    """Glasses as (frame, lens, glint), each [S, S] in [0, 1]."""
    x, y = units[..., 0], units[..., 1]
    soft = max(pixel, 0.008)
    frame, lens = np.zeros(x.shape), np.zeros(x.shape)
    for middle in (0.295, 0.705):
        across, down = np.abs(x - middle) / 0.158, np.abs(y - 0.372) / 0.108
        # A rounded rectangle: distance to its border in face units, about.
        radius = (across**2.6 + down**2.6) ** (1 / 2.6)
        away = (radius - 1) * 0.13
        frame = np.maximum(frame, _step(0.010 - np.abs(away), soft))
        lens = np.maximum(lens, _step(-away, soft))
    bridge = np.abs(y - (0.340 + 2.0 * (x - 0.5) ** 2))
    frame = np.maximum(frame, _step(0.009 - bridge, soft) * (np.abs(x - 0.5) < 0.055))
    temple = _step(0.009 - np.abs(y - 0.345), soft)
    reach = (np.abs(x - 0.5) > 0.355) & (np.abs(x - 0.5) < 0.41)
    frame = np.maximum(frame, temple * reach)
    glint = lens * _step(0.03 - np.abs(x - 0.22 + 0.6 * (y - 0.375)), 0.03)
    return frame, lens, glint


def _map(values) -> np.ndarray:
    return np.asarray(values, np.float32)[..., None]


class Layout:
    """What is where on a face: constant maps, float32 [S, S, channels], made if asked.

    Args:
        units: [S, S, 2], the places in the face's own units; see `face_units`.
    """

    def __init__(self, units: np.ndarray):
        self.units = np.asarray(units, np.float64)
        # In face units. A face seen from its very side has landmarks on a line.
        self.pixel = max(float(np.linalg.norm(self.units[1, 0] - units[0, 0])), 1e-3)

    @functools.cached_property
    def features(self):
        """Eyes and lips, which are no skin."""
        eyes = [
            _ellipse(self.units, (x, 0.352), (0.105, 0.052), 0.5) for x in (0.3, 0.7)
        ]
        lips = _ellipse(self.units, (0.5, 0.818), (0.185, 0.07), 0.5)
        return _map(np.maximum.reduce([*eyes, lips]))

    @functools.cached_property
    def regions(self):
        """Two maps [S, S, 4] of skin, hair, wall and clothes.

        Where each is surest to be, and the share of each at every place.
        """
        units, y = self.units, self.units[..., 1]
        aside = np.abs(units[..., 0] - 0.5)
        inner = _ellipse(units, (0.5, 0.58), (0.42, 0.50), 0.3)
        head = _ellipse(units, (0.5, 0.50), (0.54, 0.66), 0.35)
        neck = _ellipse(units, (0.5, 1.25), (0.36, 0.35), 0.5)
        crown = _ellipse(units, (0.5, 0.35), (0.85, 0.85), 0.6)
        falls = _ellipse(units, (0.5, 0.85), (0.85, 0.85), 0.4) * (aside > 0.34)
        # Hair over the brows is a fringe; what is dark below is brows and eyes.
        fringe = 0.25 * _step(0.17 - y, 0.12) * inner
        hair = np.maximum(crown * (1 - inner) * _step(0.75 - y, 0.7), 0.35 * falls)
        hair = np.where(inner > 0.5, fringe, np.maximum(hair * (1 - inner), fringe))
        skin = np.maximum(head * (0.12 + 0.88 * inner), 0.5 * neck)
        low = _step(y - 1.15, 0.3)
        rest = np.maximum(1 - np.maximum(inner, head * 0.6), 0.0) + 0.005
        shares = np.stack([skin, hair, rest * (1 - low), rest * low], -1) + 1e-4
        surest = [
            inner * _step(y - 0.2, 0.1) * (1 - self.features[..., 0]),
            _ellipse(units, (0.5, -0.06), (0.34, 0.09), 0.5),
            _step(aside - 0.72, 0.2) * _step(0.8 - y, 0.2),
            low * _step(aside - 0.3, 0.2),
        ]
        shares = shares / shares.sum(-1, keepdims=True)
        return np.float32(np.stack(surest, -1)), np.float32(shares)

    @functools.cached_property
    def face(self):
        """The ellipse that an editor redraws."""
        return _map(_ellipse(self.units, FACE_MIDDLE, FACE_AXES, 0.3))

    @functools.cached_property
    def beard(self):
        """How densely a beard grows."""
        return _map(_beard(self.units))

    @functools.cached_property
    def strands(self):
        """Hair's texture."""
        return _map(_strands(self.units))

    @functools.cached_property
    def wrinkles(self):
        """Lines that come with age."""
        return _map(_wrinkles(self.units, self.pixel))

    @functools.cached_property
    def glasses(self):
        """Their frame, lenses and the glint in these: three maps."""
        return tuple(map(_map, _glasses(self.units, self.pixel)))


def face_units(places: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Places in a face's own units, in which its landmarks lie at the template's.

    Args:
        places: [..., 2] in any units.
        landmarks: [5, 2] in the same.

    Returns:
        float64 [..., 2], by the affine map that brings the landmarks nearest.
    """
    system = np.hstack([np.asarray(landmarks, np.float64), np.ones([5, 1])])
    fit, *_ = np.linalg.lstsq(system, LANDMARKS, rcond=None)
    return np.asarray(places, np.float64) @ fit[:2] + fit[2]


@functools.cache
def canvas_layout(side: int) -> Layout:
    """The layout of a canvas, whose face lies where the template's does."""
    row, column = np.mgrid[:side, :side] + 0.5
    pixels = np.stack([column, row], -1) / side
    return Layout((pixels - 0.5) * mesh.CANVAS_SCALE + 0.5)


def find_regions(values, layout: Layout):
    """Finds skin and hair by place and colour, a normal distribution for each.

    Args:
        values: [B, S, S, 3] of `to_lab`.
        layout: of the face.

    Returns:
        (skin, hair), each float32 [B, S, S, 1] in [0, 1], constant to the gradient.
    """
    values = ops.stop_gradient(values)
    smooth = gaussian_blur(values, 0.6)[..., None]  # [B, S, S, 3, 1]
    narrow, wide = (np.square(d).T.astype(np.float32) for d in (NARROW, WIDE))
    surest, priors = layout.regions
    shares = surest[None]
    for _ in range(ROUNDS):
        weights = ops.square(shares)[..., None, :]
        total = ops.sum(weights, axis=(1, 2), keepdims=True) + 1e-3
        mean = ops.sum(weights * smooth, axis=(1, 2), keepdims=True) / total
        away = ops.square(smooth - mean)
        spread = ops.sum(weights * away, axis=(1, 2), keepdims=True) / total
        spread = ops.minimum(ops.maximum(spread, narrow[:, None]), wide)
        distance = ops.sum(away / spread, axis=-2)
        score = -0.5 * (distance + ops.sum(ops.log(spread), axis=-2))
        shares = ops.softmax(score + np.log(priors), axis=-1)
    # Hair of the wall's colour is no hair, and of the skin's a bald head.
    apart = ops.square(mean[..., 1:2] - ops.take(mean, np.array([0, 2]), axis=-1))
    sure = ops.clip((ops.sqrt(ops.sum(apart, axis=-2)) - 10.0) / 10.0, 0.0, 1.0)
    hair = ops.clip((shares[..., 1:2] - 0.4) / 0.5, 0.0, 1.0)
    bald = hair * (1 - sure[..., :1])
    hair = hair * ops.min(sure, axis=-1, keepdims=True)
    # Teeth and the whites of eyes are at skin's place, but not of its colour.
    like = ops.exp(-0.25 * ops.maximum(distance[..., :1] - 2.0, 0.0))
    # Nor are moles and highlights, but in the middle of a face nothing else is.
    skin = ops.maximum(shares[..., :1] + bald, surest[..., :1] ** 4)
    skin = ops.minimum(skin, 1.0)
    skin = skin * (1 - layout.features * (1 - like))
    soft = max(0.5, 0.007 / layout.pixel)
    return tuple(ops.stop_gradient(gaussian_blur(r, soft)) for r in (skin, hair))


def _mean(values, weights, default):
    """Weighted mean colour [B, 1, 1, 3]; the default where there is next to nothing."""
    area = values.shape[1] * values.shape[2]
    total = ops.sum(weights, axis=(1, 2), keepdims=True) + 2e-3 * area
    sums = ops.sum(weights * values, axis=(1, 2), keepdims=True)
    return (sums + 2e-3 * area * np.array(default, np.float32)) / total


def _recolour(values, weights, target, flattest: float):
    """Moves a region's mean colour towards a target; light and shade stay.

    Darker as less light makes it; lighter by a power, so that white stays white, of at
    least `flattest`: below it there would be no shade left.
    """
    target = np.array(target, np.float32)
    mean = ops.stop_gradient(_mean(values, weights, target))
    level = ops.clip(mean[..., :1] / 100, 0.05, 0.95)
    power = ops.clip(np.log(target[0] / 100) / ops.log(level), flattest, 1.0)
    lighter = 100 * ops.clip(values[..., :1] / 100, 1e-3, 1.0) ** power
    light = lighter * ops.minimum(target[0] / (100 * level), 1.0)
    # Dark parts are less colourful; what differs from that stays, in part.
    share = ops.clip(values[..., :1] / (100 * level), 0.4, 1.2)
    colour = target[1:] * ops.clip(light / target[:1], 0.4, 1.2)
    colour = colour + 0.3 * (values[..., 1:] - share * mean[..., 1:])
    return ops.concatenate([light, colour], axis=-1)


def edit_attribute(images, attribute: str, amount, layout: Layout, seed=None):
    """Edits one attribute of faces, before anything is synthesised anew.

    Args:
        images: float32 [B, S, S, 3] RGB, about [0, 1], of static shape.
        attribute: one of `ATTRIBUTES`, or `*` for one that the seed draws.
        amount: number or [B] in [0, 1].
        layout: where the faces are, S pixels a side.
        seed: `StatelessSeed`; needed for `*` alone.

    Returns:
        (float32 [B, S, S, 3] in [0, 1], float32 [B, S, S, 1] in [0, 1]): the pictures,
        and where they were edited.

    Raises:
        ValueError: there is no such attribute.

    Example:
        >>> grey = np.full([1, 64, 64, 3], 0.5, np.float32)
        >>> edited, where = edit_attribute(grey, "glasses", 1.0, canvas_layout(64))
        >>> float(edited[0, 24, 22, 0]) < 0.3 < float(edited[0, 2, 2, 0])
        True
    """
    amount = ops.reshape(ops.cast(amount, "float32"), [-1, 1, 1, 1])
    values = to_lab(images)
    branches = [
        functools.partial(_changed, attribute=name, layout=layout)
        for name in attribute_names(attribute)
    ]
    changed, where = any_of(seed, branches, values, *find_regions(values, layout))
    return from_lab(values + amount * where * (changed - values)), where


def _changed(values, skin, hair, attribute: str, layout: Layout):
    """Colours of an attribute at its full amount, and where it is: L*a*b*, weights."""
    if attribute in HAIR:
        return _recolour(values, hair, HAIR[attribute], 0.3), hair
    if attribute in SKIN:
        return _recolour(values, skin, SKIN[attribute], 0.5), skin
    if attribute == "beard":
        return _grow_beard(values, skin, hair, layout)
    if attribute == "glasses":
        return _add_glasses(values, layout)
    return _age(values, skin, hair, layout)


def attribute_names(name: str) -> tuple[str, ...]:
    """The attributes that a spec string names; `*` is all of them.

    Raises:
        ValueError: there is no such attribute.
    """
    return named("attribute", name, ATTRIBUTES)


def redrawn(region: str, where, layout: Layout):
    """What an editor draws anew, float32 [B, S, S, 1] in [0, 1].

    Args:
        region: one of `REGIONS`: the face's ellipse and what was edited beside it, or
            the whole canvas.
        where: of `edit_attribute`.
        layout: of the face.
    """
    if region == "canvas":
        return ops.ones_like(where)
    return ops.maximum(where, layout.face)


def _add_glasses(values, layout: Layout):
    frame, lens, glint = layout.glasses
    shade = gaussian_blur(frame[None], max(0.5, 0.02 / layout.pixel))
    images = from_lab(values) * (1 - 0.35 * shade - 0.06 * lens)
    images = images + 0.16 * glint * (1 - images)
    images = images + frame * (np.array(FRAME, np.float32) - images)
    where = ops.clip(shade * 3 + lens, 0.0, 1.0)
    return to_lab(images), ops.broadcast_to(where, (*values.shape[:3], 1))


def _grow_beard(values, skin, hair, layout: Layout):
    colour = ops.stop_gradient(_mean(values, hair, BROWN))
    light = ops.clip(0.75 * colour[..., :1], 10.0, 50.0)
    mean = ops.stop_gradient(_mean(values, skin, (60.0, 12.0, 16.0)))[..., :1]
    # Strands catch the light that falls on the face.
    light = light + 26 * (layout.strands - 0.5) + 0.35 * (values[..., :1] - mean)
    colour = ops.broadcast_to(0.8 * colour[..., 1:], (*values.shape[:3], 2))
    changed = ops.concatenate([light, colour], axis=-1)
    # Sparse hair lets skin through between its strands.
    thick = ops.clip(1.4 * layout.beard - 0.6 * layout.strands + 0.1, 0.0, 0.95)
    return changed, thick * ops.minimum(layout.beard * 3, 1.0) * skin


def _age(values, skin, hair, layout: Layout):
    light = values[..., :1]
    soft, softer = (gaussian_blur(light, s / layout.pixel) for s in (0.02, 0.07))
    mean = ops.stop_gradient(_mean(light, skin, (60.0,)))
    # Pores and lines by their bands, then lines of their own, as deep as skin is light.
    aged = light + 0.7 * (light - soft) + 0.3 * (soft - softer)
    aged = aged + 0.17 * mean * layout.wrinkles - 2.0
    aged = ops.concatenate([aged, 0.85 * values[..., 1:]], axis=-1)
    grey = _recolour(values, hair, GREY_HAIR, 0.35)
    streaks = ops.clip(0.55 + 0.9 * layout.strands, 0.0, 1.0)
    grey = values + streaks * (grey - values)
    total = ops.maximum(skin + hair, 1e-3)
    changed = (skin * aged + hair * grey) / total
    return changed, ops.clip(skin + hair, 0.0, 1.0)
