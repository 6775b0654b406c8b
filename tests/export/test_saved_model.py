"""The SavedModel: what its signatures return is what the Python library returns."""

import json
import pathlib
import struct

import cv2
import numpy as np
import pytest
import tensorflow as tf

from export import graph, saved_model
from faketagger_tf.messages.presence import Presence
from faketagger_tf.photos import canvas_square, crop_canvas, decode_photo, encode_image
from faketagger_tf.tagging.networks import keras_networks
from faketagger_tf.tagging.tagger import Tagger


@pytest.fixture(scope="module")
def folder(config, models, tmp_path_factory):
    base = tmp_path_factory.mktemp("served") / "faketagger"
    return saved_model.export_saved_model(config, *models, str(base))


@pytest.fixture(scope="module")
def signatures(folder):
    return tf.saved_model.load(folder).signatures


def photo_of(height, width, seed=0):
    """Smooth and bright enough for JPEG, rich enough to notice a shift."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 12, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def with_orientation(jpeg: bytes, orientation: int, order: str) -> bytes:
    """Puts an EXIF block with another entry before the orientation into a JPEG."""
    entries = struct.pack(order + "HHHI4s", 2, 0x010F, 2, 4, b"ABC\0")
    entries += struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    mark = b"II" if order == "<" else b"MM"
    tiff = mark + struct.pack(order + "HI", 42, 8) + entries + bytes(4)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


# Logits are about 1 and pixels at most 1. Graphs, batches and processors sum a
# convolution's some hundred float32 products in different orders, which shows in the
# sixth digit and grows over ten layers; a fortieth of a grey level is far above that.
ROUNDING = 1e-4


def graph_photo(data: bytes) -> tf.Tensor:
    photos, valid = graph.decode_photos(tf.constant([data]))
    assert valid.numpy().all()
    return graph.open_photo(photos[0], tf.constant(data))


def python_canvas(data: bytes, size: int) -> np.ndarray:
    photo = decode_photo(data)
    square = canvas_square(photo.shape[1], photo.shape[0])
    return crop_canvas(photo, square, size)


def test_read_canvas_agrees_with_keras(signatures, models, images):
    expected = np.asarray(models[1](images, training=False))
    read = signatures["read_canvas"](image=tf.constant(images))
    np.testing.assert_allclose(read["logits"], expected, atol=ROUNDING)
    np.testing.assert_array_equal(read["bits"], read["logits"].numpy() > 0)
    np.testing.assert_allclose(
        read["probabilities"], 1 / (1 + np.exp(-expected)), atol=ROUNDING
    )
    assert read["valid"].numpy().all()
    whole = np.rint(images * 255).astype(np.uint8)
    read = signatures["read_canvas_uint8"](image=tf.constant(whole))["logits"]
    expected = models[1](whole / np.float32(255), training=False)
    np.testing.assert_allclose(read, expected, atol=ROUNDING)


def test_tag_canvas_agrees_with_keras(signatures, config, models, images):
    rng = np.random.default_rng(4)
    message = rng.integers(0, 2, (5, 16)).astype(np.float32)
    tagged = signatures["tag_canvas"](
        cover=tf.constant(images), message=tf.constant(message)
    )["tagged"]
    psnr = np.full((5, 1), config.psnr, np.float32)
    residual = models[0]({"cover": images, "message": message, "psnr": psnr})
    np.testing.assert_allclose(tagged, np.clip(images + residual, 0, 1), atol=ROUNDING)


@pytest.mark.parametrize(
    ("height", "width"),
    [(64, 64), (65, 64), (128, 128), (200, 301), (301, 200), (33, 40), (50, 77)],
)
def test_canvas_is_the_librarys(height, width):
    photo = photo_of(height, width)
    ours = graph.centred_canvas(tf.constant(photo), 64).numpy().astype(int)
    theirs = crop_canvas(photo, canvas_square(width, height), 64)
    difference = np.abs(ours - theirs)
    assert difference.max() <= 2
    assert difference.mean() < 0.3


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("grey", [False, True])
def test_formats_decode_to_the_librarys_pixels(extension, grey):
    photo = photo_of(90, 70)
    data = encode_image(photo, extension)
    if grey:
        data = cv2.imencode(extension, cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY))[1]
        data = data.tobytes()
    if extension == ".bmp" and grey:
        pytest.skip("OpenCV writes a palette, which TensorFlow does not read")
    np.testing.assert_array_equal(graph_photo(data), decode_photo(data))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, order):
    data = with_orientation(encode_image(photo_of(48, 80), ".jpg"), orientation, order)
    assert graph.exif_orientation(data) == orientation
    np.testing.assert_array_equal(graph_photo(data), decode_photo(data))


def test_read_bytes_reads_what_the_library_reads(signatures, models):
    photos = [photo_of(200, 300, 5), photo_of(301, 200, 6), photo_of(64, 64, 7)]
    files = [
        encode_image(photos[0], ".jpg", 80),
        encode_image(photos[1], ".png"),
        with_orientation(encode_image(photos[2], ".jpg", 90), 6, ">"),
    ]
    canvases = np.stack([python_canvas(data, 64) for data in files])
    expected = np.asarray(models[1](canvases / np.float32(255), training=False))
    read = signatures["read_bytes"](image_bytes=tf.constant(files))
    assert read["valid"].numpy().all()
    # A grey level here and there; see the module's docstring.
    np.testing.assert_allclose(read["logits"], expected, atol=0.05 * expected.std())


def test_bad_images_are_flagged_rows(signatures):
    good = encode_image(photo_of(100, 100), ".jpg")
    png, webp = (encode_image(photo_of(99, 99), e) for e in (".png", ".webp"))
    huge = bytearray(png)
    huge[16:24] = struct.pack(">II", 60_000, 60_000)
    files = [
        good,
        b"",
        b"not an image",
        good[: len(good) // 2],
        good[:3],
        png,
        png[: len(png) // 2],
        bytes(huge),
        webp[: len(webp) // 2],
        b"\xff\xd8\xff" + b"\0" * 500,
        webp,
    ]
    read = signatures["serving_default"](image_bytes=tf.constant(files))
    assert read["valid"].numpy().nonzero()[0].tolist() == [0, 5, 10]
    alone = signatures["serving_default"](image_bytes=tf.constant([files[5]]))
    np.testing.assert_allclose(read["logits"][5], alone["logits"][0], atol=ROUNDING)
    assert not read["logits"].numpy()[~read["valid"].numpy()].any()
    message = tf.zeros([len(files), 16])
    tagged = signatures["tag_bytes"](image_bytes=tf.constant(files), message=message)
    np.testing.assert_array_equal(tagged["valid"], read["valid"])
    empty = [not content for content in tagged["tagged_bytes"].numpy()]
    np.testing.assert_array_equal(empty, ~read["valid"].numpy())


def test_all_bad(signatures):
    read = signatures["read_bytes"](image_bytes=tf.constant(["", "x"]))
    assert read["logits"].shape == (2, 16)
    assert not read["valid"].numpy().any()


def test_tag_bytes_tags_as_the_library_does(signatures, config, models):
    tagger = Tagger(config, keras_networks(config, *models), detect=lambda photo: [])
    sizes = [(200, 300), (301, 200), (128, 128), (97, 131)]
    photos = [photo_of(*size, seed=number) for number, size in enumerate(sizes)]
    payloads = [0x00, 0x5A, 0xFF, 0x13]
    tagged = signatures["tag_bytes"](
        image_bytes=tf.constant([encode_image(photo, ".png") for photo in photos]),
        message=tf.constant(tagger.code.encode(payloads).astype(np.float32)),
    )
    assert tagged["valid"].numpy().all()
    for photo, payload, data in zip(
        photos, payloads, tagged["tagged_bytes"].numpy(), strict=True
    ):
        ours, theirs = decode_photo(data).astype(int), tagger.embed(photo, payload)
        assert np.abs(theirs.astype(int) - photo).mean() > 2
        assert np.abs(ours - theirs).max() <= 3
        assert np.abs(ours - theirs).mean() < 0.2


def test_warm_up_requests_parse_as_tensorflow_servings(folder):
    log = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    path = pathlib.Path(folder) / "assets.extra" / saved_model.WARM_UP
    seen = set()
    for record in tf.data.TFRecordDataset(str(path)):
        request = log.PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "faketagger"
        seen.add(request.model_spec.signature_name)
        photos = tf.make_ndarray(request.inputs["image_bytes"])
        assert tf.io.decode_jpeg(photos[0]).shape == (128, 128, 3)
    assert seen == {"serving_default", "read_bytes", "tag_bytes"}


def test_output_is_versioned_and_not_overwritten(config, models, folder):
    base = pathlib.Path(folder).parent
    assert [path.name for path in base.iterdir()] == ["1"]
    with pytest.raises(ValueError, match="exists already"):
        saved_model.export_saved_model(config, *models, str(base))
    with pytest.raises(ValueError, match="version must be positive"):
        saved_model.export_saved_model(config, *models, str(base), version=0)


def test_overwriting_replaces_the_whole_folder(config, models, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "stale").write_text("old")
    presence = Presence(1.5, 0.1, 1.25, 300, 9.0)
    saved_model.export_saved_model(
        config, *models, str(tmp_path), overwrite=True, presence=presence
    )
    about = tmp_path / "1" / "assets.extra" / "signatures.json"
    expected = {"threshold": 1.5, "rate": 0.1, "scale": 1.25}
    assert json.loads(about.read_text())["code"]["presence"] == expected
    assert not (tmp_path / "1" / "stale").exists()
    assert (tmp_path / "1" / "saved_model.pb").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
