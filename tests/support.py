"""What many tests share: small shapes, taggers without training, other processes."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from faketagger_tf.config import TaggerConfig
from faketagger_tf.models.encoder import ScaleToPSNR
from faketagger_tf.tagging.networks import keras_networks
from faketagger_tf.tagging.tagger import Tagger

ROOT = pathlib.Path(__file__).parents[1]
# An interpreter whose environment has Keras and JAX: `make test-jax` makes one.
JAX_PYTHON = ROOT / ".venv-jax" / "bin" / "python"

# The smallest networks there are, for what does not depend on what they compute.
TINY = TaggerConfig(
    image_size=32,
    message_bits=8,
    payload_bits=4,
    crc_bits=0,
    encoder_width=8,
    decoder_width=8,
)
# A canvas on which a checksum fits, for exports.
SMALL = TaggerConfig(
    image_size=64,
    message_bits=16,
    payload_bits=8,
    crc_bits=3,
    encoder_width=8,
    decoder_width=16,
)
CORRELATION = TaggerConfig(psnr=32.0)  # Of `correlation_tagger`.
SPREAD = TaggerConfig(  # Of `spread_spectrum`.
    image_size=64, message_bits=16, payload_bits=8, crc_bits=3, psnr=28.0
)


def jax_python() -> str:
    """An interpreter with Keras and JAX; skips the test where there is none."""
    if JAX_PYTHON.is_file():
        return str(JAX_PYTHON)
    if importlib.util.find_spec("jax"):
        return sys.executable
    pytest.skip("JAX is not installed: `make test-jax` makes .venv-jax and runs this.")


def _patterns(config: TaggerConfig, seed: int = 1) -> np.ndarray:
    """Smoothed noise of unit length, [message_bits, S * S * 3]."""
    size = config.image_size
    noise = np.random.default_rng(seed).normal(
        size=(config.message_bits, size + 2, size + 2, 3)
    )
    noise = sum(
        noise[:, i : i + size, j : j + size] for i in range(3) for j in range(3)
    ).reshape(config.message_bits, -1)
    return noise / np.linalg.norm(noise, axis=1, keepdims=True)


def correlation_tagger(config: TaggerConfig = CORRELATION, **arguments) -> Tagger:
    """A `Tagger` without training: each bit adds or subtracts a fixed pattern.

    The decoder correlates the picture's fine detail with the patterns. It reads real
    photos after mild changes, which is what tests of everything around it need.
    `arguments` are those of `Tagger`.
    """
    size, weights = config.image_size, _patterns(config)
    cover = keras.Input((size, size, 3), name="cover")
    message = keras.Input((config.message_bits,), name="message")
    psnr = keras.Input((1,), name="psnr")
    signs = layers.Rescaling(2.0, offset=-1.0)(message)
    residual = layers.Dense(size * size * 3, use_bias=False, name="patterns")(signs)
    residual = layers.Reshape((size, size, 3))(residual)
    residual = ScaleToPSNR()([residual, psnr])
    inputs = {"cover": cover, "message": message, "psnr": psnr}
    encoder = keras.Model(inputs, residual)
    encoder.get_layer("patterns").set_weights([weights])

    image = keras.Input((size, size, 3), name="image")
    smooth = layers.AveragePooling2D(7, strides=1, padding="same")(image)
    detail = layers.Subtract()([image, smooth])
    # Limited, so that a strong edge does not outweigh the patterns.
    detail = layers.Lambda(lambda x: ops.tanh(30 * x))(detail)
    detail = layers.Flatten()(detail)
    logits = layers.Dense(config.message_bits, use_bias=False, name="correlate")(detail)
    decoder = keras.Model(image, logits)
    decoder.get_layer("correlate").set_weights([weights.T])
    return Tagger(config, keras_networks(config, encoder, decoder), **arguments)


def spread_spectrum(config=SPREAD, seed=0):
    """Encoder and decoder without training, which really embed and read bits.

    Every bit has a pseudo-random pattern of 4x4 blocks, each modulated to a frequency
    where photos are quiet. Same inputs and outputs as `models.build_encoder` and
    `models.build_decoder`.
    """
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


def run_module(module: str, *arguments) -> subprocess.CompletedProcess:
    """Runs `python -m module` with arguments, from the project's root."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return _run_at_root(command, TF_CPP_MIN_LOG_LEVEL="3")


def run_on_jax(*arguments) -> subprocess.CompletedProcess:
    """Runs `jax_python` with arguments, from the project's root."""
    return _run_at_root([jax_python(), *map(str, arguments)], KERAS_BACKEND="jax")


def _run_at_root(command: list[str], **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


# Packages that tagging and tracing do without.
TRAINING = ("tensorflow", "keras", "h5py", "mtcnn", "joblib", "tensorboard")
# Makes `import` of the named packages fail.
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def program(blocked: tuple[str, ...], text: str) -> str:
    """Returns a program's text, in front of it what keeps packages from it."""
    return BLOCKER.format(blocked=blocked) + text


def run_without(
    blocked: tuple[str, ...], text: str, *arguments
) -> subprocess.CompletedProcess:
    """Runs a program's text with arguments in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program(blocked, text), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
