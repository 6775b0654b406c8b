"""Exports: what the file computes is what Keras computes."""

import json

import numpy as np
import pytest
import tensorflow as tf

from export.saved_model import export_saved_model
from export.tflite import convert_decoder, sidecar
from faketagger_tf import lite
from faketagger_tf.config import TaggerConfig
from faketagger_tf.data import write_image
from faketagger_tf.messages import MessageCode
from faketagger_tf.models import build_decoder, build_encoder

CONFIG = TaggerConfig(
    image_size=64,
    message_bits=16,
    payload_bits=8,
    crc_bits=3,
    encoder_width=8,
    decoder_width=16,
)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def models():
    encoder, decoder = build_encoder(CONFIG), build_decoder(CONFIG)
    # Statistics and scales as after training, so that folding them is put to the test.
    for model in (encoder, decoder):
        for layer in model.layers:
            if "normalization" in layer.name:
                width = layer.gamma.shape[0]
                layer.gamma.assign(RNG.uniform(0.5, 2, width))
                layer.beta.assign(RNG.normal(0, 0.5, width))
                layer.moving_mean.assign(RNG.normal(0, 0.5, width))
                layer.moving_variance.assign(RNG.uniform(0.5, 2, width))
    return encoder, decoder


@pytest.fixture(scope="module")
def decoder_file(models, tmp_path_factory):
    path = tmp_path_factory.mktemp("lite") / "decoder.tflite"
    content = convert_decoder(CONFIG, models[1])
    path.write_bytes(content)
    path.with_name("decoder.tflite.json").write_text(
        json.dumps(sidecar(CONFIG, content))
    )
    return path


@pytest.fixture(scope="module")
def images():
    return RNG.random((5, 64, 64, 3), np.float32)


def test_tflite_agrees_with_keras(models, decoder_file, images):
    expected = np.asarray(models[1](images, training=False))
    assert np.abs(expected).max() > 0.5
    read = lite.load_decoder(str(decoder_file))(images)
    np.testing.assert_allclose(read, expected, atol=1e-4)


def test_tflite_has_builtin_operations_and_its_weights(models, decoder_file):
    interpreter = tf.lite.Interpreter(model_path=str(decoder_file))
    operations = {op["op_name"] for op in interpreter._get_ops_details()}
    assert not [op for op in operations if "VAR_HANDLE" in op or "Flex" in op]
    assert decoder_file.stat().st_size > 4 * 0.9 * models[1].count_params()
    assert interpreter.get_input_details()[0]["shape"].tolist() == [1, 64, 64, 3]


def test_lite_reads_a_photo_from_disk(models, decoder_file, images, tmp_path):
    photo = np.rint(images[0] * 255).astype(np.uint8)
    path = tmp_path / "photo.png"
    write_image(path, photo)
    result = lite.read_files(str(decoder_file), [str(path), str(tmp_path / "no.png")])
    logits = models[1](photo[None] / np.float32(255), training=False)
    expected = MessageCode(8, 16, 3).decode(np.asarray(logits))
    assert result[str(path)].payloads == expected.payloads
    assert "no.png" in result[str(tmp_path / "no.png")]


def test_lite_names_what_is_wrong(decoder_file, tmp_path):
    with pytest.raises(ValueError, match="no decoder file"):
        lite.load_decoder(str(tmp_path / "absent.tflite"))
    (tmp_path / "bad.tflite").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="is no TFLite decoder"):
        lite.load_decoder(str(tmp_path / "bad.tflite"))
    assert lite.main([str(decoder_file)]) == 2


def test_saved_model_agrees_with_keras(models, images, tmp_path):
    encoder, decoder = models
    folder = tmp_path / "saved"
    export_saved_model(CONFIG, encoder, decoder, str(folder))
    loaded = tf.saved_model.load(str(folder)).signatures
    logits = loaded["serving_default"](image=tf.constant(images))["logits"]
    np.testing.assert_allclose(logits, decoder(images, training=False), atol=1e-5)
    message = RNG.integers(0, 2, (5, 16)).astype(np.float32)
    tagged = loaded["tag_canvas"](
        cover=tf.constant(images), message=tf.constant(message)
    )["tagged"]
    psnr = np.full((5, 1), CONFIG.psnr, np.float32)
    residual = encoder({"cover": images, "message": message, "psnr": psnr})
    np.testing.assert_allclose(tagged, np.clip(images + residual, 0, 1), atol=1e-5)


def test_saved_model_refuses_an_existing_output(models, tmp_path):
    with pytest.raises(ValueError, match="exists already"):
        export_saved_model(CONFIG, *models, str(tmp_path))
