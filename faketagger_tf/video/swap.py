"""A face swap on a clip, so that anyone can try what a tag survives."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from faketagger_tf.deepfake import swap_faces
from faketagger_tf.video.container import Frame
from faketagger_tf.video.tracks import Tracker


class ClipSwapper:
    """Swaps the faces of one clip's frames; see `rewrite_clip`, which takes `change`.

    Args:
        config, model, identity: as for `deepfake.swap_faces`.

    Attributes:
        swapped: number of frames with a face that was swapped.
    """

    def __init__(self, config, model, identity: str):
        self._swap = config, model, identity
        self.swapped = 0

    def change(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yields the frames with other faces.

        Raises:
            ValueError: at the end, if no frame had a face that could be swapped.
        """
        tracker = Tracker()
        for frame in frames:
            tracks = tracker.follow(frame.pixels)
            faces = [t.face() for t in tracks if t.points is not None and not t.ends]
            pixels = frame.pixels
            if faces:
                pixels, count = swap_faces(pixels, *self._swap, faces=faces, least=0)
                self.swapped += bool(count)
            yield dataclasses.replace(frame, pixels=pixels)
        if not self.swapped:
            raise ValueError(
                "The clip has no face that could be swapped. "
                f"Received: {frame.index + 1} frames."
            )
