"""A tagger's two networks as functions of arrays, under LiteRT or under Keras.

`lite_networks` runs the .tflite files of a preset and needs no TensorFlow;
`keras_networks` runs Keras models, for research and for what has just been trained.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import threading
from collections.abc import Callable

import numpy as np

from faketagger_tf.config import TaggerConfig
from faketagger_tf.litert import LiteModel

ENCODER, DECODER = "encoder.tflite", "decoder.tflite"
CHUNK = 16  # Canvases that Keras handles at once: bounds the memory of a search.


@dataclasses.dataclass(frozen=True)
class Networks:
    """Encoder and decoder. Safe to use from many threads.

    Attributes:
        config: the tagger's configuration, which says what the encoder is given.
        run_encoder: inputs by name, float32 `[N, ...]` -> residual float32
            `[N, S, S, 3]`.
        run_decoder: canvases float32 `[N, S, S, 3]` -> logits float32 `[N, L]`.
        keras_decoder: returns the decoder as a Keras model, for `refine.Refiner`;
            raises a ValueError where there is none.
    """

    config: TaggerConfig
    run_encoder: Callable[[dict[str, np.ndarray]], np.ndarray]
    run_decoder: Callable[[np.ndarray], np.ndarray]
    keras_decoder: Callable

    def encode(
        self,
        cover: np.ndarray,
        message: np.ndarray,
        strength: float | np.ndarray | None,
        scale: np.ndarray,
    ) -> np.ndarray:
        """Returns the residuals to be added to covers.

        Args:
            cover: float32 `[N, S, S, 3]` in [0, 1].
            message: code bits `[N, L]` of 0 and 1.
            strength: in dB, of the kind that the configuration names, one or `[N]`;
                None for one that is learned.
            scale: `[N]`, photo pixels per canvas pixel.

        Returns:
            float32 `[N, S, S, 3]`, 1.0 being full scale.
        """
        known = {"cover": cover, "message": message}
        if self.config.strength_input:
            column = np.reshape(strength, [-1, 1])
            known[self.config.strength_input] = np.broadcast_to(column, [len(cover), 1])
        if "scale" in self.config.encoder_inputs:
            known["scale"] = np.reshape(scale, [-1, 1])
        return self.run_encoder(
            {
                name: np.asarray(known[name], np.float32)
                for name in self.config.encoder_inputs
            }
        )

    def decode(self, canvases: np.ndarray) -> np.ndarray:
        """Returns the logits `[N, L]` of canvases, float32 `[N, S, S, 3]` in [0, 1]."""
        return self.run_decoder(np.asarray(canvases, np.float32))


def has_lite(folder: str | os.PathLike) -> bool:
    """Whether a folder holds both networks as .tflite files."""
    return all((pathlib.Path(folder) / name).is_file() for name in (ENCODER, DECODER))


def lite_decoder(path: str | os.PathLike, threads: int = 1) -> LiteModel:
    """Opens a decoder's .tflite file.

    Raises:
        ValueError: there is no such file, or it is no decoder.
    """
    if not pathlib.Path(path).is_file():
        raise ValueError(f"There is no decoder file {os.fspath(path)!r}.")
    model = LiteModel(path, threads)
    if model.signature != "decode":
        kind = "an encoder" if model.signature == "tag" else "no decoder of ours"
        raise ValueError(
            f"{os.fspath(path)!r} is {kind}. Received: the signature "
            f"{model.signature!r}. Accepted: a file written by export.tflite "
            "--model=decoder."
        )
    return model


def lite_networks(
    config: TaggerConfig, folder: str | os.PathLike, keras_decoder: Callable
) -> Networks:
    """Opens the .tflite files of a preset; the encoder's on first use.

    Raises:
        ValueError: a file is missing or damaged, or does not fit the configuration.
    """
    folder = pathlib.Path(folder)
    decoder = lite_decoder(folder / DECODER)
    expected = {
        "inputs": {"image": _canvas(config)},
        "outputs": {"logits": (config.message_bits,)},
    }
    _check_shapes(folder / DECODER, decoder, expected)
    lock = threading.Lock()

    @functools.cache
    def open_encoder() -> LiteModel:
        model = LiteModel(folder / ENCODER)
        expected = {
            "inputs": _input_shapes(config),
            "outputs": {"residual": _canvas(config)},
        }
        _check_shapes(folder / ENCODER, model, expected)
        return model

    def run_encoder(inputs):
        with lock:  # The cache alone may open the file twice.
            model = open_encoder()
        return model(inputs)["residual"]

    return Networks(
        config,
        run_encoder,
        lambda canvases: decoder({"image": canvases})["logits"],
        keras_decoder,
    )


def _canvas(config: TaggerConfig) -> tuple[int, int, int]:
    return config.image_size, config.image_size, 3


def _input_shapes(config: TaggerConfig) -> dict[str, tuple[int, ...]]:
    sizes = {"cover": _canvas(config), "message": (config.message_bits,)}
    return {name: sizes.get(name, (1,)) for name in config.encoder_inputs}


def _check_shapes(path: pathlib.Path, model: LiteModel, expected: dict) -> None:
    received = {"inputs": model.inputs, "outputs": model.outputs}
    if received != expected:
        raise ValueError(
            f"The network {str(path)!r} does not fit the configuration beside it. "
            f"Received: {received}. Accepted: {expected}."
        )


def keras_networks(config: TaggerConfig, encoder, decoder) -> Networks:
    """Wraps Keras models.

    Args:
        config: the tagger's configuration.
        encoder: as `models.build_encoder` builds it.
        decoder: as `models.build_decoder` builds it.
    """
    import tensorflow as tf

    specs = {
        name: tf.TensorSpec([None, *shape], tf.float32, name)
        for name, shape in _input_shapes(config).items()
    }
    image = tf.TensorSpec([None, *_canvas(config)], tf.float32)
    encode = tf.function(
        lambda inputs: encoder(inputs, training=False), input_signature=[specs]
    )
    decode = tf.function(
        lambda image: decoder(image, training=False), input_signature=[image]
    )

    def run_encoder(inputs):
        count = len(inputs["cover"])
        parts = [
            encode(
                {
                    name: tf.constant(value[start : start + CHUNK])
                    for name, value in inputs.items()
                }
            ).numpy()
            for start in range(0, count, CHUNK)
        ]
        return np.concatenate(parts)

    def run_decoder(canvases):
        parts = [
            decode(canvases[start : start + CHUNK]).numpy()
            for start in range(0, max(len(canvases), 1), CHUNK)
        ]
        return np.concatenate(parts)

    return Networks(config, run_encoder, run_decoder, lambda: decoder)
