import collections
import itertools
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from faketagger_tf.data import photos, pipeline
from faketagger_tf.photos import codec as images


def noise(count, size, seed=0):
    return np.random.default_rng(seed).integers(
        0, 256, [count, size, size, 3], np.uint8
    )


def batches(dataset, count=None):
    return [
        {name: value.numpy() for name, value in batch.items()}
        for batch in (dataset if count is None else dataset.take(count))
    ]


def assert_same(first, second):
    assert len(first) == len(second) > 0
    for one, two in zip(first, second, strict=True):
        assert one.keys() == two.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eleven photos, of which two are bad."""
    folder = tmp_path_factory.mktemp("photos")
    for n in range(11):
        photo = cv2.GaussianBlur(noise(1, 60, n)[0], (0, 0), 1)
        images.write_image(folder / f"{n:02d}.jpg", photo)
    (folder / "03.jpg").write_bytes(b"")
    data = (folder / "07.jpg").read_bytes()
    (folder / "07.jpg").write_bytes(data[: len(data) // 2])
    return folder


def test_evaluation_is_in_order_and_keeps_the_last_batch():
    canvases = noise(10, 24)
    options = {"training": False, "message_bits": 8, "identities": list("abcdefghij")}
    result = batches(pipeline.canvas_dataset(canvases, 16, 4, **options))
    assert [len(batch["cover"]) for batch in result] == [4, 4, 2]
    covers = np.concatenate([batch["cover"] for batch in result])
    assert covers.dtype == np.float32
    np.testing.assert_array_equal(
        covers, canvases[:, 4:20, 4:20].astype(np.float32) / np.float32(255)
    )
    assert np.concatenate([b["index"] for b in result]).tolist() == list(range(10))
    assert b"".join(np.concatenate([b["identity"] for b in result])) == b"abcdefghij"


def test_training_sees_every_canvas_once_an_epoch_in_new_orders():
    dataset = pipeline.canvas_dataset(noise(12, 16), 16, 4, training=True, seed=1)
    index = np.concatenate([b["index"] for b in batches(dataset, 9)]).reshape(3, 12)
    for epoch in index:
        assert sorted(epoch) == list(range(12))
    assert len({tuple(epoch) for epoch in index}) == 3


@pytest.mark.parametrize("skip", [1, 4, 7])
@pytest.mark.parametrize("training", [True, False])
def test_skipping_batches_is_bit_identical(training, skip):
    def dataset(skip_batches):
        return pipeline.canvas_dataset(
            noise(29, 20),
            16,
            3,
            training=training,
            seed=9,
            message_bits=16,
            skip_batches=skip_batches,
        )

    assert_same(
        batches(dataset(0), 12 if training else None)[skip:],
        batches(dataset(skip), 12 - skip if training else None),
    )


def test_crops_and_flips_stay_inside_the_canvas_and_vary():
    canvases = noise(2, 20)
    dataset = pipeline.canvas_dataset(canvases, 16, 8, training=True, seed=2)
    seen = collections.Counter()
    for batch in batches(dataset, 40):
        for cover, index in zip(batch["cover"], batch["index"], strict=True):
            pixels = np.rint(cover * 255).astype(np.uint8)
            places = [
                (top, left, flip)
                for top, left, flip in itertools.product(range(5), range(5), (1, -1))
                if np.array_equal(
                    canvases[index, top : top + 16, left : left + 16][:, ::flip],
                    pixels,
                )
            ]
            assert len(places) == 1
            seen[places[0]] += 1
    # 320 draws over 50 places: none is missed but with probability 0.08.
    assert len(seen) >= 48
    flips = sum(count for (_, _, flip), count in seen.items() if flip < 0)
    assert 120 < flips < 200


def test_messages_are_balanced_and_depend_on_the_seed():
    def messages(seed):
        dataset = pipeline.canvas_dataset(
            noise(4, 16), 16, 32, training=True, seed=seed, message_bits=64
        )
        return np.concatenate([b["message"] for b in batches(dataset, 10)])

    first = messages(1)
    assert set(np.unique(first)) == {0.0, 1.0} and first.dtype == np.float32
    # 20,480 bits: four deviations are 0.014 for all, 0.112 for one bit of 320.
    assert abs(first.mean() - 0.5) < 0.014
    assert np.abs(first.mean(0) - 0.5).max() < 0.13
    assert len(np.unique(first, axis=0)) == 320
    assert abs((first == messages(2)).mean() - 0.5) < 0.02


@pytest.mark.parametrize("training", [True, False])
def test_shards_cover_an_epoch_once(training):
    parts = []
    for shard in range(3):
        dataset = pipeline.canvas_dataset(
            noise(24, 16), 16, 4, training=training, shard_count=3, shard_index=shard
        )
        parts += batches(dataset, 2)
    index = np.concatenate([batch["index"] for batch in parts])
    assert sorted(index) == list(range(24))


def test_shards_hold_the_batches_of_one_worker():
    options = {"training": True, "seed": 3, "message_bits": 4}
    one = batches(pipeline.canvas_dataset(noise(24, 18), 16, 12, **options), 5)
    parts = [
        batches(
            pipeline.canvas_dataset(
                noise(24, 18), 16, 4, shard_count=3, shard_index=shard, **options
            ),
            5,
        )
        for shard in range(3)
    ]
    together = [
        {name: np.concatenate([part[name] for part in batch]) for name in batch[0]}
        for batch in zip(*parts, strict=True)
    ]
    assert_same(one, together)


def test_shards_read_each_file_once(folder, monkeypatch):
    found, read = photos.find_photos(folder), []
    original = pipeline.read_canvas
    monkeypatch.setattr(
        pipeline,
        "read_canvas",
        lambda p, *more: read.append(p.path) or original(p, *more),
    )
    for shard in range(2):
        batches(
            pipeline.photo_dataset(
                found, 32, 2, training=False, shard_count=2, shard_index=shard
            )
        )
    assert sorted(read) == [photo.path for photo in found]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"image_size": 40}, "canvases"),
        ({"shard_count": 2, "shard_index": 2}, "shard_index"),
        ({"skip_batches": -1}, "skip_batches"),
        ({"identities": ["a"]}, "identities"),
        ({"canvases": np.zeros([2, 16, 16, 3], np.float32)}, "uint8"),
        ({"canvases": np.zeros([0, 16, 16, 3], np.uint8)}, "N > 0"),
    ],
)
def test_bad_arguments_are_one_sentence(change, message):
    options = {"canvases": noise(2, 16), "image_size": 16, "batch_size": 2}
    with pytest.raises(ValueError, match=message):
        pipeline.canvas_dataset(**{**options, "training": True, **change})


@pytest.mark.parametrize("training", [True, False])
def test_files_give_what_memory_gives(folder, training):
    found = photos.find_photos(folder)
    canvases, kept, _ = photos.load_canvases(found, 32, margin=0.125)
    options = {"training": training, "seed": 4, "message_bits": 8}
    # Without bad files the two are the same stream.
    names = [photo.identity for photo in kept]
    memory = pipeline.canvas_dataset(canvases, 32, 4, identities=names, **options)
    files = pipeline.photo_dataset(kept, 32, 4, margin=0.125, **options)
    assert_same(batches(memory, 5), batches(files, 5))


def test_bad_files_are_skipped_counted_and_leave_resuming_exact(folder):
    found, skipped = photos.find_photos(folder), {}
    result = batches(
        pipeline.photo_dataset(found, 32, 4, training=False, skipped=skipped)
    )
    index = np.concatenate([batch["index"] for batch in result])
    assert index.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert sorted(path[-6:] for path in skipped) == ["03.jpg", "07.jpg"]
    assert "truncated" in skipped[str(folder / "07.jpg")]

    def train(skip):
        return pipeline.photo_dataset(
            found, 32, 4, training=True, seed=3, skip_batches=skip
        )

    full = batches(train(0), 8)
    assert {3, 7}.isdisjoint(np.concatenate([batch["index"] for batch in full]))
    assert_same(full[3:], batches(train(3), 5))


def test_no_readable_file_is_an_error(folder):
    bad = photos.PhotoSet((photos.find_photos(folder)[3],))
    with pytest.raises(Exception, match="None of the 1 photos"):
        next(iter(pipeline.photo_dataset(bad, 32, 1, training=True)))


def test_cache_serves_the_same_canvases_without_the_files(tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(4):
        images.write_image(tmp_path / "in" / f"{n}.png", noise(1, 40, n)[0])
    found = photos.find_photos(tmp_path / "in")

    def read():
        return batches(
            pipeline.photo_dataset(
                found, 32, 2, training=False, cache_dir=str(tmp_path / "cache")
            )
        )

    first = read()
    calls = []
    original = pipeline.read_canvas
    pipeline.read_canvas = lambda *args: calls.append(args) or original(*args)
    try:
        assert_same(first, read())
        assert not calls
        # A changed photo is not served from the cache.
        images.write_image(found[1].path, noise(1, 41, 9)[0])
        changed = read()
    finally:
        pipeline.read_canvas = original
    assert len(calls) == 4
    assert not np.array_equal(first[0]["cover"][1], changed[0]["cover"][1])


def test_faces_are_the_middle_of_the_canvas():
    # A canvas whose red is x and whose green is y, in pixels.
    y, x = np.mgrid[0:128, 0:128]
    canvases = np.repeat(np.dstack([x, y, 0 * x]).astype(np.uint8)[None], 3, 0)
    dataset = pipeline.paired_faces_dataset(
        {"A": canvases, "B": canvases[:2]}, 0.5, 64, 8, seed=1
    )
    flips, lengths = 0, []
    for batch in batches(dataset, 25):
        assert batch["A"].shape == batch["B"].shape == (8, 64, 64, 3)
        for face in np.concatenate([batch["A"], batch["B"]]) * 255:
            red, green = face[32, :, 0], face[:, 32, 1]
            flips += red[0] > red[-1]
            length = abs(red[-1] - red[0]) * 64 / 63
            lengths.append(length)
            assert 0.949 * 64 < length < 1.051 * 64
            assert length == pytest.approx((green[-1] - green[0]) * 64 / 63, abs=0.01)
            for line in (red, green):
                assert abs((line[0] + line[-1]) / 2 - 63.5) < 0.051 * 64
    assert 140 < flips < 260
    assert np.ptp(lengths) > 5


def test_faces_resume_and_differ_by_identity():
    sets = {"A": noise(5, 64, 1), "B": noise(7, 64, 2)}

    def dataset(skip):
        return pipeline.paired_faces_dataset(sets, 0.5, 32, 4, skip_batches=skip)

    full = batches(dataset(0), 6)
    assert_same(full[2:], batches(dataset(2), 4))
    assert not np.array_equal(full[0]["A"], full[0]["B"])
    with pytest.raises(ValueError, match="face_region"):
        pipeline.paired_faces_dataset(sets, 1.5, 32, 4)


def test_tensorflow_decodes_jpeg_as_opencv_does():
    photo = cv2.GaussianBlur(noise(1, 80)[0], (0, 0), 1)
    for quality in (40, 75, 95):
        data = images.encode_image(photo, ".jpg", quality)
        decoded = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
        np.testing.assert_array_equal(decoded.numpy(), images.decode_photo(data))


def test_package_does_not_import_tensorflow():
    code = (
        "import sys, faketagger_tf.data, faketagger_tf.drawn, faketagger_tf.photos; "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
