"""Keras functional models: image encoder, image decoder, face-swap autoencoders."""

from faketagger_tf.models.decoder import build_decoder
from faketagger_tf.models.encoder import build_encoder, encoder_inputs
from faketagger_tf.models.faceswap import (
    FaceswapConfig,
    build_faceswap,
    render,
    swap_function,
)
from faketagger_tf.models.informed import build_informed_encoder

__all__ = [
    "FaceswapConfig",
    "build_decoder",
    "build_encoder",
    "build_faceswap",
    "build_informed_encoder",
    "encoder_inputs",
    "render",
    "swap_function",
]
