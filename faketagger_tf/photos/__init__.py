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
from faketagger_tf.photos.caption import captioned
from faketagger_tf.photos.codec import (
    EXTENSIONS,
    decode_photo,
    encode_image,
    list_photos,
    read_photo,
    write_image,
)
from faketagger_tf.photos.suspect import Suspect, decode_suspect, read_suspect

__all__ = [
    "EXTENSIONS",
    "LANDMARKS",
    "Suspect",
    "canvas_square",
    "captioned",
    "crop_canvas",
    "decode_photo",
    "decode_suspect",
    "encode_image",
    "list_photos",
    "read_photo",
    "read_suspect",
    "similarity_from_landmarks",
    "square_matrix",
    "warp_canvas",
    "write_image",
]
