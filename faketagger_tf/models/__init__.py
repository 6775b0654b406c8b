"""Keras functional models: the tagger's two, and face-swap and latent autoencoders."""

from faketagger_tf.models.decoder import build_decoder
from faketagger_tf.models.discriminator import build_discriminator, judged_as
from faketagger_tf.models.encoder import build_encoder, encoder_inputs
from faketagger_tf.models.faceswap import (
    FaceswapConfig,
    build_faceswap,
    render,
    swap_function,
)
from faketagger_tf.models.informed import build_informed_encoder
from faketagger_tf.models.latent import (
    LatentConfig,
    build_latent,
    regenerate,
    regenerate_photo,
    start_from_patches,
)

__all__ = [
    "FaceswapConfig",
    "LatentConfig",
    "build_decoder",
    "build_discriminator",
    "build_encoder",
    "build_faceswap",
    "build_informed_encoder",
    "build_latent",
    "encoder_inputs",
    "judged_as",
    "regenerate",
    "regenerate_photo",
    "render",
    "start_from_patches",
    "swap_function",
]
