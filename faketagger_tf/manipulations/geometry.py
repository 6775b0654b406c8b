"""Resampling: resize, crop, affine jitter, elastic warps.

Whatever is separable is a pair of matrix products: a resize, a crop or a Gaussian blur
of one axis is a [side, side] matrix, so that every image of a batch can have a size, an
offset or a width of its own while all shapes stay static. What is not separable goes
through one bilinear gather, `bilinear_warp`.
"""

from __future__ import annotations

import cv2
import keras
import numpy as np
from keras import ops

from faketagger_tf.manipulations.random import uniform

CUBIC = -0.75  # The cubic kernel's slope at distance 1, as OpenCV has it.
BACK_PROJECTIONS = 4  # Rounds of super-resolution.
GRID = 5  # nodes per side of the elastic warps, as in the classic face-swap pipeline


def _per_image(values):
    """float or [B] -> float32 [1, 1, 1] or [B, 1, 1]."""
    return ops.reshape(ops.cast(values, "float32"), [-1, 1, 1])


def separable(images, rows, columns=None):
    """Resamples both axes by matrices.

    Args:
        images: float [B, H, W, C].
        rows: float [B or 1, H', H].
        columns: float [B or 1, W', W]; the rows' matrices by default.

    Returns:
        float [B, H', W', C].
    """
    columns = rows if columns is None else columns
    for matrix in (rows, columns):
        batch, height, width, channels = images.shape
        flat = ops.reshape(images, [batch, height, width * channels])
        images = ops.matmul(matrix, flat)
        images = ops.reshape(images, [batch, matrix.shape[1], width, channels])
        images = ops.transpose(images, [0, 2, 1, 3])
    return images


def area_matrix(sizes, rows: int, side: int):
    """Area averaging from `side` samples to `sizes` (<= side): cv2.INTER_AREA.

    Args:
        sizes: number or [B], the samples wanted; at most `rows`, rows beyond are zero.

    Returns:
        float32 [1 or B, rows, side].
    """
    step = side / _per_image(sizes)
    start = step * np.arange(rows, dtype=np.float32)[:, None]
    pixel = np.arange(side, dtype=np.float32)
    overlap = ops.minimum(start + step, pixel + 1) - ops.maximum(start, pixel)
    return ops.maximum(overlap, 0.0) / step


def bilinear_matrix(sizes, rows: int, side: int, offsets=0.0):
    """Bilinear stretch of `sizes` samples from `offsets` on to `rows` samples.

    Half-pixel centres and a replicated border: cv2.INTER_LINEAR when it enlarges.

    Returns:
        float32 [1 or B, rows, side].
    """
    sizes, offsets = _per_image(sizes), _per_image(offsets)
    centre = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) * (sizes / rows) - 0.5
    centre = offsets + ops.clip(centre, 0.0, sizes - 1.0)
    pixel = np.arange(side, dtype=np.float32)
    return ops.maximum(1.0 - ops.abs(centre - pixel), 0.0)


def down_up_matrix(sizes, side: int):
    """Down to `sizes` samples by area and back up bilinearly: [1 or B, side, side]."""
    down = area_matrix(sizes, side, side)
    return ops.matmul(bilinear_matrix(sizes, side, side), down)


def gaussian_matrix(sigmas, side: int, radius: int | None = None):
    """Gaussian blur cut at `radius`, borders mirrored about the edge pixel (REFLECT).

    Without a radius the kernel is as wide as the side allows.

    Returns:
        float32 [1 or B, side, side].
    """
    radius = side - 1 if radius is None else radius
    row = np.arange(side)[:, None]
    pixel = np.arange(side)
    inner = (pixel > 0) & (pixel < side - 1)
    scale = -0.5 / ops.square(_per_image(sigmas))
    matrix = 0.0
    # A pixel is reached directly, and through its mirror images left and right.
    for distance, reached in (
        (row - pixel, True),
        (row + pixel, inner | (pixel == side - 1)),
        (2 * (side - 1) - row - pixel, inner | (pixel == 0)),
    ):
        within = (np.abs(distance) <= radius) & reached
        squares = np.square(distance).astype(np.float32)
        matrix = matrix + ops.exp(scale * squares) * within.astype(np.float32)
    return matrix / ops.sum(matrix, axis=-1, keepdims=True)


def resize_to(images, size: int):
    """Square images to [B, size, size, C]: area when smaller, bilinear when larger."""
    side = images.shape[1]
    if size == side:
        return images
    if size < side:
        return separable(images, area_matrix(size, size, side))
    return separable(images, bilinear_matrix(side, size, side))


