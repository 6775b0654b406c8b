"""A drawn head, its background and its clothes become a photo, a canvas or a folder."""

from __future__ import annotations

import os
from concurrent import futures

import cv2
import numpy as np

from faketagger_tf.drawn.head import draw_head, light_on, skin_colour
from faketagger_tf.drawn.identity import (
    Identity,
    default_identities,
)
from faketagger_tf.drawn.scene import draw_scene, linear, mix, noise, smooth
from faketagger_tf.photos.canvas import canvas_square, crop_canvas
from faketagger_tf.photos.codec import write_image


def _draw_background(rng, size):
    field = np.mgrid[0:size, 0:size].astype(np.float32) / size
    y, x = field
    # Walls are seldom vivid: colours are drawn around a grey.
    first, second = (
        linear(np.clip(rng.uniform(40, 215) + rng.normal(0, 28, 3), 10, 245))
        for _ in range(2)
    )
    angle = rng.uniform(0, 2 * np.pi)
    blend = smooth(-0.7, 0.7, np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5))
    image = first + (second - first) * blend[..., None]
    kind = rng.integers(4)
    shift = rng.integers(0, 512, 2)
    cloud = noise("cloud", x * 220 + shift[0], y * 220 + shift[1])
    image *= np.clip(1 + (0.1 + 0.1 * (kind == 1)) * cloud, 0.3, 2)[..., None]
    if kind == 2:  # shelves, posts, window frames: upright bars out of focus
        bars = np.zeros([size, size], np.float32)
        colour = linear(np.clip(rng.uniform(20, 225) + rng.normal(0, 25, 3), 5, 250))
        for _ in range(rng.integers(2, 6)):
            left = rng.uniform(-0.1, 1)
            wide = rng.uniform(0.03, 0.15)
            bars[:, max(int(left * size), 0) : max(int((left + wide) * size), 0)] += 1
        bars = cv2.GaussianBlur(bars, (0, 0), size * rng.uniform(0.008, 0.03))
        mix(image, colour, np.clip(bars, 0, 1))
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
        return light_on(
            scene, normals / np.linalg.norm(normals, axis=-1, keepdims=True)
        )

    lean = 0.22 * scene.yaw
    half = 0.36 + 0.12 * face.jaw + 0.1 * smooth(1.0, 1.5, y)
    middle = lean * (1 - smooth(0.8, 1.5, y))
    skin = skin_colour(face)
    neck = inside(np.abs(x - middle) - half) * (y > 0.2)
    shade = 0.30 + 0.55 * smooth(0.95, 1.55, y)
    tendon = 1 - 0.12 * np.exp(-(((np.abs(x - middle) - 0.2 + 0.1 * y) / 0.04) ** 2))
    tone = cylinder(middle, half * 1.1) * (shade * tendon)[..., None]
    mix(image, skin * tone * np.array([1.0, 0.94, 0.92], np.float32), neck)

    wide = np.abs(x)
    slope = 1.22 + 0.30 * np.clip(wide - 0.42, 0, 3) + 0.25 * np.clip(wide - 1.3, 0, 3)
    torso = inside(slope - y, 1.5)
    mix(image, skin * tone, torso * (wide < 0.7))
    if scene.clothes == "vneck":
        hole = np.maximum(wide - 0.52 * (1 - (y - 1.15) / 0.75), y - 1.9)
    elif scene.clothes == "suit":
        hole = np.maximum(wide - 0.50 * (1 - (y - 1.10) / 0.5), y - 1.6)
    else:
        hole = (np.hypot(x / 0.52, (y - 1.18) / 0.30) - 1) * 0.35
    garment = torso * (1 - inside(hole, 1.5))
    grain_x, grain_y = scene.grain[:2]
    weave = noise("weave", x / pixel * 0.9 + grain_x, y / pixel * 0.9 + grain_y)
    folds = noise("cloud", x * 60 + grain_y, y * 30 + grain_x)
    light = cylinder(0.0, 2.0) * (1 + 0.05 * weave + 0.12 * folds)[..., None]
    cloth = scene.fabric * light
    if scene.clothes == "suit":
        shirt = linear((228, 228, 232)) * light
        lapel = wide - 0.62 * (1 - (y - 1.2) / 1.0)
        cloth = scene.fabric * 0.5 * light
        cloth *= (1 - 0.4 * np.exp(-((lapel / 0.02) ** 2)))[..., None]
        mix(cloth, shirt, inside(lapel, 2))
        collar = np.abs(wide - 0.50 * (1 - (y - 1.10) / 0.5) - 0.17) / 0.015
        cloth *= (1 - 0.25 * np.exp(-(collar**2)) * (y < 1.75))[..., None]
        knot = inside(wide - 0.09 - 0.05 * smooth(1.62, 2.2, y), 1.5) * (y > 1.52)
        stripes = 1 + 0.2 * np.sign(np.sin(28 * (x + y)))
        mix(cloth, scene.second * light * stripes[..., None], knot)
    else:
        seam = np.exp(-(((hole - 0.05) / 0.018) ** 2))
        cloth *= (1 - 0.25 * seam)[..., None]
    mix(image, cloth, garment)


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
    scene = draw_scene(rng)
    side = size / rng.uniform(1.95, 2.2)
    unit = side / 2  # pixels per unit
    slack = (size - 1.9 * side) / 2
    middle = size / 2 + rng.uniform(-slack, slack, 2)

    field, head, behind, depth = draw_head(identity, scene, 1.1 * unit)
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
    below = smooth(0.6, 1.0, y)
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
