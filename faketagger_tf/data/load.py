"""What `--data` names: the embedded drawn faces, a folder of photos, or TFRecords."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from absl import logging

from faketagger_tf.data import pipeline
from faketagger_tf.data.landmarks import find_landmarks
from faketagger_tf.data.photos import (
    SPLITS,
    find_photos,
    group_people,
    load_canvases,
    padded_size,
)
from faketagger_tf.drawn import default_identities, draw_canvases

DRAWN = "drawn"
# Drawings of each identity in a split.
DRAWN_COUNTS = {"train": 400, "validation": 60, "test": 100}
# Canvases beyond this many bytes are read from their files anew in every epoch.
MEMORY_LIMIT = 2 * 1024**3


def is_tfrecord(data: str) -> bool:
    """Whether `data` names TFRecord files rather than photos."""
    return "*" in data or data.endswith(".tfrecord")


def load_split(
    data: str,
    split: str,
    *,
    image_size: int,
    canvas_scale: float,
    margin: float = 0.0,
    outside: str = "repeat",
    groups: int = 0,
    people_per_group: int = 0,
    group_seed: int = 0,
) -> tuple[np.ndarray, list[str]]:
    """Reads one split of the canvases into memory.

    Args:
        data: "drawn", or a folder as `find_photos` takes it.
        split: "train", "validation" or "test".
        image_size: side S of the canvas in pixels.
        canvas_scale: side of the canvas over that of the face box.
        margin: extra border as a fraction of S.
        outside: what lies beyond a photo's border, see `photos.warp_canvas`.
        groups: composite identities to gather the people into; 0 for none.
        people_per_group: people in each of them; 0 shares all out.
        group_seed: seed of the grouping.

    Returns:
        Canvases uint8 `[N, S', S', 3]`, and their N identities ("" where unknown).

    Raises:
        ValueError: there is nothing that can be read.
    """
    if data == DRAWN:
        if groups:
            raise ValueError(
                "--groups needs photos of people. Received: --data=drawn, whose "
                "identities are given."
            )
        return _draw_split(split, padded_size(image_size, margin), canvas_scale, margin)
    photos = find_photos(data, split)
    if groups:
        photos = group_people(photos, groups, people_per_group or None, group_seed)
    photos = find_landmarks(photos)
    canvases, kept, _ = load_canvases(photos, image_size, canvas_scale, margin, outside)
    return canvases, [photo.identity for photo in kept]


def load_identities(data: str, split: str, **options) -> dict[str, np.ndarray]:
    """Reads one split as identity -> canvases; options as in `load_split`.

    Raises:
        ValueError: the data hold fewer than two identities.
    """
    canvases, names = load_split(data, split, **options)
    labels = np.array(names)
    found = sorted(set(names) - {""})
    if len(found) < 2:
        raise ValueError(
            "A face swap needs two identities: a folder with two sub-folders, or "
            f"--groups=2 to gather people. Received: {len(found)} in {data!r}."
        )
    return {name: canvases[labels == name] for name in found}


def load_dataset(
    data: str,
    split: str,
    *,
    image_size: int,
    canvas_scale: float,
    margin: float,
    outside: str = "repeat",
    message_bits: int,
    batch_size: int,
    seed: int,
) -> Callable:
    """Prepares the training dataset of covers and messages.

    Returns:
        A function of the step to start from, which returns the endless dataset of
        `pipeline.canvas_dataset` from that batch on. Given shard_count and shard_index
        too, it returns that worker's part of each batch.
    """
    options = {
        "training": True,
        "seed": seed,
        "message_bits": message_bits,
    }
    if is_tfrecord(data):
        source = functools.partial(
            pipeline.tfrecord_dataset, data, image_size, **options
        )
    else:
        size = padded_size(image_size, margin)
        photos = None if data == DRAWN else find_photos(data, split)
        if photos and len(photos) * size * size * 3 > MEMORY_LIMIT:
            source = functools.partial(
                pipeline.photo_dataset,
                find_landmarks(photos),
                image_size,
                canvas_scale=canvas_scale,
                margin=margin,
                outside=outside,
                **options,
            )
        else:
            canvases, _ = load_split(
                data,
                split,
                image_size=image_size,
                canvas_scale=canvas_scale,
                margin=margin,
                outside=outside,
            )
            logging.info("%d canvases of %s to train on.", len(canvases), data)
            source = functools.partial(
                pipeline.canvas_dataset, canvases, image_size, **options
            )

    def from_step(start_step: int, shard_count: int = 1, shard_index: int = 0):
        return source(
            batch_size=batch_size // shard_count,
            skip_batches=start_step,
            shard_count=shard_count,
            shard_index=shard_index,
        )

    return from_step


def _draw_split(
    split: str, size: int, canvas_scale: float, margin: float
) -> tuple[np.ndarray, list[str]]:
    canvases, names = [], []
    for number, (name, identity) in enumerate(default_identities(2).items()):
        drawn = draw_canvases(
            identity,
            DRAWN_COUNTS[split],
            # A stream of its own for every split and identity.
            seed=1000 * (SPLITS.index(split) + 1) + number,
            image_size=size,
            canvas_scale=canvas_scale * (1 + margin),
        )
        canvases.append(drawn)
        names += [name] * len(drawn)
    return np.concatenate(canvases), names