def resize_to_real(images: np.ndarray, size: int) -> np.ndarray:
    """`resize_to` by OpenCV."""
    method = cv2.INTER_AREA if size < images.shape[1] else cv2.INTER_LINEAR
    return np.stack([cv2.resize(i, (size, size), interpolation=method) for i in images])


def bilinear_warp(images, rows, columns, border: str = "edge"):
    """Samples images at fractional pixel coordinates, differentiably.

    Built on one gather, so that it compiles under XLA.

    Args:
        images: float [B, H, W, C], H and W of at least 2.
        rows, columns: float [B, H', W'], coordinates in pixels of the samples.
        border: "edge" replicates the border, "reflect" mirrors it (edge pixel
            repeated; cv2.BORDER_REFLECT).

    Returns:
        float [B, H', W', C].
    """
    batch, height, width, channels = images.shape
    if border == "reflect":
        rows, columns = _reflect(rows, height), _reflect(columns, width)
    rows = ops.clip(rows, 0.0, height - 1.0)
    columns = ops.clip(columns, 0.0, width - 1.0)
    top = ops.minimum(ops.floor(rows), height - 2.0)
    left = ops.minimum(ops.floor(columns), width - 2.0)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    start = np.arange(batch, dtype=np.int32)[:, None, None] * (height * width)
    index = start + ops.cast(top, "int32") * width + ops.cast(left, "int32")
    flat = ops.reshape(images, [-1, channels])

    def corner(offset):
        return ops.take(flat, index + offset, axis=0)

    upper = (1.0 - right) * corner(0) + right * corner(1)
    lower = (1.0 - right) * corner(width) + right * corner(width + 1)
    return (1.0 - down) * upper + down * lower


def _reflect(coordinates, size: int):
    phase = ops.mod(coordinates + 0.5, 2.0 * size)
    return size - ops.abs(phase - size) - 0.5


def _pixel_grid(height: int, width: int):
    return np.mgrid[:height, :width].astype(np.float32)


def dense_image_warp(images, flow):
    """Samples at (row, column) - flow: tfa.image.dense_image_warp.

    Args:
        images: float [B, H, W, C].
        flow: float [B, H, W, 2] in pixels, (row, column).
    """
    row, column = _pixel_grid(*images.shape[1:3])
    return bilinear_warp(images, row - flow[..., 0], column - flow[..., 1])


def affine_warp(images, coefficients, border: str = "reflect"):
    """Output pixel (x, y) is sampled at (a0 x + a1 y + a2, b0 x + b1 y + b2).

    Args:
        images: float [B, H, W, C].
        coefficients: float [B or 1, 6], (a0, a1, a2, b0, b1, b2) in pixels.
    """
    row, column = _pixel_grid(*images.shape[1:3])
    # Not `coefficients[:, i, None, None]`: TensorFlow's graph optimiser folds a stack
    # and such a slice together and drops the new axes.
    coefficients = ops.reshape(coefficients, [-1, 6, 1, 1])
    a0, a1, a2, b0, b1, b2 = (coefficients[:, i] for i in range(6))
    rows = b0 * column + b1 * row + b2
    columns = a0 * column + a1 * row + a2
    return bilinear_warp(images, rows, columns, border)


def affine_coefficients(xp, angles, scales, shifts_x, shifts_y, side: int):
    """Turn about the middle, enlarge by `scales`, then move: [B, 6] for `affine_warp`.

    Args:
        xp: numpy or keras.ops.
        angles: [B] in radians; scales: [B]; shifts: [B] in pixels.
    """
    cosine, sine = xp.cos(angles) / scales, xp.sin(angles) / scales
    middle = (side - 1) / 2
    x, y = middle + shifts_x, middle + shifts_y
    row_x = [cosine, sine, middle - cosine * x - sine * y]
    row_y = [-sine, cosine, middle + sine * x - cosine * y]
    return xp.stack(row_x + row_y, axis=-1)


def elastic_flow(noise, side: int):
    """Displacements of GRID x GRID nodes [B, GRID, GRID, 2] -> [B, side, side, 2]."""
    return separable(noise, bilinear_matrix(GRID, side, GRID))


def random_warp(images, seed, strength: float = 0.04):
    """Moves 5x5 nodes by normal noise: the warp that face-swap autoencoders undo.

    Args:
        images: float [B, S, S, C].
        seed: StatelessSeed.
        strength: standard deviation of the nodes' shift as a fraction of the side;
            a number or [B].
    """
    batch, side = images.shape[:2]
    nodes = keras.random.normal([batch, GRID, GRID, 2], seed=seed)
    nodes = nodes * (_per_image(strength)[..., None] * side)
    return dense_image_warp(images, elastic_flow(nodes, side))


