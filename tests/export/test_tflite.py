"""TFLite exports: what the file computes is what Keras computes."""

import hashlib
import json
import pathlib
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import tensorflow as tf

from export import tflite
from faketagger_tf import lite
from faketagger_tf.messages import MessageCode


@pytest.fixture(scope="module")
def calibration(config, models):
    covers = np.random.default_rng(2).integers(0, 256, (16, 64, 64, 3), np.uint8)
    return tflite.calibration_canvases(config, models[0], covers)


@pytest.fixture(scope="module")
def convert(config, models, calibration, tmp_path_factory):
    """precision, batch -> path of the decoder's file."""
    folder = tmp_path_factory.mktemp("decoders")

    def converted(precision="float32", batch=1):
        path = folder / f"{precision}-{batch}.tflite"
        if not path.exists():
            content = tflite.convert_decoder(
                config, models[1], precision, batch, calibration
            )
            tflite.write_model(str(path), content)
        return path

    return converted


@pytest.mark.parametrize(
    ("precision", "batch", "tolerance"),
    [
        # In spreads of the logits: float32 sums in another order, on any processor.
        ("float32", 1, 1e-3),
        ("float32", 0, 1e-3),
        ("float16", 1, 0.02),
        ("dynamic", 1, 0.1),
        ("int8", 1, 0.3),
        ("int8", 0, 0.3),
    ],
)
def test_decoder_agrees_with_keras(
    models, convert, images, calibration, precision, batch, tolerance
):
    # Quantised ranges come from the calibration, so it is read on canvases like those.
    canvases = calibration[:8] if precision == "int8" else images
    expected = np.asarray(models[1](canvases, training=False))
    spread = expected.std()
    assert spread > 0.1
    read = lite.load_decoder(str(convert(precision, batch)))(canvases)
    np.testing.assert_allclose(read / spread, expected / spread, atol=tolerance)


@pytest.mark.parametrize("precision", tflite.PRECISIONS["decoder"])
def test_decoder_has_builtin_operations_and_its_weights(models, convert, precision):
    path = convert(precision)
    interpreter = tf.lite.Interpreter(model_path=str(path))
    operations = {op["op_name"] for op in interpreter._get_ops_details()}
    assert not [op for op in operations if "VAR_HANDLE" in op or "Flex" in op]
    per_weight = {"float32": 4, "float16": 2}.get(precision, 1)
    size = per_weight * models[1].count_params()
    assert 0.9 * size < path.stat().st_size < 1.2 * size + 30_000
    source, target = interpreter.get_input_details(), interpreter.get_output_details()
    assert [s["dtype"] for s in source + target] == [np.float32] * 2
    assert source[0]["shape"].tolist() == [1, 64, 64, 3]


def test_int8_really_computes_in_int8(convert):
    interpreter = tf.lite.Interpreter(model_path=str(convert("int8")))
    details = {t["index"]: t for t in interpreter.get_tensor_details()}
    convolutions = [
        op for op in interpreter._get_ops_details() if op["op_name"] == "CONV_2D"
    ]
    assert len(convolutions) == 7
    for op in convolutions:
        assert details[op["outputs"][0]]["dtype"] == np.int8


def test_signatures_and_resizable_batch(models, convert, images):
    interpreter = tf.lite.Interpreter(model_path=str(convert(batch=0)))
    assert interpreter.get_signature_list() == {
        "decode": {"inputs": ["image"], "outputs": ["logits"]}
    }
    assert interpreter.get_input_details()[0]["shape_signature"][0] == -1
    decode = lite.load_decoder(str(convert(batch=0)))
    expected = np.asarray(models[1](images, training=False))
    for count in (2, 5, 1, 0):
        # Logits of about 1; see test_decoder_agrees_with_keras.
        np.testing.assert_allclose(decode(images[:count]), expected[:count], atol=1e-3)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-4), ("float16", 3e-3)]
)
def test_encoder_agrees_with_keras(config, models, images, precision, tolerance):
    # In pixels: a fortieth of a grey level for sums in another order, on any processor.
    content = tflite.convert_encoder(config, models[0], precision)
    runner = tf.lite.Interpreter(model_content=content).get_signature_runner("tag")
    message = np.random.default_rng(3).integers(0, 2, (1, 16)).astype(np.float32)
    inputs = {
        "cover": images[:1],
        "message": message,
        "psnr": np.full((1, 1), 30, np.float32),
    }
    expected = np.asarray(models[0](inputs, training=False))
    assert expected.std() > 0.02
    np.testing.assert_allclose(runner(**inputs)["residual"], expected, atol=tolerance)


