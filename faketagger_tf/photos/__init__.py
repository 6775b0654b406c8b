"""Files and pixels: photo files, codecs, the canvas's geometry, faces. No TensorFlow.

`photos.faces` alone runs networks, the face detector's.
"""

from faketagger_tf.photos.canvas import (
    LANDMARKS,
    canvas_square,
    crop_canvas,
    similarity_from_landmarks,
    square_matrix,
    warp_canvas,
)
from faketagger_tf.photos.codec import (
    EXTENSIONS,
    decode_photo,
    encode_image,
    list_photos,
    read_photo,
    write_image,
)

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
]
