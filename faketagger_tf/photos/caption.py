"""Words below a picture, for panels of pictures side by side."""

from __future__ import annotations

import cv2
import numpy as np

LINE = 16  # Pixels of a line.
MARGIN = 4  # White pixels at the right, between two pictures side by side.
_FONT, _SIZE, _LETTER = cv2.FONT_HERSHEY_SIMPLEX, 0.42, 7.5


def captioned(picture: np.ndarray, caption: str, lines: int = 1) -> np.ndarray:
    """Returns a picture with a caption below it.

    Args:
        picture: uint8 `[H, W, 3]`.
        caption: ASCII, which is what OpenCV's letters can show; broken into lines as
            wide as the picture.
        lines: there is room for; what is left over is not shown.

    Returns:
        uint8 `[H + 16 * lines + 6, W + 4, 3]`, white around the words.

    Example:
        >>> captioned(np.zeros((64, 64, 3), np.uint8), "tagged").shape
        (86, 68, 3)
    """
    height, width = picture.shape[:2]
    below = np.full((height + LINE * lines + 6, width + MARGIN, 3), 255, np.uint8)
    below[:height, :width] = picture
    fit = max(1, int(width / _LETTER))
    for number in range(lines):
        words = caption[number * fit : (number + 1) * fit]
        place = (2, height + LINE * (number + 1))
        cv2.putText(below, words, place, _FONT, _SIZE, (0, 0, 0), 1, cv2.LINE_AA)
    return below