def test_calibration_holds_all_four_kinds(config, models):
    covers = np.full((8, 64, 64, 3), 128, np.uint8)
    covers += np.arange(8, dtype=np.uint8)[:, None, None, None]
    made = np.rint(tflite.calibration_canvases(config, models[0], covers) * 255)
    change = np.abs(made - covers).mean(axis=(1, 2, 3))
    assert not change[0::4].any()
    assert (change[1::4] > 1).all()
    assert (made[2::4] != made[1::4]).any()
    with pytest.raises(ValueError, match="at least two canvases"):
        tflite.calibration_canvases(config, models[0], covers[:1])


def test_description_inside_and_beside(config, convert):
    path = convert()
    about = lite.load_description(str(path))
    beside = json.loads(path.with_name(path.name + ".json").read_text())
    assert beside.pop("sha256") == hashlib.sha256(path.read_bytes()).hexdigest()
    assert beside == about
    assert about["inputs"] == [
        {
            "name": "image",
            "shape": [1, 64, 64, 3],
            "dtype": "float32",
            "range": [0.0, 1.0],
        }
    ]
    assert (about["signature"], about["image_size"]) == ("decode", 64)


def test_generator_rows_make_the_code_words(config, convert):
    about = lite.load_description(str(convert()))
    code = MessageCode(8, 16, 3)
    for payload in (0x00, 0x01, 0xA5, 0xFF):
        word = 0
        for bit, row in enumerate(about["payload_generator"]):
            if payload >> (7 - bit) & 1:
                word ^= int(row, 16)
        assert f"{word:016b}" == "".join(map(str, code.encode([payload])[0]))
    assert len(about["generator"]) == 8 + 3


def test_version_is_the_projects(config):
    project = pathlib.Path(tflite.__file__).parents[1] / "pyproject.toml"
    version = tomllib.loads(project.read_text())["project"]["version"]
    assert version
    assert tflite.description(config, "decoder")["version"] == version


def test_ideal_presence_without_a_calibration(config):
    about = tflite.description(config, "decoder")
    assert about["presence"] == {"threshold": 0.0, "rate": 1.0, "scale": 1.0}
    assert "presence" not in tflite.description(config, "encoder")


def test_outputs_are_checked_before_the_conversion(tmp_path):
    (tmp_path / "there.tflite").write_bytes(b"old")
    (tmp_path / "beside.tflite.json").write_bytes(b"old")
    (tmp_path / "folder.tflite").mkdir()
    for name, message in (
        ("there.tflite", "exists already"),
        ("beside.tflite", "exists already"),
        ("folder.tflite", "is a folder"),
        ("there.tflite/below/decoder.tflite", "Cannot write"),
    ):
        with pytest.raises(ValueError, match=message):
            tflite.check_output(str(tmp_path / name))
    with pytest.raises(ValueError, match="is a folder"):
        tflite.check_output(str(tmp_path / "folder.tflite"), overwrite=True)
    tflite.check_output(str(tmp_path / "new" / "decoder.tflite"))
    tflite.check_output(str(tmp_path / "there.tflite"), overwrite=True)
    assert not (tmp_path / "new").exists()
    # The command complains of the output before it even looks for the tagger.
    run = subprocess.run(
        [
            *(sys.executable, "-m", "export.tflite", "--tagger=absent"),
            f"--output={tmp_path / 'there.tflite'}",
        ],
        cwd=pathlib.Path(tflite.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 2
    assert "exists already" in run.stderr


def test_what_is_wrong_is_named(config, models, convert, tmp_path):
    with pytest.raises(ValueError, match="precision of the encoder must be one of"):
        tflite.convert_encoder(config, models[0], "int8")
    with pytest.raises(ValueError, match="must be calibrated"):
        tflite.convert_decoder(config, models[1], "int8")
    with pytest.raises(ValueError, match="batch must be positive"):
        tflite.convert_decoder(config, models[1], batch=-1)
    content, path = convert().read_bytes(), tmp_path / "decoder.tflite"
    tflite.write_model(str(path), content)
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="exists already"):
        tflite.write_model(str(path), content)
    assert path.read_bytes() == b"old"
    tflite.write_model(str(path), content, overwrite=True)
    assert path.read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        path.name,
        path.name + ".json",
    ]