def random_warp_real(images, rng, strength):
    """`random_warp` by OpenCV, on float or uint8 images; strength [B]."""
    side = images.shape[1]
    row, column = _pixel_grid(side, side)
    warped = []
    for image, deviation in zip(images, strength, strict=True):
        nodes = rng.normal(0.0, deviation * side, [GRID, GRID, 2]).astype(np.float32)
        flow = cv2.resize(nodes, (side, side), interpolation=cv2.INTER_LINEAR)
        maps = column - flow[..., 1], row - flow[..., 0]
        border = cv2.BORDER_REPLICATE
        warped.append(cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=border))
    return np.stack(warped)


def resize(images, seed, context, scale):
    side = images.shape[1]
    sizes = ops.maximum(ops.round(ops.cast(scale, "float32") * side), 1.0)
    return separable(images, down_up_matrix(sizes, side))


def resize_real(images, rng, context, scale):
    sizes = np.maximum(np.round(scale * images.shape[1]), 1)
    return downup_real(images, rng, context, sizes)


def downup(images, seed, context, pixels):
    side = images.shape[1]
    sizes = ops.minimum(ops.cast(pixels, "float32"), float(side))
    return separable(images, down_up_matrix(sizes, side))


def downup_real(images, rng, context, pixels):
    side = images.shape[1]
    sizes = np.minimum(pixels, side).astype(int)
    small = [resize_to_real(images[i : i + 1], n) for i, n in enumerate(sizes)]
    return np.concatenate([resize_to_real(image, side) for image in small])


def cubic_matrix(sizes, rows: int, side: int):
    """Cubic stretch of `sizes` samples to `rows` samples: cv2.INTER_CUBIC.

    Returns:
        float32 [1 or B, rows, side].
    """
    sizes = _per_image(sizes)
    centre = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) * (sizes / rows) - 0.5
    first = ops.floor(centre) - 1.0
    pixel, matrix = np.arange(side, dtype=np.float32), 0.0
    for tap in range(4):
        place = first + tap
        far = ops.abs(centre - place)
        near = ((CUBIC + 2) * far - (CUBIC + 3)) * far * far + 1
        beyond = ((CUBIC * far - 5 * CUBIC) * far + 8 * CUBIC) * far - 4 * CUBIC
        weight = ops.where(far <= 1, near, beyond)
        # The border is replicated.
        place = ops.clip(place, 0.0, sizes - 1.0)
        matrix = matrix + weight * ops.cast(ops.equal(place, pixel), "float32")
    return matrix


def superres(images, seed, context, scale):
    side = images.shape[1]
    sizes = ops.maximum(ops.round(ops.cast(scale, "float32") * side), 1.0)
    down, up = area_matrix(sizes, side, side), cubic_matrix(sizes, side, side)
    small = separable(images, down)
    large = separable(small, up)
    for _ in range(BACK_PROJECTIONS):
        large = large + separable(small - separable(large, down), up)
    return ops.clip(large, 0.0, 1.0)


def superres_real(images, rng, context, scale):
    side = images.shape[1]
    sizes = np.maximum(np.round(scale * side), 1).astype(int)
    return np.stack(
        [
            upscale(resize_to_real(image[None], size)[0], side, side)
            for image, size in zip(images, sizes, strict=True)
        ]
    )


def upscale(small: np.ndarray, height: int, width: int) -> np.ndarray:
    """Enlarges by iterated back-projection (Irani and Peleg 1991).

    The result, reduced again, is the small photo: what classical super-resolution asks.

    Args:
        small: uint8 [H, W, 3].
        height, width: of the result, at least the small photo's.

    Returns:
        uint8 [height, width, 3].
    """
    small = small.astype(np.float32)

    def enlarge(values):
        return cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC)

    large = enlarge(small)
    for _ in range(BACK_PROJECTIONS):
        again = cv2.resize(large, small.shape[1::-1], interpolation=cv2.INTER_AREA)
        large = large + enlarge(small - again)
    return np.clip(np.rint(large), 0, 255).astype(np.uint8)


def crop(images, seed, context, fraction, centre):
    batch, side = images.shape[:2]
    sizes = ops.round(ops.cast(fraction, "float32") * side)
    if centre:
        top = left = ops.floor((side - sizes) / 2)
    else:
        top, left = (ops.floor(u * (side - sizes + 1)) for u in _units(seed, 2, batch))
    rows = bilinear_matrix(sizes, side, side, top)
    return separable(images, rows, bilinear_matrix(sizes, side, side, left))


def _units(seed, count: int, batch: int):
    numbers = uniform(seed, [count, batch], 0.0, 1.0)
    return [numbers[i] for i in range(count)]


