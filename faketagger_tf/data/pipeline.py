"""tf.data pipelines that resume exactly.

Every example is a pure function of (seed, position): which photo it shows, how it is
cropped and flipped, and which message it carries. Skipping k batches therefore costs
nothing: the pipeline starts to count at position k * batch_size. This needs sources
with random access, so TFRecords are read through an index of their records' offsets.
"""

from __future__ import annotations

import glob
import hashlib
import os
import struct
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import tensorflow as tf
from absl import logging

from faketagger_tf.data.photos import PhotoSet, padded_size, read_canvas

# Independent random streams that are drawn at one position.
_CROP, _FLIP, _MESSAGE, _ZOOM = range(4)

# int64 scalar -> {"canvas": uint8 [S', S', 3], "index": int64 scalar, ...}. The index
# is -1 where nothing could be read; further entries are passed on.
Source = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def canvas_dataset(
    canvases: np.ndarray,
    image_size: int,
    batch_size: int,
    *,
    identities: Sequence | None = None,
    **options,
) -> tf.data.Dataset:
    """Batches of canvases that are held in memory.

    In training the dataset is endless: every epoch is a new permutation, canvases are
    cropped at random within their margin and flipped left-right at random, and batches
    are full. Otherwise it is one epoch in order, cropped in the middle, and the last
    batch may be smaller.

    Args:
        canvases: [N, S', S', 3] uint8, S' >= S = image_size.
        image_size: side S of the canvas in pixels.
        batch_size: examples in a batch (of this shard).
        identities: [N] strings or integers, passed on as "identity".
        training: (required) see above.
        seed: of the order, the crops, the flips and the messages; 0 by default.
        skip_batches: leaves out the first batches; the rest is bit-identical.
        message_bits: length of the random messages; 0, the default, for none.
        shard_count, shard_index: this worker reads its part of batches of shard_count
            times batch_size examples, the same that one worker would; together the
            shards cover an epoch once.

    Returns:
        A dataset of {"cover": float32 [B, S, S, 3] in [0, 1], "index": int64 [B] into
        `canvases`, "message": float32 [B, message_bits] of 0 and 1 (if any),
        "identity": [B] (if given)}.

    Raises:
        ValueError: a shape, type, size or shard that does not fit.
    """
    canvases = _checked_canvases(canvases, image_size)
    entries = {"canvas": canvases}
    if identities is not None:
        if len(identities) != len(canvases):
            raise ValueError(
                f"identities must name each of the {len(canvases)} canvases. "
                f"Received: {len(identities)}."
            )
        entries["identity"] = np.asarray(identities)
    with tf.device("CPU"):
        entries = {name: tf.constant(value) for name, value in entries.items()}

    def source(index):
        return {
            "index": index,
            **{name: tf.gather(value, index) for name, value in entries.items()},
        }

    return _dataset(source, len(canvases), image_size, batch_size, **options)


def photo_dataset(
    photos: PhotoSet,
    image_size: int,
    batch_size: int,
    *,
    training: bool,
    canvas_scale: float = 1.9,
    margin: float = 0.0,
    outside: str = "repeat",
    cache_dir: str = "",
    skipped: dict[str, str] | None = None,
    **options,
) -> tf.data.Dataset:
    """`canvas_dataset` for photos that do not fit into memory: files are read anew.

    A photo that cannot be read is logged once and added to `skipped`. In training the
    next photo that can be read takes its place, so that batches stay aligned and
    resuming stays exact; otherwise it is left out.

    Args:
        photos: the photos; "index" counts in them, "identity" is theirs.
        image_size, batch_size, training: as in `canvas_dataset`.
        canvas_scale, margin, outside: as in `load_canvases`.
        cache_dir: folder for a file that keeps the decoded canvases between epochs
            and runs (N * S' * S' * 3 bytes); "" for none.
        skipped: is filled with path -> reason.
        **options: the remaining options of `canvas_dataset`.
    """
    if not photos:
        raise ValueError("At least one photo is needed. Received: an empty set.")
    size = padded_size(image_size, margin)
    skipped = {} if skipped is None else skipped
    cache = None
    if cache_dir:
        cache = _open_cache(cache_dir, photos, size, canvas_scale, outside)

    def read(index: int) -> np.ndarray | None:
        if cache is not None and cache[index, 0]:
            return cache[index, 1:].reshape(size, size, 3)
        photo = photos[index]
        if photo.path in skipped:
            return None
        try:
            canvas = read_canvas(photo, image_size, canvas_scale, margin, outside)
        except ValueError as error:
            skipped[photo.path] = str(error)
            logging.warning("Skipped %d photos so far: %s", len(skipped), error)
            return None
        if cache is not None:
            cache[index, 1:] = canvas.reshape(-1)
            cache[index, 0] = 1  # last, so that half a canvas is never taken as whole
        return canvas

    def read_near(index: np.ndarray) -> tuple[np.ndarray, np.int64]:
        for step in range(len(photos) if training else 1):
            found = (int(index) + step) % len(photos)
            canvas = read(found)
            if canvas is not None:
                return canvas, np.int64(found)
        if training:
            raise ValueError(f"None of the {len(photos)} photos could be read.")
        return np.zeros([size, size, 3], np.uint8), np.int64(-1)

    with tf.device("CPU"):
        identities = tf.constant([photo.identity for photo in photos])

    def source(index):
        canvas, found = tf.numpy_function(
            read_near, [index], (tf.uint8, tf.int64), stateful=False
        )
        found = tf.ensure_shape(found, [])
        return {
            "canvas": tf.ensure_shape(canvas, [size, size, 3]),
            "index": found,
            "identity": tf.gather(identities, tf.maximum(found, 0)),
        }

    return _dataset(
        source, len(photos), image_size, batch_size, training=training, **options
    )


