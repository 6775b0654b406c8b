"""Photos in, canvases and batches out; drawn faces where there are no photos.

Importing this package does not import TensorFlow; the pipelines' names do on first use.
"""

import importlib

from faketagger_tf.data.canvas import (
    LANDMARKS,
    canvas_square,
    crop_canvas,
    similarity_from_landmarks,
    square_matrix,
    warp_canvas,
)
from faketagger_tf.data.images import (
    EXTENSIONS,
    decode_photo,
    encode_image,
    list_photos,
    read_photo,
    write_image,
)

_LAZY = {
    "Photo": "photos",
    "PhotoSet": "photos",
    "find_photos": "photos",
    "group_people": "photos",
    "load_canvases": "photos",
    "padded_size": "photos",
    "read_canvas": "photos",
    "canvas_dataset": "pipeline",
    "paired_faces_dataset": "pipeline",
    "photo_dataset": "pipeline",
    "tfrecord_dataset": "pipeline",
    "write_tfrecords": "tfrecord",
    "Identity": "drawn",
    "draw_canvases": "drawn",
    "draw_photo": "drawn",
    "identity_from_seed": "drawn",
    "write_drawn_folder": "drawn",
}

__all__ = [
    "EXTENSIONS",
    "LANDMARKS",
    "canvas_square",
    "crop_canvas",
    "decode_photo",
    "encode_image",
    "list_photos",
    "read_photo",
    "similarity_from_landmarks",
    "square_matrix",
    "warp_canvas",
    "write_image",
    *_LAZY,
]


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