def crop_real(images, rng, context, fraction, centre):
    side = images.shape[1]
    cropped = []
    for image, size in zip(images, np.round(fraction * side).astype(int), strict=True):
        top, left = rng.integers(0, side - size + 1, 2)
        if centre:
            top = left = (side - size) // 2
        piece = image[top : top + size, left : left + size]
        cropped.append(resize_to_real(piece[None], side)[0])
    return np.stack(cropped)


def overhang(images, seed, context, fraction):
    batch, side = images.shape[:2]
    draws = ops.maximum(uniform(seed, [4, batch], -1.0, 1.0), 0.0)
    lost = ops.floor(draws * fraction * side)
    pixel = np.arange(side, dtype=np.float32)

    def repeat_border(first, last):
        kept = ops.maximum(pixel[:, None], _per_image(first))
        kept = ops.minimum(kept, side - 1 - _per_image(last))
        return ops.maximum(1.0 - ops.abs(kept - pixel), 0.0)

    rows = repeat_border(lost[0], lost[1])
    return separable(images, rows, repeat_border(lost[2], lost[3]))


def overhang_real(images, rng, context, fraction):
    side = images.shape[1]
    draws = np.maximum(rng.uniform(-1.0, 1.0, [4, len(images)]), 0.0)
    lost = np.floor(draws * fraction * side).astype(int)
    pixel = np.arange(side)
    found = []
    for image, (top, bottom, left, right) in zip(images, lost.T, strict=True):
        rows = np.clip(pixel, top, side - 1 - bottom)
        found.append(image[rows][:, np.clip(pixel, left, side - 1 - right)])
    return np.stack(found)


def _photo_edge(xp, side: int, lost, angles):
    """1 inside a photo whose border crosses the canvas, 0 outside: [B, side, side, 1].

    Args:
        xp: numpy or keras.ops.
        lost: [4, B], what each side loses, as a fraction of the canvas.
        angles: [B] in radians, the turn of the photo in the canvas.
    """
    place = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    angles = xp.reshape(angles, [-1, 1, 1])
    right = xp.cos(angles) * place[None, None] + xp.sin(angles) * place[None, :, None]
    down = xp.cos(angles) * place[None, :, None] - xp.sin(angles) * place[None, None]
    inside = 1.0
    for i, offset in enumerate((-right, right, -down, down)):
        kept = 0.5 - xp.reshape(lost[i], [-1, 1, 1])
        # A side that loses nothing keeps its corners when it is turned.
        kept = kept + 0.5 * _float(xp, kept >= 0.5)
        inside = inside * _float(xp, offset <= kept)
    return inside[..., None]


def _float(xp, condition):
    return xp.where(condition, 1.0, 0.0)


def edge(images, seed, context, fraction, degrees):
    batch, side = images.shape[:2]
    draws = uniform(seed, [5, batch], -1.0, 1.0)
    lost = ops.maximum(draws[:4], 0.0) * fraction
    turned = draws[4] * degrees * (np.pi / 180)
    return images * _photo_edge(ops, side, lost, turned)


def edge_real(images, rng, context, fraction, degrees):
    draws = rng.uniform(-1.0, 1.0, [5, len(images)])
    lost = np.maximum(draws[:4], 0.0) * fraction
    inside = _photo_edge(np, images.shape[1], lost, draws[4] * degrees * (np.pi / 180))
    return images * inside.astype(np.uint8)


def mirror(images, seed, context):
    return ops.flip(images, axis=2)


def mirror_real(images, rng, context):
    return images[:, :, ::-1].copy()


def affine(images, seed, context, degrees, scale, shift):
    batch, side = images.shape[:2]
    draws = uniform(seed, [4, batch], -1.0, 1.0)
    angles = draws[0] * degrees * (np.pi / 180)
    jitter = angles, 1 + draws[1] * scale, draws[2] * shift, draws[3] * shift
    return affine_warp(images, affine_coefficients(ops, *jitter, side))


def affine_real(images, rng, context, degrees, scale, shift):
    batch, side = images.shape[:2]
    draws = rng.uniform(-1.0, 1.0, [4, batch])
    angles = draws[0] * degrees * (np.pi / 180)
    jitter = angles, 1 + draws[1] * scale, draws[2] * shift, draws[3] * shift
    coefficients = affine_coefficients(np, *jitter, side)
    return np.stack(
        [
            affine_warp_real(image, row)
            for image, row in zip(images, coefficients, strict=True)
        ]
    )


def affine_warp_real(image: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """`affine_warp` of one image by OpenCV."""
    return cv2.warpAffine(
        image,
        coefficients.reshape(2, 3),
        image.shape[1::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