def tfrecord_dataset(
    pattern: str | Sequence[str], image_size: int, batch_size: int, **options
) -> tf.data.Dataset:
    """`canvas_dataset` for the files of `faketagger_tf.data.tfrecord`.

    Args:
        pattern: a glob pattern of the shards, or their paths.
        image_size, batch_size: as in `canvas_dataset`; the stored canvases may be
            larger by the margin they were written with.
        **options: the remaining options of `canvas_dataset`. "index" counts records
            in the order of the sorted shards; "identity" and "person" are theirs.

    Raises:
        ValueError: no such file, a truncated file, or stored canvases that are too
            small.
    """
    paths = sorted(glob.glob(pattern)) if isinstance(pattern, str) else list(pattern)
    if not paths:
        raise ValueError(f"No TFRecord file matches. Received: {pattern!r}.")
    spans = [_record_spans(path) for path in paths]
    file_of = np.repeat(np.arange(len(paths)), [len(span) for span in spans])
    spans = np.concatenate(spans)
    if not len(spans):
        raise ValueError(f"The TFRecords hold no record. Received: {pattern!r}.")

    def read(index: np.ndarray) -> bytes:
        start, length = spans[int(index)]
        with open(paths[file_of[int(index)]], "rb") as file:
            file.seek(int(start))
            return file.read(int(length))

    def source(index):
        record = tf.numpy_function(read, [index], tf.string, stateful=False)
        parsed = parse_record(tf.ensure_shape(record, []))
        return {"index": index, **parsed}

    size = int(source(tf.constant(0, tf.int64))["canvas"].shape[0])
    if size < image_size:
        raise ValueError(
            f"The stored canvases must have at least {image_size} pixels a side. "
            f"Received: {size}."
        )

    def sized_source(index):
        example = source(index)
        example["canvas"] = tf.ensure_shape(example["canvas"], [size, size, 3])
        return example

    return _dataset(sized_source, len(spans), image_size, batch_size, **options)


