"""A tagger without training: spread spectrum, which really embeds and reads bits.

Every bit has a pseudo-random pattern of 4x4 blocks, each modulated to a frequency
where photos are quiet. Same inputs and outputs as `models.build_encoder` and
`models.build_decoder`.
"""

import keras
import numpy as np
from keras import layers

from faketagger_tf.config import TaggerConfig
from faketagger_tf.models.encoder import ScaleToPSNR

CONFIG = TaggerConfig(
    image_size=64, message_bits=16, payload_bits=8, crc_bits=3, psnr=28.0
)


def build(config=CONFIG, seed=0):
    """Returns (encoder, decoder)."""
    size, bits = config.image_size, config.message_bits
    rng = np.random.default_rng(seed)
    blocks = rng.choice([-1.0, 1.0], (bits, size // 4, size // 4, 1))
    carrier = np.kron(np.array([[1, -1], [-1, 1]]), np.ones((2, 2)))
    tiled = np.tile(carrier, (size // 4, size // 4))[None, :, :, None]
    patterns = np.repeat(np.repeat(blocks, 4, 1), 4, 2) * tiled * np.ones(3)
    flat = patterns.reshape(bits, -1).astype(np.float32)

    message = keras.Input((bits,), name="message")
    cover = keras.Input((size, size, 3), name="cover")
    psnr = keras.Input((1,), name="psnr")
    signs = layers.Rescaling(2.0, offset=-1.0)(message)
    spread = layers.Dense(flat.shape[1], use_bias=False)
    residual = layers.Reshape((size, size, 3))(spread(signs))
    # The cover is an input of every encoder, so that its name stays in the graph.
    residual = layers.Add()([residual, layers.Rescaling(0.0)(cover)])
    residual = ScaleToPSNR()([residual, psnr])
    encoder = keras.Model({"cover": cover, "message": message, "psnr": psnr}, residual)
    spread.set_weights([flat])

    image = keras.Input((size, size, 3), name="image")
    correlate = layers.Dense(bits, use_bias=False, name="logits")
    decoder = keras.Model(image, correlate(layers.Flatten()(image)))
    correlate.set_weights([flat.T * (50 / flat.shape[1])])
    return encoder, decoder
