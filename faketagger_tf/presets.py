"""Models on disk: a folder with a JSON configuration beside its weights.

Importing this module does not import TensorFlow. What returns Keras models needs it, or
another backend of Keras that the environment names, and says so in one sentence where
it is not installed.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from faketagger_tf import DEFAULT_PRESET as DEFAULT_PRESET
from faketagger_tf.config import (
    TaggerConfig,
    read_json_dataclass,
    write_json_dataclass,
)
from faketagger_tf.files import write_atomic
from faketagger_tf.messages.presence import Presence

if TYPE_CHECKING:
    import keras

    from faketagger_tf.manipulations import Swap
    from faketagger_tf.models import FaceswapConfig, LatentConfig

CONFIG = "config.json"
PRESENCE = "presence.json"
REGISTERED = "registered.json"
FACESWAP_CONFIG = "faceswap.json"
LATENT_CONFIG = "latent.json"
PRESETS = pathlib.Path(__file__).parent / "weights"
SWAPS = PRESETS / "swaps"
LATENTS = PRESETS / "latents"


def list_presets() -> list[str]:
    """Returns the names of the shipped taggers."""
    return _list_folders(PRESETS, CONFIG)


def tagger_folder(name: str | os.PathLike) -> pathlib.Path:
    """Returns the folder of a shipped preset, or `name` itself as a folder."""
    return _folder_of(name, PRESETS, list_presets())


def _list_folders(root: pathlib.Path, config: str) -> list[str]:
    """Names of the folders in `root` that hold a configuration of that name."""
    return sorted(path.parent.name for path in root.glob(f"*/{config}"))


def _folder_of(
    name: str | os.PathLike, root: pathlib.Path, shipped: list[str]
) -> pathlib.Path:
    """The folder in `root` of what is shipped, or `name` itself as a folder."""
    name = os.fspath(name)
    return root / name if name in shipped else pathlib.Path(name)


def _save_model(folder: str | os.PathLike, name: str, config, model) -> None:
    """Writes a configuration, such as latent.json, beside latent.weights.h5."""
    path = pathlib.Path(folder) / name
    write_atomic(path.with_suffix(".weights.h5"), model.save_weights)
    write_atomic(path, config.to_json())


def has_tensorflow() -> bool:
    """Whether TensorFlow and Keras are installed; imports neither."""
    try:
        return all(importlib.util.find_spec(name) for name in ("tensorflow", "keras"))
    except ImportError:
        return False


def require_tensorflow(what: str) -> None:
    """Imports TensorFlow and Keras, or raises a ValueError that names the remedy.

    Args:
        what: the sentence's subject, such as "Refining a tag".
    """
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"{what} needs TensorFlow and Keras. Received: no module "
            f'{error.name!r}. Accepted: after pip install "faketagger-tf[train]".'
        ) from None


def _require_keras(what: str) -> None:
    """`require_tensorflow` for what any of Keras' backends can do, such as JAX."""
    try:
        import keras  # noqa: F401  Imports its backend, TensorFlow unless told.
    except ImportError:
        require_tensorflow(what)
        raise


def save_tagger(
    folder: str | os.PathLike,
    config: TaggerConfig,
    encoder: keras.Model,
    decoder: keras.Model,
) -> None:
    """Writes `config.json`, `encoder.weights.h5` and `decoder.weights.h5`."""
    folder = pathlib.Path(folder)
    write_atomic(folder / "encoder.weights.h5", encoder.save_weights)
    write_atomic(folder / "decoder.weights.h5", decoder.save_weights)
    write_atomic(folder / CONFIG, config.to_json())


def load_config(name: str | os.PathLike) -> TaggerConfig:
    """Loads a tagger's configuration.

    Args:
        name: a shipped preset's name, or a folder written by `save_tagger`.

    Raises:
        ValueError: there is no such preset or folder, or its configuration is damaged
            or of a later release.
    """
    folder = tagger_folder(name)
    if not (folder / CONFIG).is_file():
        raise ValueError(
            f"There is no tagger {os.fspath(name)!r}. Accepted: a folder with a "
            f"{CONFIG}, or a preset ({', '.join(list_presets()) or 'none shipped'})."
        )
    return TaggerConfig.load(folder / CONFIG)


