"""The shipped face networks are those of the package `mtcnn`."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.tools import flatbuffer_utils

from export import faces as export
from faketagger_tf.photos import faces

NAMES = ("pnet", "rnet", "onet")


def shipped(name):
    return (faces.FOLDER / f"{name}.tflite").read_bytes()


@pytest.fixture(scope="module")
def networks():
    pytest.importorskip("mtcnn")
    return export.load_keras_networks()


@pytest.mark.parametrize("name", NAMES)
def test_shipped_files_agree_with_keras(networks, name):
    network, content = networks[name], shipped(name)
    # Convolutions summed in another order differ by some 1e-6 on outputs of about 1.
    assert export.largest_difference(name, network, content) < export.TOLERANCE
    interpreter = Interpreter(model_content=content)
    signature, side = next(iter(export.signatures(name).items()))
    # A face in the middle of the frame.
    crop = skimage.data.astronaut()[60:156, 176:272].astype(np.float32)
    step = 96 // side if side <= 48 else 1
    image = np.zeros([1, side, side, 3], np.float32)
    crop = (crop[::step, ::step] - 127.5) / 128
    image[0, : len(crop), : len(crop)] = crop
    ours = interpreter.get_signature_runner(signature)(image=image)
    theirs = export.named_outputs(name, network, image)
    assert set(ours) == set(theirs)
    for key in ours:
        np.testing.assert_allclose(ours[key], theirs[key], atol=export.TOLERANCE)
    assert ours["probability"].max() > 0.9


def test_a_file_of_other_weights_is_noticed(networks):
    network = export.load_keras_networks()["rnet"]
    network.fc4.kernel.assign(network.fc4.kernel * 1.01)
    difference = export.largest_difference("rnet", network, shipped("rnet"))
    assert difference > export.TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_files_suit_every_runtime(name):
    content = shipped(name)
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    assert not any(code.customCode for code in model.operatorCodes)
    interpreter = Interpreter(model_content=content)
    signatures = interpreter.get_signature_list()
    assert set(signatures) == set(export.signatures(name))
    for signature, side in export.signatures(name).items():
        runner = interpreter.get_signature_runner(signature)
        # LiteRT.js takes no free size, nor a free batch.
        (image,) = runner.get_input_details().values()
        assert image["shape_signature"].tolist() == [1, side, side, 3]
        for output in runner.get_output_details().values():
            assert (output["shape_signature"] > 0).all()
            assert output["dtype"] is np.float32


def test_constants_are_those_of_the_detector():
    written = json.loads((faces.FOLDER / "faces.json").read_text())
    assert written == json.loads(json.dumps(export.constants()))


def test_the_licence_is_kept():
    text = (faces.FOLDER / "LICENSE-mtcnn").read_text("utf-8")
    assert "MIT License" in text and "The above copyright notice" in text


def test_command(networks, tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "export.faces", f"--output={tmp_path / 'made'}"],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(export.__file__).parents[1],
    )
    assert run.returncode == 0, run.stderr
    names = {path.name for path in (tmp_path / "made").iterdir()}
    assert names == {path.name for path in faces.FOLDER.iterdir()}
    content = (tmp_path / "made" / "onet.tflite").read_bytes()
    assert export.largest_difference("onet", networks["onet"], content) < 1e-4
