"""Writes canvases of photos as sharded TFRecords.

    python -m faketagger_tf.data.tfrecord --data=photos --output=records/faces

writes records/faces-train-00000-of-00008.tfrecord and so on for every split that the
photos have. `pipeline.tfrecord_dataset` reads them. Exit codes: 0 done, 2 an error, or
at least one photo could not be read.
"""

from __future__ import annotations

import os
import sys

import tensorflow as tf
from absl import flags, logging

from faketagger_tf.command import require_flag, run_main
from faketagger_tf.data.photos import SPLITS, Photo, PhotoSet, find_photos, read_canvas
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


def main(argv: list[str]) -> int:
    """Writes every split's files; returns the exit code."""
    del argv
    values = flags.FLAGS
    total = bad = 0
    photos = find_photos(require_flag("data"), csv=values.csv)
    prefix = require_flag("output")
    for split in SPLITS:
        part = photos.of_split(split)
        if not part:
            continue
        paths, skipped = write_tfrecords(
            part,
            f"{prefix}-{split}",
            values.shards,
            image_size=values.image_size,
            canvas_scale=values.canvas_scale,
            margin=values.margin,
            quality=values.quality,
        )
        total, bad = total + len(part) - len(skipped), bad + len(skipped)
        print(f"{split}: {len(part) - len(skipped)} photos in {len(paths)} files")
    if bad:
        print(
            f"Wrote {total} photos; skipped {bad} that could not be read.",
            file=sys.stderr,
        )
    return 2 if bad else 0


def _define_flags() -> None:
    flags.DEFINE_string("data", None, "Folder of photos.")
    flags.DEFINE_string("csv", "", "CSV of the photos; found in the folder if empty.")
    flags.DEFINE_string("output", None, "Prefix of the output files.")
    flags.DEFINE_integer("shards", 8, "Files per split.", lower_bound=1)
    flags.DEFINE_integer("image_size", 128, "Side of the canvas in pixels.")
    flags.DEFINE_float("canvas_scale", 1.9, "Side of the canvas over the face box's.")
    flags.DEFINE_float("margin", 0.125, "Extra border for random crops.")
    flags.DEFINE_integer("quality", 0, "JPEG quality; 0 stores lossless PNG.")


if __name__ == "__main__":
    _define_flags()
    run_main(main)