def load_presence(name: str | os.PathLike, file: str = PRESENCE) -> Presence | None:
    """Loads the calibration of a preset or a tagger's folder; None if it has none.

    Args:
        name: a shipped preset's name, or a folder.
        file: `PRESENCE` of blind readings, or `REGISTERED` of registered ones.

    Raises:
        ValueError: the file is damaged.
    """
    path = tagger_folder(name) / file
    return read_json_dataclass(Presence, path) if path.is_file() else None


def save_presence(
    folder: str | os.PathLike, presence: Presence, file: str = PRESENCE
) -> None:
    """Writes a calibration beside a tagger's weights; `file` as for `load_presence`."""
    write_atomic(pathlib.Path(folder) / file, write_json_dataclass(presence))


def load_tagger(
    name: str | os.PathLike,
) -> tuple[TaggerConfig, keras.Model, keras.Model]:
    """Loads a tagger as Keras models.

    Args:
        name: a shipped preset's name, or a folder written by `save_tagger`.

    Returns:
        Configuration, encoder, decoder.

    Raises:
        ValueError: there is no such preset or folder, its weights are damaged or do
            not fit its configuration, or TensorFlow is not installed.
    """
    config = load_config(name)
    _require_keras("Loading a tagger's Keras models")
    from faketagger_tf.models import build_encoder

    encoder = build_encoder(config)
    load_weights(encoder, tagger_folder(name) / "encoder.weights.h5")
    return config, encoder, load_decoder(name, config)


def load_decoder(name: str | os.PathLike, config: TaggerConfig) -> keras.Model:
    """Loads a tagger's decoder alone; arguments and errors as for `load_tagger`."""
    _require_keras("Loading a decoder's Keras model")
    from faketagger_tf.models import build_decoder

    decoder = build_decoder(config)
    load_weights(decoder, tagger_folder(name) / "decoder.weights.h5")
    return decoder


def load_preset(name: str) -> tuple[TaggerConfig, keras.Model, keras.Model]:
    """Loads a shipped preset: configuration, encoder, decoder.

    Raises:
        ValueError: there is no preset of that name.
    """
    if name not in list_presets():
        raise ValueError(
            f"There is no preset {name!r}. "
            f"Accepted: {', '.join(list_presets()) or 'none shipped'}."
        )
    return load_tagger(name)


def save_faceswap(
    folder: str | os.PathLike, config: FaceswapConfig, model: keras.Model
) -> None:
    """Writes `faceswap.json` and `faceswap.weights.h5`."""
    _save_model(folder, FACESWAP_CONFIG, config, model)


def list_swaps() -> list[str]:
    """Returns the names of the shipped face-swap models."""
    return _list_folders(SWAPS, FACESWAP_CONFIG)


def faceswap_folder(name: str | os.PathLike) -> pathlib.Path:
    """Returns the folder of a shipped face-swap model, or `name` itself as a folder."""
    return _folder_of(name, SWAPS, list_swaps())


def load_faceswap(name: str | os.PathLike) -> tuple[FaceswapConfig, keras.Model]:
    """Loads a face-swap autoencoder.

    Args:
        name: a shipped model's name, or a folder written by `save_faceswap`.

    Raises:
        ValueError: there is no such model, or its weights are damaged or do not fit
            its configuration.
    """
    folder = faceswap_folder(name)
    if not (folder / FACESWAP_CONFIG).is_file():
        raise ValueError(
            f"There is no face-swap model {os.fspath(name)!r}. Accepted: a folder with "
            f"a {FACESWAP_CONFIG}, as trainers.faceswap writes it, or a shipped model "
            f"({', '.join(list_swaps()) or 'none shipped'})."
        )
    _require_keras("A face-swap model")
    from faketagger_tf.models import FaceswapConfig, build_faceswap

    config = FaceswapConfig.load(folder / FACESWAP_CONFIG)
    model = build_faceswap(config)
    load_weights(model, folder / "faceswap.weights.h5")
    return config, model


