"""Writes the face detector's networks as TFLite files.

    python -m export.faces --output=faketagger_tf/weights/faces

The networks are those of the package `mtcnn` (MIT licence), which must be installed;
its weights lie inside. The folder gets `pnet.tflite`, `rnet.tflite` and `onet.tflite`,
float32 with built-in operations only and every shape fixed; `faces.json`, the
constants of the cascade for readers in other languages; and `LICENSE-mtcnn`. A file
whose outputs differ from Keras's is not written. docs/faces.md describes the files.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.resources
import json
import pathlib
import tempfile

import numpy as np
from absl import flags

from faketagger_tf.command import require_flag, run_main
from faketagger_tf.files import write_atomic
from faketagger_tf.photos import faces

FLAGS = flags.FLAGS

# Of outputs below 2 in size; other orders of summation stay below 1e-5.
TOLERANCE = 1e-4


def load_keras_networks() -> dict:
    """Returns the package's networks, weights loaded, by their names.

    Raises:
        ValueError: the package `mtcnn` is not installed.
    """
    try:
        import joblib
        from mtcnn.network.onet import ONet
        from mtcnn.network.pnet import PNet
        from mtcnn.network.rnet import RNet
    except ImportError:
        raise ValueError(
            "Exporting the face networks needs the package mtcnn: "
            "python -m pip install mtcnn."
        ) from None
    networks = {"pnet": PNet(), "rnet": RNet(), "onet": ONet()}
    for name, network in networks.items():
        network.build()
        weights = importlib.resources.files("mtcnn") / f"assets/weights/{name}.lz4"
        network.set_weights(joblib.load(str(weights)))
    return networks


def signatures(name: str) -> dict[str, int]:
    """Returns a file's signatures with the side of the square that each takes."""
    if name == "pnet":
        return {f"propose_{side}": side for side in faces.SIDES}
    return {"refine": 24} if name == "rnet" else {"locate": 48}


def named_outputs(name: str, network, image) -> dict:
    """Calls a Keras network; outputs as the files name and shape them."""
    import tensorflow as tf

    box, *landmarks, probability = network(image)
    outputs = {"box": box, "probability": probability[..., 1]}
    if landmarks:
        # Five x, then five y.
        points = tf.reshape(landmarks[0], [-1, 2, 5])
        outputs["landmarks"] = tf.transpose(points, [0, 2, 1])
    return outputs


def convert(name: str, network) -> bytes:
    """Converts a network, a signature for each size of input.

    Raises:
        RuntimeError: the file's outputs are not those of Keras.
    """
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(network)
    function = functools.partial(named_outputs, name, network)
    for signature, side in signatures(name).items():
        image = tf.TensorSpec([1, side, side, 3], tf.float32, name="image")
        archive.add_endpoint(signature, lambda image: function(image), [image])
    with tempfile.TemporaryDirectory() as folder:
        # Through a SavedModel, as `export.tflite` does: other routes lose the weights.
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(signatures(name))
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        content = bytes(converter.convert())
    difference = largest_difference(name, network, content)
    if not difference < TOLERANCE:
        raise RuntimeError(
            f"The outputs of {name}.tflite differ from Keras's by {difference:.2g}."
        )
    return content


def largest_difference(name: str, network, content: bytes) -> float:
    """Compares a file with its network, on noise, over all outputs and signatures."""
    rng = np.random.default_rng(0)
    interpreter = faces.load_interpreter(model_content=content)
    differences = []
    for signature, side in signatures(name).items():
        image = rng.uniform(-1, 1, [1, side, side, 3]).astype(np.float32)
        ours = interpreter.get_signature_runner(signature)(image=image)
        theirs = named_outputs(name, network, image)
        differences += [np.abs(ours[key] - theirs[key]).max() for key in theirs]
    return float(np.max(differences))


def constants() -> dict:
    """Returns what a reader in another language needs besides the files."""
    return {
        "detection_size": faces.DETECTION_SIZE,
        "cell": faces.CELL,
        "stride": faces.STRIDE,
        "pyramid": faces.PYRAMID,
        "sides": faces.SIDES,
        "fine_levels": faces.FINE_LEVELS,
        "large_face": faces.LARGE_FACE,
        "thresholds": faces.THRESHOLDS,
        "overlaps": faces.OVERLAPS,
        "max_proposals": faces.MAX_PROPOSALS,
        "jitter": faces.JITTER,
        "tilts": faces.TILTS,
        "upright_weight": faces.UPRIGHT_WEIGHT,
        "largest_rest": faces.LARGEST_REST,
        "mirrored": faces.MIRRORED,
    }


def licence() -> str:
    """Returns the notice that goes with the weights.

    Raises:
        ValueError: the package does not bring it along.
    """
    distribution = importlib.metadata.distribution("mtcnn")
    for path in distribution.files or []:
        if path.name == "LICENSE":
            version = distribution.version
            return (
                "pnet.tflite, rnet.tflite and onet.tflite are converted from the "
                f"weights of the Python\npackage mtcnn {version}:\n\n"
                + path.locate().read_text("utf-8")
            )
    raise ValueError("The installed package mtcnn has no file LICENSE.")


def main(argv: list[str]) -> int:
    """Runs the command; see the module's docstring."""
    del argv
    output = pathlib.Path(require_flag("output"))
    contents = {
        f"{name}.tflite": convert(name, network)
        for name, network in load_keras_networks().items()
    }
    contents["faces.json"] = json.dumps(constants(), indent=2) + "\n"
    contents["LICENSE-mtcnn"] = licence()
    for name, content in contents.items():
        write_atomic(output / name, content)
        print(f"Wrote {output / name} ({len(content) / 1024:.0f} KiB)")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "Folder to write to; files are replaced.")
    run_main(main)
