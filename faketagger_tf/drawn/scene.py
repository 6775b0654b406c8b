"""Light, pose and camera of one drawn photo, and the field that faces are drawn on."""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np

from faketagger_tf.drawn.identity import CLOTHES, FABRICS


@dataclasses.dataclass(frozen=True)
class Scene:
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


def draw_scene(rng: np.random.Generator) -> Scene:
    azimuth, elevation = rng.uniform(-1.0, 1.0), rng.uniform(0.05, 0.85)
    strength, warmth = rng.uniform(0.55, 0.95), rng.uniform(-0.08, 0.08)
    tint = np.array([1 + warmth, 1.0, 1 - warmth], np.float32)
    fabrics = rng.choice(len(FABRICS), 2, replace=False)
    open_mouth = rng.uniform() < 0.35
    return Scene(
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
        fabric=linear(FABRICS[fabrics[0]]),
        second=linear(FABRICS[fabrics[1]]),
        grain=rng.integers(0, 512, 8),
    )


class Field:
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
        part = object.__new__(Field)
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


def linear(colour) -> np.ndarray:
    """sRGB 0-255 to linear light, with gamma 2 for speed."""
    return (np.asarray(colour, np.float32) / 255) ** 2


def smooth(low, high, x):
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(image, colour, mask):
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


def noise(name, x, y):
    """Samples a noise bank at pixel coordinates, repeating it."""
    bank = _noises()[name]
    return cv2.remap(
        bank,
        np.ascontiguousarray(x, np.float32),
        np.ascontiguousarray(y, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )


def polar(field, centre, angles, radii):
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


def closed_curve(field, centre, points):
    """`polar` for a curve through points (u, v) with u >= 0, from top to bottom."""
    points = np.asarray(points, np.float64)
    angles = np.arctan2(points[:, 0], centre - points[:, 1])
    return polar(field, centre, angles, np.hypot(points[:, 0], points[:, 1] - centre))