def save_latent(
    folder: str | os.PathLike, config: LatentConfig, model: keras.Model
) -> None:
    """Writes `latent.json` and `latent.weights.h5`."""
    _save_model(folder, LATENT_CONFIG, config, model)


def list_latents() -> list[str]:
    """Returns the names of the shipped latent autoencoders."""
    return _list_folders(LATENTS, LATENT_CONFIG)


def latent_folder(name: str | os.PathLike) -> pathlib.Path:
    """Returns the folder of a shipped latent model, or `name` itself as a folder."""
    return _folder_of(name, LATENTS, list_latents())


def load_latent(name: str | os.PathLike) -> tuple[LatentConfig, keras.Model]:
    """Loads a latent autoencoder.

    Args:
        name: a shipped model's name, or a folder written by `save_latent`.

    Raises:
        ValueError: there is no such model, or its weights are damaged or do not fit
            its configuration.
    """
    folder = latent_folder(name)
    if not (folder / LATENT_CONFIG).is_file():
        raise ValueError(
            f"There is no latent model {os.fspath(name)!r}. Accepted: a folder with a "
            f"{LATENT_CONFIG}, as trainers.latent writes it, or a shipped model "
            f"({', '.join(list_latents()) or 'none shipped'})."
        )
    _require_keras("A latent model")
    from faketagger_tf.models import LatentConfig, build_latent

    config = LatentConfig.load(folder / LATENT_CONFIG)
    model = build_latent(config)
    load_weights(model, folder / "latent.weights.h5")
    return config, model


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Loads weights into a model, with one sentence about what went wrong if so."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"The weights file {str(path)!r} is missing.")
    try:
        model.load_weights(str(path))
    except Exception as error:
        # h5py and Keras raise many types for a damaged or mismatched file.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "unknown"
        raise ValueError(
            f"The weights {str(path)!r} are damaged or do not fit the configuration "
            f"beside them: {reason}"
        ) from None


def load_swaps(models: list[str]) -> dict[str, Swap]:
    """Loads the face swaps that a chain may name.

    Args:
        models: each "folder", whose swaps are called "A>B"; "name=folder", whose
            swaps are called "name:A>B"; or a shipped model's name, which is its
            swaps' prefix too.

    Returns:
        Name -> swap, for every ordered pair of each model's identities.

    Raises:
        ValueError: two models without a name, a name twice, or a bad folder.
    """
    _require_keras("A face-swap model")
    from faketagger_tf.manipulations import Swap
    from faketagger_tf.models import swap_function

    swaps: dict[str, Swap] = {}
    for model in models:
        prefix, _, folder = model.rpartition("=")
        if folder in list_swaps():
            prefix = prefix or folder
        config, network = load_faceswap(folder)
        for source in config.identities:
            for target in config.identities:
                if source == target:
                    continue
                name = f"{prefix}:{source}>{target}" if prefix else f"{source}>{target}"
                if name in swaps:
                    raise ValueError(
                        f"Two face-swap models offer {name!r}; give each a name of "
                        f"its own as in --swap_model=name=folder. Received: {model!r}."
                    )
                swaps[name] = Swap(
                    swap_function(network, target), config.face_size, config.face_region
                )
    return swaps


def load_latents(models: list[str]) -> dict[str, Callable]:
    """Loads the latent models that a chain's `edit` and `regenerate` may name.

    Args:
        models: each a shipped model's name, a folder, or "name=folder".

    Returns:
        Name -> function (images float32 `[B, S, S, 3]`, noise, seed) -> images, as
        `Context.latents` takes them. A folder's own name is its model's.

    Raises:
        ValueError: a name twice, or a bad folder.
    """
    latents: dict[str, Callable] = {}
    for model in models:
        name, _, folder = model.rpartition("=")
        name = name or pathlib.Path(folder).name
        if name in latents:
            raise ValueError(
                f"Two latent models are called {name!r}; give each a name of its own "
                f"as in name=folder. Received: {model!r}."
            )
        _, network = load_latent(folder)
        latents[name] = _regenerator(network)
    return latents


def _regenerator(network: keras.Model) -> Callable:
    from faketagger_tf.models import regenerate

    return lambda images, noise, seed: regenerate(network, images, noise, seed)
