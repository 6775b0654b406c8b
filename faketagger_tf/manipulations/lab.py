"""CIE L*a*b* of sRGB under D65, differentiable both ways."""

from __future__ import annotations

import numpy as np
from keras import ops

_WHITE = np.array([0.95047, 1.0, 1.08883])
_TO_XYZ = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
# Row vectors on the left: linear RGB @ matrix is XYZ with white at 1.
_FORWARD = (_TO_XYZ / _WHITE[:, None]).T.astype(np.float32)
_BACK = np.linalg.inv(_TO_XYZ / _WHITE[:, None]).T.astype(np.float32)
_KNEE = 6 / 29  # Below it the cube root goes on as a straight line.


def to_lab(images):
    """float [..., 3] sRGB, clipped to [0, 1] -> L in [0, 100], a and b about +-100.

    Example:
        >>> [round(float(x)) for x in to_lab(np.array([1.0, 0.0, 0.0], np.float32))]
        [53, 80, 67]
    """
    rgb = ops.clip(images, 0.0, 1.0)
    # The branch that is not taken must have a finite slope too.
    upper = ((ops.maximum(rgb, 0.04045) + 0.055) / 1.055) ** 2.4
    return linear_to_lab(ops.where(rgb > 0.04045, upper, rgb / 12.92))


def linear_to_lab(rgb):
    """`to_lab` of linear RGB in [0, 1]: cv2.COLOR_LRGB2Lab."""
    xyz = ops.matmul(rgb, _FORWARD)
    root = ops.maximum(xyz, _KNEE**3) ** (1 / 3)
    f = ops.where(xyz > _KNEE**3, root, xyz / (3 * _KNEE**2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return ops.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def from_lab(values):
    """The inverse of `to_lab`; colours that sRGB does not have are clipped."""
    rgb = linear_from_lab(values)
    upper = 1.055 * ops.maximum(rgb, 0.0031308) ** (1 / 2.4) - 0.055
    return ops.where(rgb > 0.0031308, upper, 12.92 * rgb)


def linear_from_lab(values):
    """The inverse of `linear_to_lab`; colours that RGB does not have are clipped."""
    y = (values[..., 0] + 16) / 116
    f = ops.stack([y + values[..., 1] / 500, y, y - values[..., 2] / 200], axis=-1)
    cube, line = ops.maximum(f, _KNEE) ** 3, (f - 4 / 29) * (3 * _KNEE**2)
    return ops.clip(ops.matmul(ops.where(f > _KNEE, cube, line), _BACK), 0.0, 1.0)
