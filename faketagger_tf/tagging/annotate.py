"""Draws readings on a photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from faketagger_tf.messages import format_payload

if TYPE_CHECKING:
    from faketagger_tf.tagging.tagger import Reading

FOUND, NOT_FOUND = (30, 200, 60), (150, 150, 150)  # RGB
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def annotate(
    photo: np.ndarray, readings: Sequence[Reading], payload_bits: int
) -> np.ndarray:
    """Draws each reading's canvas, payload and p-value on a copy of a photo.

    Args:
        photo: uint8 [H, W, 3] RGB.
        readings: from `Tagger.read` or `Tagger.examine` of this photo.
        payload_bits: of the tagger's configuration.

    Returns:
        uint8 [H, W, 3].

    Example:
        >>> readings = tagger.examine(photo)
        >>> picture = annotate(photo, readings, tagger.config.payload_bits)
        >>> picture.shape == photo.shape
        True
    """
    picture = photo.copy()
    longer = max(photo.shape[:2])
    width = max(1, round(longer / 400))
    size = max(0.35, longer / 1200)
    for reading in readings:
        colour = FOUND if reading.found else NOT_FOUND
        corners = np.rint(reading.corners).astype(np.int32)
        cv2.polylines(picture, [corners], True, colour, width, cv2.LINE_AA)
        label = "no tag"
        if reading.found:
            label = format_payload(reading.payload, payload_bits)
        label += f"  p {reading.p_value:.0e}"
        (across, up), _ = cv2.getTextSize(label, _FONT, size, width)
        left = int(np.clip(corners[:, 0].min(), 0, max(photo.shape[1] - across, 0)))
        base = int(np.clip(corners[:, 1].min() + up * 2, up * 2, photo.shape[0] - 1))
        cv2.rectangle(
            picture, (left, base - up * 2), (left + across, base), (0, 0, 0), -1
        )
        place = (left, base - up // 2)
        cv2.putText(picture, label, place, _FONT, size, colour, width, cv2.LINE_AA)
    return picture
