"""Writes canvases of photos as sharded TFRecords.

    python -m faketagger_tf.data.tfrecord --data=photos --output=records/faces

writes records/faces-train-00000-of-00008.tfrecord and so on for every split that the
photos have. `pipeline.tfrecord_dataset` reads them.
"""

from __future__ import annotations

import dataclasses
import os

import tensorflow as tf
from absl import logging

from faketagger_tf.data.landmarks import find_landmarks
from faketagger_tf.data.photos import SPLITS, Photo, PhotoSet, find_photos, read_canvas
from faketagger_tf.options import Checked, option, run_command
from faketagger_tf.photos.codec import encode_image


def write_tfrecords(
    photos: PhotoSet,
    output_prefix: str | os.PathLike,
    shards: int = 1,
    *,
    image_size: int = 128,
    canvas_scale: float = 1.9,
    margin: float = 0.0,
    quality: int = 0,
) -> tuple[list[str], list[tuple[str, str]]]:
    """Writes the photos' canvases to `<output_prefix>-00000-of-00008.tfrecord`, ...

    A record holds the canvas ("image", PNG or JPEG), and the photo's "person",
    "identity", "split" and "box" (four floats, or none). Records are dealt to the
    shards in turn. Each shard appears whole or not at all.

    Args:
        photos: the photos.
        output_prefix: path that the shards' names start with.
        shards: number of files.
        image_size, canvas_scale, margin: as in `load_canvases`.
        quality: 0 stores PNG, 1 to 100 JPEG of that quality.

    Returns:
        (paths, skipped): the files, and (path, reason) of photos that are bad.

    Raises:
        ValueError: a bad argument, no photo that can be read, or an output that cannot
            be written.
    """
    prefix = os.fspath(output_prefix)
    if not 1 <= shards <= 99_999:
        raise ValueError(f"shards must be from 1 to 99999. Received: {shards!r}.")
    if not 0 <= quality <= 100:
        raise ValueError(f"quality must be from 0 to 100. Received: {quality!r}.")
    paths = [f"{prefix}-{n:05d}-of-{shards:05d}.tfrecord" for n in range(shards)]
    skipped = []
    try:
        os.makedirs(os.path.dirname(os.path.abspath(prefix)), exist_ok=True)
        for shard, path in enumerate(paths):
            temporary = f"{path}.{os.getpid()}.part"
            try:
                with tf.io.TFRecordWriter(temporary) as writer:
                    for photo in photos.photos[shard::shards]:
                        try:
                            canvas = read_canvas(
                                photo, image_size, canvas_scale, margin
                            )
                        except ValueError as error:
                            skipped.append((photo.path, str(error)))
                            logging.warning("Skipped: %s", error)
                            continue
                        extension = ".jpg" if quality else ".png"
                        data = encode_image(canvas, extension, quality or None)
                        writer.write(_example(photo, data).SerializeToString())
                os.replace(temporary, path)
            finally:
                if os.path.exists(temporary):
                    os.unlink(temporary)
    except (OSError, tf.errors.OpError) as error:
        raise ValueError(
            f"Cannot write the TFRecords {prefix!r}: "
            f"{getattr(error, 'strerror', None) or error}."
        ) from None
    if len(skipped) == len(photos):
        for path in paths:
            os.unlink(path)
        raise ValueError(
            f"None of the {len(photos)} photos could be read."
            if skipped
            else "At least one photo is needed. Received: an empty set."
        )
    return paths, skipped


def _example(photo: Photo, image: bytes) -> tf.train.Example:
    def text(value: str | bytes) -> tf.train.Feature:
        data = value.encode() if isinstance(value, str) else value
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))

    box = tf.train.FloatList(value=photo.box or ())
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                "image": text(image),
                "person": text(photo.person),
                "identity": text(photo.identity),
                "split": text(photo.split),
                "box": tf.train.Feature(float_list=box),
            }
        )
    )


@dataclasses.dataclass(frozen=True)
class TfrecordOptions(Checked):
    """What the command can be told."""

    data: str = option("", "Folder of photos.", required=True)
    csv: str = option("", "CSV of the photos; found in the folder if empty.")
    output: str = option("", "Prefix of the output files.", required=True)
    shards: int = option(8, "Files per split.", low=1)
    image_size: int = option(128, "Side of the canvas in pixels.", low=16)
    canvas_scale: float = option(1.9, "Side of the canvas over the face box's.")
    margin: float = option(0.125, "Extra border for random crops.")
    quality: int = option(0, "JPEG quality; 0 stores lossless PNG.")


def main(options: TfrecordOptions) -> None:
    """Runs the command; see the module's docstring."""
    photos = find_photos(options.data, csv=options.csv)
    total = bad = 0
    for split in SPLITS:
        part = photos.of_split(split)
        if not part:
            continue
        paths, skipped = write_tfrecords(
            find_landmarks(part),
            f"{options.output}-{split}",
            options.shards,
            image_size=options.image_size,
            canvas_scale=options.canvas_scale,
            margin=options.margin,
            quality=options.quality,
        )
        total, bad = total + len(part) - len(skipped), bad + len(skipped)
        print(f"{split}: {len(part) - len(skipped)} photos in {len(paths)} files")
    if bad:
        raise ValueError(f"Wrote {total} photos; skipped {bad} that could not be read.")


if __name__ == "__main__":
    run_command(TfrecordOptions(), main)
