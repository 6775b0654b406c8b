import hashlib
import os

import numpy as np
import pytest
import support
from clips import encode, flat, moving_face

from faketagger_tf.registry import init_registry
from faketagger_tf.registry.reader import RegisteredReader
from faketagger_tf.tagging import promise
from faketagger_tf.video import registered
from faketagger_tf.video.container import Clip, Frame
from faketagger_tf.video.jobs import TAG_COLUMNS, TRACE_COLUMNS, tag_clip, trace_clip
from faketagger_tf.video.read import combine, read_frames
from faketagger_tf.video.registered import (
    COLUMNS,
    tag_clip_into_registry,
    trace_registered_clip,
)
from faketagger_tf.video.tag import KEY_TIMES, ClipTagger, choose_track_strengths

PAYLOAD = 0x1F2E3D4C


@pytest.fixture(scope="module")
def tagger():
    return support.correlation_tagger()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A moving face, cut to a flat square."""
    face = moving_face()
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return encode(path, lambda i: face(i) if i < 12 else flat(i), 16)


@pytest.fixture
def registry(tmp_path):
    with init_registry(f"sqlite:///{tmp_path}/tags.db") as registry:
        yield registry


def frames_of(path):
    with Clip(path) as clip:
        return list(clip.frames())


def test_rows(tagger, clip, tmp_path):
    target, seen = tmp_path / "tagged.mp4", []
    row = tag_clip(
        tagger,
        clip,
        target,
        PAYLOAD,
        crf=16,
        before_writing=lambda temporary, row: seen.append(
            (os.path.exists(temporary), target.exists(), row["payload"])
        ),
    )
    assert tuple(row) == TAG_COLUMNS
    assert (row["faces"], row["tracks"], row["frames"]) == (1, 2, 16)
    assert row["p_value"] < 1e-6 and row["broken"] == []
    assert seen == [(True, False, "0x1F2E3D4C")]
    rows = trace_clip(tagger, target, 1e-6, every=3)
    assert set(rows[0]) == set(TRACE_COLUMNS)
    assert [r["payload"] for r in rows] == ["0x1F2E3D4C"] * 2


def test_a_track_has_one_strength_and_the_weakest_that_keeps_the_promise(tagger, clip):
    """What the copies ask for is told: each look knows how strong a tag it saw."""
    weakest, strongest = tagger.config.weakest, tagger.config.strongest
    choices = choose_track_strengths(tagger, frames_of(clip), PAYLOAD, "archive")
    assert set(choices) == {1, 2}
    for choice in choices.values():
        assert strongest <= choice.strength <= weakest
    strengths = {1: 30.0, 2: 36.0}
    tagged = ClipTagger(tagger, PAYLOAD, strengths).change(frames_of(clip))
    sizes = [
        np.square(t.pixels.astype(float) - f.pixels).sum()
        for f, t in zip(frames_of(clip), tagged, strict=True)
    ]
    # Both residuals are white at their PSNR; the square is 240 of the face's pixels.
    faces, squares = np.array(sizes[:12]), np.array(sizes[12:])
    assert faces.std() < 0.2 * faces.mean() and squares.std() < 0.05 * squares.mean()
    again = ClipTagger(tagger, PAYLOAD, {1: 30.0, 2: 30.0}).change(frames_of(clip))
    last = [*again][-1].pixels.astype(float) - frames_of(clip)[-1].pixels
    # 6 dB are a factor of 4 in power; rounding to whole numbers adds to the weaker one.
    assert 3 < np.square(last).sum() / squares[-1] < 4.1


def test_the_strongest_of_a_few_looks_counts(tagger, monkeypatch):
    draw = moving_face()
    frames = [Frame(i, i, i / 2, draw(0)) for i in range(40)]
    asked = []

    def choose(tagger, photo, payload, canvases, wanted):
        asked.append(wanted)
        strength = [34.0, 31.0, 33.0, 35.0][len(asked) - 1]
        return [promise.Choice(strength, ("grey",) if len(asked) == 2 else ())]

    monkeypatch.setattr("faketagger_tf.video.tag.choose_strengths", choose)
    choices = choose_track_strengths(tagger, frames, PAYLOAD, "web")
    assert choices == {1: promise.Choice(31.0, ("grey",))}
    assert asked == ["web"] * len(KEY_TIMES)


def test_a_promise_is_refused_with_a_strength_or_where_there_is_none(
    tagger, clip, tmp_path
):
    with pytest.raises(ValueError, match="one of the two"):
        tag_clip(tagger, clip, tmp_path / "b.mp4", 1, 40.0, promise="web")
    with pytest.raises(ValueError, match="promise must be one of"):
        tag_clip(tagger, clip, tmp_path / "b.mp4", 1, promise="all")
    assert list(tmp_path.iterdir()) == []


def test_a_clip_goes_through_the_registry(tagger, registry, clip, tmp_path):
    target = tmp_path / "tagged.mp4"
    row = tag_clip_into_registry(
        tagger, registry, clip, target, owner="Zoë", crf=16, preset="fast"
    )
    record = registry.show(row["payload"])
    assert (record.state, record.owner, record.file) == ("written", "Zoë", str(target))
    data = target.read_bytes()
    assert (record.size, record.sha256_tagged) == (
        len(data),
        hashlib.sha256(data).hexdigest(),
    )
    assert (record.width, record.height) == (320, 240)
    assert record.thumbnail[:2] == b"\xff\xd8"
    assert not list(registry.check())
    reader = RegisteredReader(tagger, registry)
    rows = trace_registered_clip(reader, target, 1e-6, every=3)
    assert set(rows[0]) == set(COLUMNS)
    for found in rows:
        assert found["payload"] == row["payload"]
        assert found["registered_p_value"] < 1e-6
        assert (found["record_owner"], found["record_state"]) == ("Zoë", "written")
        assert found["verdict"] is None
    (none,) = trace_registered_clip(reader, clip, 1e-6)
    assert not none["found"] and none["record_file"] is None
    assert none["registered_payloads"] == 1


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_what_goes_wrong_abandons_the_record(tagger, registry, clip, tmp_path, error):
    def fail(temporary, row):
        raise error

    target = tmp_path / "out" / "tagged.mp4"
    with pytest.raises(type(error)):
        tag_clip_into_registry(
            tagger, registry, clip, target, crf=16, before_writing=fail
        )
    (record,) = registry.find()
    assert (record.state, record.sha256_tagged) == ("abandoned", "")
    assert os.listdir(tmp_path / "out") == []
    with pytest.raises(ValueError, match="does not read back"):
        tag_clip_into_registry(tagger, registry, clip, target, crf=51)
    assert {each.state for each in registry.find()} == {"abandoned"}


def test_nothing_is_issued_for_what_is_refused(tagger, registry, clip, tmp_path):
    target = tmp_path / "tagged.mp4"
    tag_clip(tagger, clip, target, PAYLOAD, crf=16)
    for source, output, options in (
        (target, tmp_path / "b.mp4", {}),
        (clip, tmp_path / "b.avi", {}),
        (clip, tmp_path / "b.mp4", {"promise": "all"}),
        (tmp_path / "none.mp4", tmp_path / "b.mp4", {}),
    ):
        with pytest.raises(ValueError):
            tag_clip_into_registry(tagger, registry, source, output, **options)
    assert list(registry.find()) == []


def test_a_run_that_was_killed_is_settled_later(
    tagger, registry, clip, tmp_path, monkeypatch
):
    """Killed once the file has its name: the digest is on record already."""
    target = tmp_path / "tagged.mp4"

    def killed(*arguments, **options):
        tag_clip(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(registered, "tag_clip", killed)
    with pytest.raises(KeyboardInterrupt):
        tag_clip_into_registry(tagger, registry, clip, target, crf=16)
    (record,) = registry.find()
    assert record.state == "reserved"
    assert record.sha256_tagged == hashlib.sha256(target.read_bytes()).hexdigest()


def test_issued_payloads_are_found_where_blind_reading_fails(tagger):
    """Looks whose sum is too weak to be read blind are near enough to one of few."""
    rng = np.random.default_rng(3)
    word = 2.0 * tagger.code.encode([PAYLOAD])[0] - 1
    looks = word + rng.normal(0, 2.5, (6, 1, len(word)))
    canvas = tagger.find_canvases(moving_face()(0))[:1]
    issued = tagger.index([7, PAYLOAD, 9])
    (blind,) = tagger.readings_of(combine(looks), canvas)
    (both,) = tagger.readings_of(combine(looks), canvas, issued=issued)
    assert not blind.found and blind.registered_p_value is None
    assert both.found and both.payload == both.registered_payload == PAYLOAD
    assert both.registered_payloads == 3
    (other,) = tagger.readings_of(combine(looks), canvas, issued=tagger.index([7, 9]))
    assert not other.found and other.registered_p_value > 1e-3


def test_a_clip_is_compared_with_issued_payloads(tagger, clip):
    frames = frames_of(clip)[:6]
    tagged = list(ClipTagger(tagger, PAYLOAD).change(iter(frames)))
    issued = tagger.index([7, PAYLOAD])
    for shown, found in ((tagged, True), (frames, False)):
        (track,) = read_frames(tagger, shown, every=2, payloads=issued)
        assert track.reading.found is found
        assert (track.reading.registered_p_value < 1e-6) is found