def parse_record(record: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses one record of `write_tfrecords`: canvas, person, identity."""
    parsed = tf.io.parse_single_example(
        record,
        {name: tf.io.FixedLenFeature([], tf.string) for name in RECORD_FEATURES},
    )
    # decode_jpeg reads PNG too. Its default DCT differs from other decoders' by up to
    # eight levels; the accurate one is theirs, bit for bit.
    canvas = tf.io.decode_jpeg(
        parsed.pop("image"), channels=3, dct_method="INTEGER_ACCURATE"
    )
    return {"canvas": canvas, **parsed}


RECORD_FEATURES = ("image", "person", "identity")


def paired_faces_dataset(
    canvases_by_identity: dict[str, np.ndarray],
    face_region: float,
    face_size: int,
    batch_size: int,
    *,
    seed: int = 0,
    skip_batches: int = 0,
    shard_count: int = 1,
    shard_index: int = 0,
) -> tf.data.Dataset:
    """Endless batches of faces for a face-swap autoencoder, one array per identity.

    A face is the middle of the canvas, with a random zoom (up to 5%), shift (up to 5%
    of the region) and left-right flip.

    Args:
        canvases_by_identity: identity -> [N, S, S, 3] uint8; N may differ.
        face_region: side of the middle square as a fraction of the canvas.
        face_size: side F of the faces in pixels.
        batch_size: faces of each identity in a batch (of this shard).
        seed: of the order and the augmentation.
        skip_batches: leaves out the first batches; the rest is bit-identical.
        shard_count, shard_index: as in `canvas_dataset`.

    Returns:
        A dataset of {identity: float32 [B, F, F, 3] in [0, 1]}.
    """
    if not canvases_by_identity:
        raise ValueError("At least one identity is needed. Received: none.")
    if not 0 < face_region <= 1:
        raise ValueError(f"face_region must be in (0, 1]. Received: {face_region!r}.")
    _check_counts(batch_size=batch_size, face_size=face_size)
    # crop_and_resize does not anti-alias, so that canvases are brought to the faces'
    # resolution first.
    side = round(face_size / face_region)
    sets = {}
    for name, canvases in canvases_by_identity.items():
        canvases = _checked_canvases(canvases, 2)
        if canvases.shape[1] > side:
            canvases = np.stack(
                [
                    cv2.resize(c, (side, side), None, 0, 0, cv2.INTER_AREA)
                    for c in canvases
                ]
            )
        with tf.device("CPU"):
            sets[name] = tf.constant(canvases)

    def face(canvases, position, stream):
        index = _shuffled(position, canvases.shape[0], seed + stream)
        draws = _uniform([4], seed + stream, position, _ZOOM)
        size = canvases.shape[1]
        region = face_region * size
        length = region * (0.95 + 0.1 * draws[0])
        corner = (size - length) / 2 + region * 0.05 * (2 * draws[1:3] - 1)
        # crop_and_resize takes the centres of the first and the last pixel, in units
        # of size - 1, and mirrors a box whose ends are exchanged.
        step = length / face_size
        low = (corner + step / 2 - 0.5) / (size - 1)
        high = (corner + length - step / 2 - 0.5) / (size - 1)
        box = tf.clip_by_value(tf.stack([low[0], low[1], high[0], high[1]]), 0.0, 1.0)
        box = tf.where(draws[3] < 0.5, tf.gather(box, [0, 3, 2, 1]), box)
        cropped = tf.image.crop_and_resize(
            canvases[index][None], box[None], [0], [face_size, face_size]
        )
        return cropped[0] / 255.0

    def load(position):
        return {
            name: face(canvases, position, stream)
            for stream, (name, canvases) in enumerate(sets.items())
        }

    return (
        _positions(batch_size, skip_batches, shard_count, shard_index)
        .map(load, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def _dataset(
    source: Source,
    count: int,
    image_size: int,
    batch_size: int,
    *,
    training: bool,
    seed: int = 0,
    skip_batches: int = 0,
    message_bits: int = 0,
    shard_count: int = 1,
    shard_index: int = 0,
) -> tf.data.Dataset:
    """The one path behind the public datasets; see `canvas_dataset`."""
    _check_counts(batch_size=batch_size, image_size=image_size, shard_count=shard_count)
    if skip_batches < 0 or message_bits < 0:
        raise ValueError(
            "skip_batches and message_bits must not be negative. "
            f"Received: {skip_batches!r} and {message_bits!r}."
        )

    def load(position):
        index = _shuffled(position, count, seed) if training else position
        return position, source(index)

    def finish(position, example):
        canvas = example.pop("canvas")
        slack = canvas.shape[0] - image_size
        top = left = slack // 2
        if training and slack:
            draw = _uniform([2], seed, position, _CROP)
            corner = tf.cast(draw * (slack + 1), tf.int32)
            top, left = corner[0], corner[1]
        canvas = tf.slice(canvas, [top, left, 0], [image_size, image_size, 3])
        if training:
            flip = _uniform([], seed, position, _FLIP) < 0.5
            canvas = tf.where(flip, canvas[:, ::-1], canvas)
        example["cover"] = tf.cast(canvas, tf.float32) / 255.0
        if message_bits:
            draw = _uniform([message_bits], seed, position, _MESSAGE)
            example["message"] = tf.cast(draw < 0.5, tf.float32)
        return example

    positions = _positions(batch_size, skip_batches, shard_count, shard_index)
    if not training:
        positions = positions.take_while(lambda position: position < count)
    data = positions.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    if not training:
        data = data.filter(lambda _, example: example["index"] >= 0)
    return (
        data.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=training)
        .prefetch(tf.data.AUTOTUNE)
    )


def _positions(
    batch_size: int, skip_batches: int, shard_count: int, shard_index: int
) -> tf.data.Dataset:
    """Endless positions of one shard: its block of each batch of all shards."""
    if not 0 <= shard_index < shard_count:
        raise ValueError(
            f"shard_index must be from 0 to {shard_count - 1}. "
            f"Received: {shard_index!r}."
        )
    counter = tf.data.Dataset.counter(start=skip_batches * batch_size)
    if shard_count == 1:
        return counter
    return counter.map(
        lambda p: (
            (p // batch_size * shard_count + shard_index) * batch_size + p % batch_size
        )
    )


def _shuffled(position: tf.Tensor, count: int, seed: int) -> tf.Tensor:
    """Index of an endless position: every epoch of `count` is another permutation."""
    position = tf.cast(position, tf.int64)
    epoch = position // count
    key = tf.stack([tf.constant(seed, tf.int64), epoch])
    return tf.random.experimental.index_shuffle(
        position % count, key, tf.constant(count - 1, tf.int64)
    )


def _uniform(shape, seed: int, position: tf.Tensor, stream: int) -> tf.Tensor:
    """Uniform float32 numbers in [0, 1) that depend on the arguments alone."""
    position = tf.cast(position, tf.int64)
    key = tf.stack([tf.constant(seed * 8 + stream, tf.int64), position])
    # Philox by name: the default algorithm depends on the device.
    return tf.random.stateless_uniform(shape, key, alg="philox")


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer. Received: {value!r}.")


def _checked_canvases(canvases: np.ndarray, image_size: int) -> np.ndarray:
    canvases = np.asarray(canvases)
    if (
        canvases.dtype != np.uint8
        or canvases.ndim != 4
        or not len(canvases)
        or canvases.shape[1] != canvases.shape[2]
        or canvases.shape[1] < image_size
        or canvases.shape[3] != 3
    ):
        raise ValueError(
            "canvases must be uint8 of shape [N, S, S, 3] with N > 0 and "
            f"S >= {image_size}. Received: {canvases.dtype} of shape {canvases.shape}."
        )
    return canvases


def _open_cache(
    folder: str, photos: PhotoSet, size: int, canvas_scale: float, outside: str
) -> np.memmap:
    """Opens [N, 1 + S' * S' * 3] uint8: a flag and the canvas, in a file of its own.

    Its name is a hash of all that the canvases depend on, so that a changed photo or
    setting never meets an old cache.
    """
    digest = hashlib.sha256(repr((size, canvas_scale, outside)).encode())
    for photo in photos:
        try:
            state = os.stat(photo.path)
            stamp = (state.st_size, state.st_mtime_ns)
        except OSError:
            stamp = None
        place = photo.landmarks or photo.box
        digest.update(repr((os.path.abspath(photo.path), place, stamp)).encode())
    path = os.path.join(folder, f"canvases-{digest.hexdigest()[:16]}.u8")
    shape = (len(photos), 1 + size * size * 3)
    try:
        os.makedirs(folder, exist_ok=True)
        # Opened without truncation: several workers may share the file.
        with open(path, "ab") as file:
            file.truncate(shape[0] * shape[1])
        return np.memmap(path, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise ValueError(
            f"Cannot write the cache {path!r}: {error.strerror or error}."
        ) from None


def _record_spans(path: str) -> np.ndarray:
    """Returns [N, 2] int64: start and length of each record's data in a TFRecord file.

    A record is its length (uint64), that number's checksum (uint32), the data, and
    the data's checksum (uint32), little-endian.
    """
    spans = []
    try:
        end = os.path.getsize(path)
        with open(path, "rb") as file:
            start = 0
            while start < end:
                file.seek(start)
                header = file.read(12)
                length = (
                    struct.unpack("<Q", header[:8])[0] if len(header) == 12 else end
                )
                if start + 16 + length > end:
                    raise ValueError(
                        f"The TFRecord file {path!r} is truncated or damaged at byte "
                        f"{start} of {end}."
                    )
                spans.append((start + 12, length))
                start += 16 + length
    except OSError as error:
        raise ValueError(
            f"Cannot read the TFRecord file {path!r}: {error.strerror or error}."
        ) from None
    return np.array(spans, np.int64).reshape(-1, 2)
