import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from faketagger_tf.data import photos, pipeline, tfrecord
from faketagger_tf.photos import codec as images


@pytest.fixture
def found(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for n in range(7):
        photo = rng.integers(0, 256, [50, 60, 3], np.uint8)
        name = tmp_path / "photos" / f"{n}.png"
        images.write_image(name, cv2.GaussianBlur(photo, (0, 0), 1))
    return photos.PhotoSet(
        tuple(
            photos.Photo(path, f"p{n}", "AB"[n % 2], "train", (15, 10, 24, 24))
            for n, path in enumerate(images.list_photos(tmp_path / "photos"))
        )
    )


def read(pattern, **options):
    return [
        {name: value.numpy() for name, value in batch.items()}
        for batch in pipeline.tfrecord_dataset(
            pattern, 32, 4, **{"training": False, **options}
        )
    ]


def test_round_trip_is_lossless(tmp_path, found):
    paths, skipped = tfrecord.write_tfrecords(
        found, tmp_path / "records" / "faces", 3, image_size=32
    )
    assert [os.path.basename(path) for path in paths] == [
        f"faces-0000{n}-of-00003.tfrecord" for n in range(3)
    ]
    assert sorted(os.listdir(tmp_path / "records")) == [
        os.path.basename(path) for path in paths
    ]
    assert not skipped
    result = read(str(tmp_path / "records" / "faces-*.tfrecord"))
    assert [len(batch["cover"]) for batch in result] == [4, 3]
    canvases, _, _ = photos.load_canvases(found, 32)
    order = [0, 3, 6, 1, 4, 2, 5]  # dealt to the shards in turn
    people = np.concatenate([batch["person"] for batch in result])
    assert people.tolist() == [f"p{n}".encode() for n in order]
    identity = np.concatenate([batch["identity"] for batch in result])
    assert identity.tolist() == [b"AB"[n % 2 : n % 2 + 1] for n in order]
    covers = np.concatenate([batch["cover"] for batch in result])
    np.testing.assert_array_equal(np.rint(covers * 255), canvases[order])


def test_records_agree_with_tensorflows_reader(tmp_path, found):
    paths, _ = tfrecord.write_tfrecords(found, tmp_path / "f", image_size=32)
    records = [r.numpy() for r in tf.data.TFRecordDataset(paths)]
    first = tf.train.Example.FromString(records[0]).features.feature
    assert first["split"].bytes_list.value[0] == b"train"
    assert list(first["box"].float_list.value) == [15, 10, 24, 24]
    with open(paths[0], "rb") as file:
        data = file.read()
    spans = pipeline._record_spans(paths[0])
    assert [data[start : start + length] for start, length in spans] == records


def test_jpeg_records_decode_as_opencv_does(tmp_path, found):
    tfrecord.write_tfrecords(found, tmp_path / "f", image_size=32, quality=95)
    canvases, _, _ = photos.load_canvases(found, 32)
    expected = [
        images.decode_photo(images.encode_image(canvas, ".jpg", 95))
        for canvas in canvases
    ]
    covers = np.concatenate([b["cover"] for b in read(str(tmp_path / "f-*"))])
    np.testing.assert_array_equal(np.rint(covers * 255), expected)


def test_training_is_the_stream_from_memory_and_resumes(tmp_path, found):
    tfrecord.write_tfrecords(found, tmp_path / "f", image_size=32, margin=0.125)
    canvases, _, _ = photos.load_canvases(found, 32, margin=0.125)
    options = {"training": True, "seed": 3, "message_bits": 8}
    memory = pipeline.canvas_dataset(canvases, 32, 4, **options).take(6)
    pattern = str(tmp_path / "f-*")
    records = pipeline.tfrecord_dataset(pattern, 32, 4, **options).take(6)
    later = pipeline.tfrecord_dataset(pattern, 32, 4, skip_batches=2, **options)
    for number, (one, two) in enumerate(zip(memory, records, strict=True)):
        for name in ("cover", "index", "message"):
            np.testing.assert_array_equal(one[name], two[name])
        if number == 2:
            np.testing.assert_array_equal(two["cover"], next(iter(later))["cover"])


def test_bad_photos_are_skipped(tmp_path, found):
    with open(found[2].path, "wb"):
        pass
    _, skipped = tfrecord.write_tfrecords(found, tmp_path / "f", 2, image_size=32)
    assert [path for path, _ in skipped] == [found[2].path]
    assert sum(len(batch["index"]) for batch in read(str(tmp_path / "f-*"))) == 6
    with pytest.raises(ValueError, match="None of the 1 photos"):
        tfrecord.write_tfrecords(photos.PhotoSet((found[2],)), tmp_path / "g")
    assert not [name for name in os.listdir(tmp_path) if name.startswith("g")]


def test_damaged_or_missing_records_are_one_sentence(tmp_path, found):
    paths, _ = tfrecord.write_tfrecords(found, tmp_path / "f", image_size=32)
    with pytest.raises(ValueError, match="at least 64 pixels"):
        pipeline.tfrecord_dataset(paths, 64, 2, training=True)
    with pytest.raises(ValueError, match="No TFRecord file"):
        pipeline.tfrecord_dataset(str(tmp_path / "none-*"), 32, 2, training=True)
    with open(paths[0], "r+b") as file:
        file.truncate(os.path.getsize(paths[0]) - 5)
    with pytest.raises(ValueError, match="truncated"):
        pipeline.tfrecord_dataset(paths, 32, 2, training=True)


def test_unwritable_output_is_one_sentence(tmp_path, found):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="Cannot write the TFRecords"):
        tfrecord.write_tfrecords(found, tmp_path / "file" / "f")


def test_command_writes_every_split(tmp_path, found):
    command = [sys.executable, "-m", "faketagger_tf.data.tfrecord", "--shards=2"]
    command += [f"--data={tmp_path / 'photos'}", f"--output={tmp_path / 'out' / 'f'}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    names = sorted(os.listdir(tmp_path / "out"))
    assert names == [
        f"f-{split}-0000{n}-of-00002.tfrecord"
        for split in ("test", "train", "validation")
        for n in range(2)
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data=nowhere", "--output=x"], "Error: The folder of photos does not"),
        (["--output=x"], "Error: --data must be given"),
    ],
)
def test_mistakes_are_one_sentence_and_code_2(tmp_path, arguments, sentence):
    command = [sys.executable, "-m", "faketagger_tf.data.tfrecord", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2, result.stderr
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bad_photo_is_code_2(tmp_path, found):
    with open(found[2].path, "wb"):
        pass
    command = [sys.executable, "-m", "faketagger_tf.data.tfrecord", "--shards=1"]
    command += [f"--data={tmp_path / 'photos'}", f"--output={tmp_path / 'out' / 'f'}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2, result.stderr
    assert "skipped 1 that could not be read." in result.stderr
    assert os.listdir(tmp_path / "out")
