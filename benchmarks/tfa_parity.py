"""Our image operations against tensorflow-addons', which Keras 3 cannot import.

`--write=FILE` runs in an environment of its own (requirements-tfa.txt, Python 3.11)
and imports nothing but TensorFlow 2.15, tensorflow-addons and NumPy; it stores seeded
inputs and TFA's outputs. `--compare=FILE` runs beside the library and prints the
largest absolute differences; its exit status is 1 where one exceeds the tolerance:

    python -m benchmarks.tfa_parity --write=tests/manipulations/tfa_reference.npz
    python -m benchmarks.tfa_parity --compare=tests/manipulations/tfa_reference.npz
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

TOLERANCE = 1e-5
BLURS = {"blur_3_0.8": (3, 0.8), "blur_9_2.0": (9, 2.0), "blur_5_1.0": (5, 1.0)}
ANGLES = (0.3, -1.1)  # radians, counterclockwise, one per image
SHIFTS = ((2.5, -1.25), (-3.0, 4.75))  # (x, y) in pixels
# Output pixel (x, y) is sampled at (a0 x + a1 y + a2, b0 x + b1 y + b2).
TRANSFORMS = ((0.9, 0.2, 1.5, -0.1, 1.1, -2.0), (1.3, -0.4, 6.0, 0.3, 0.8, -5.0))
BORDERS = {"edge": "nearest", "reflect": "reflect"}  # ours -> TFA's


def inputs() -> dict[str, np.ndarray]:
    """Returns seeded images [2, 24, 24, 3] in [0, 1] and a flow [2, 24, 24, 2]."""
    rng = np.random.default_rng(0)
    return {
        "images": rng.random([2, 24, 24, 3], np.float32),
        "flow": rng.normal(0, 3, [2, 24, 24, 2]).astype(np.float32),
    }


def reference(images: np.ndarray, flow: np.ndarray) -> dict[str, np.ndarray]:
    """Returns TFA's outputs by name; needs tensorflow-addons."""
    import tensorflow as tf
    import tensorflow_addons as tfa

    outputs = {
        name: tfa.image.gaussian_filter2d(images, size, sigma, padding="REFLECT")
        for name, (size, sigma) in BLURS.items()
    }
    flow = tf.constant(flow)
    source = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch([source, flow])
        outputs["dense_image_warp"] = tfa.image.dense_image_warp(source, flow)
        loss = tf.reduce_sum(tf.square(outputs["dense_image_warp"]))
    gradients = tape.gradient(loss, [source, flow])
    outputs["dense_image_warp_gradient"], outputs["flow_gradient"] = gradients
    projective = np.array([[*row, 0, 0] for row in TRANSFORMS], np.float32)
    for ours, theirs in BORDERS.items():
        settings = {"interpolation": "bilinear", "fill_mode": theirs}
        outputs[f"transform_{ours}"] = tfa.image.transform(
            images, projective, **settings
        )
        outputs[f"rotate_{ours}"] = tfa.image.rotate(images, list(ANGLES), **settings)
        outputs[f"translate_{ours}"] = tfa.image.translate(
            images, np.float32(SHIFTS), **settings
        )
    return {name: np.asarray(value) for name, value in outputs.items()}


def ours(images: np.ndarray, flow: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the library's outputs under the same names."""
    import tensorflow as tf
    from keras import ops

    from faketagger_tf.manipulations import geometry, photometric

    outputs = {
        name: photometric.gaussian_blur(images, sigma, radius=size // 2)
        for name, (size, sigma) in BLURS.items()
    }
    flow, source = tf.constant(flow), tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch([source, flow])
        outputs["dense_image_warp"] = geometry.dense_image_warp(source, flow)
        loss = tf.reduce_sum(tf.square(outputs["dense_image_warp"]))
    gradients = tape.gradient(loss, [source, flow])
    outputs["dense_image_warp_gradient"], outputs["flow_gradient"] = gradients
    side = images.shape[1]
    still, unit = np.zeros(2, np.float32), np.ones(2, np.float32)
    shifts = np.float32(SHIFTS)
    # TFA turns the picture counterclockwise, ours by the image axes' angle: y is down.
    turned = geometry.affine_coefficients(
        np, -np.float32(ANGLES), unit, still, still, side
    )
    moved = geometry.affine_coefficients(np, still, unit, *shifts.T, side)
    for border in BORDERS:
        for name, rows in (
            ("transform", np.float32(TRANSFORMS)),
            ("rotate", turned),
            ("translate", moved),
        ):
            warped = geometry.affine_warp(images, rows.astype(np.float32), border)
            outputs[f"{name}_{border}"] = warped
    return {name: ops.convert_to_numpy(value) for name, value in outputs.items()}


def compare(path: str) -> dict[str, float]:
    """Returns the largest absolute difference for every output stored in `path`."""
    with np.load(path) as stored:
        found = ours(stored["images"], stored["flow"])
        return {name: float(np.abs(found[name] - stored[name]).max()) for name in found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", metavar="FILE", help="store TFA's outputs in FILE")
    action.add_argument("--compare", metavar="FILE", help="compare ours with FILE")
    arguments = parser.parse_args()
    if arguments.write:
        given = inputs()
        np.savez_compressed(arguments.write, **given, **reference(**given))
        return 0
    differences = compare(arguments.compare)
    for name, difference in differences.items():
        print(f"{name:28s} max abs diff {difference:.2e}")
    return int(max(differences.values()) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
