"""Training input: sets of photos, canvases, TFRecords, tf.data pipelines.

Importing this package does not import TensorFlow; the pipelines' names do on first use.
"""

import importlib

_LAZY = {
    "Photo": "photos",
    "PhotoSet": "photos",
    "find_landmarks": "landmarks",
    "find_photos": "photos",
    "group_people": "photos",
    "load_canvases": "photos",
    "padded_size": "photos",
    "read_covers": "covers",
    "read_canvas": "photos",
    "canvas_dataset": "pipeline",
    "paired_faces_dataset": "pipeline",
    "photo_dataset": "pipeline",
    "tfrecord_dataset": "pipeline",
    "write_covers": "covers",
    "write_tfrecords": "tfrecord",
}

__all__ = [*_LAZY]


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
