import dataclasses

import numpy as np
import pytest
import support
from clips import encode, flat, moving_face

from faketagger_tf.messages.presence import Presence
from faketagger_tf.video.container import Clip, Frame, rewrite_clip
from faketagger_tf.video.read import (
    CHANCES,
    KEPT,
    ClipReader,
    _Looks,
    combine,
    read_frames,
)
from faketagger_tf.video.tag import ClipTagger

PAYLOAD = 0x1F2E3D4C


@pytest.fixture(scope="module")
def tagger():
    return support.correlation_tagger()


@pytest.fixture(scope="module")
def tagged(tagger, tmp_path_factory):
    """A clip of a moving face, its cut to a square, and the tagged copy."""
    folder = tmp_path_factory.mktemp("clips")
    face = moving_face()
    source = encode(folder / "a.mp4", lambda i: face(i) if i < 14 else flat(i), 24)
    clip = ClipTagger(tagger, PAYLOAD)
    rewrite_clip(source, folder / "b.mp4", clip.change, crf=16)
    return source, folder / "b.mp4", clip


def frames_of(draw, count):
    return [Frame(i, i, i / 25, draw(i)) for i in range(count)]


def test_each_track_reads_with_its_time(tagger, tagged):
    _, path, about = tagged
    assert (about.tracks, about.faces) == (2, 1)
    with Clip(path) as clip:
        face, square = read_frames(tagger, clip.frames(), every=3)
    for track in (face, square):
        assert track.reading.found and track.reading.payload == PAYLOAD
    assert (face.face, square.face) == (True, False)
    assert face.looks == 5 and face.start == 0 and face.end == pytest.approx(12 / 25)
    assert square.looks == 4 and square.start == pytest.approx(14 / 25)


def test_untagged_clips_do_not_read(tagger, tagged):
    with Clip(tagged[0]) as clip:
        tracks = read_frames(tagger, clip.frames(), every=3)
    assert not any(track.reading.found for track in tracks)


def test_pixels_outside_of_the_canvas_stay(tagger):
    frames = frames_of(moving_face(), 3)
    tagged = list(ClipTagger(tagger, PAYLOAD).change(frames))
    for before, after in zip(frames, tagged, strict=True):
        assert (before.index, before.pts) == (after.index, after.pts)
        changed = (before.pixels != after.pixels).any(2)
        assert 0.05 < changed.mean() < 0.9 and not changed[:, :4].any()


def test_the_residual_is_carried_along(tagger):
    """On a face that stands still, noise or not, it is the same in each frame."""
    draw, rng = moving_face(), np.random.default_rng(0)

    def noisy(_):
        noise = rng.normal(0, 3, draw(0).shape)
        return np.clip(draw(0) + noise, 20, 235).astype(np.uint8)

    frames = frames_of(noisy, 5)

    def change(tagged):
        return [
            t.pixels.astype(float) - f.pixels
            for f, t in zip(frames, tagged, strict=True)
        ]

    carried = change(ClipTagger(tagger, PAYLOAD).change(frames))
    alone = change(
        [Frame(0, 0, 0, tagger.embed(frame.pixels, PAYLOAD)) for frame in frames]
    )
    carried, alone = (np.abs(np.diff(each, axis=0)).mean() for each in (carried, alone))
    assert carried < 0.7 * alone


def test_a_tagged_clip_is_refused(tagger, tagged):
    with Clip(tagged[1]) as clip, pytest.raises(ValueError, match=r"(?i)1f2e3d4c"):
        list(ClipTagger(tagger, PAYLOAD).change(clip.frames()))
    with Clip(tagged[1]) as clip:
        again = ClipTagger(tagger, 7, retag=True).change(clip.frames())
        assert next(again).index == 0


def test_looks_add_up_to_what_none_of_them_says(tagger):
    """Sixteen looks at -6 dB: one alone is noise, their sum is the message."""
    rng = np.random.default_rng(0)
    word = 2.0 * tagger.code.encode([PAYLOAD])[0] - 1
    looks = word + rng.normal(0, 2, (16, 1, len(word)))
    canvas = tagger.find_canvases(moving_face()(0))[:1]

    def read(logits):
        return tagger.readings_of(logits, canvas)[0]

    assert not any(read(look).found for look in looks)
    total = read(combine(looks))
    assert total.found and total.payload == PAYLOAD


def test_a_track_whose_landmarks_have_moved_is_searched(tagger):
    """A deepfake moves them alike in all frames: here they are turned by a step."""
    photo = moving_face()(0)
    (own, *_) = tagger.find_canvases(photo)
    tagged = tagger.embed(photo, PAYLOAD, canvases=[own])
    size = tagger.config.image_size
    turned = own.move(size, 0, 0, 1, 4.5)
    back = np.linalg.inv(np.vstack([turned.matrix, [0, 0, 1]]))
    points = np.column_stack([own.face.landmarks, np.ones(5)])
    points = (points @ np.vstack([own.matrix, [0, 0, 1]]).T @ back.T)[:, :2]
    face = dataclasses.replace(own.face, landmarks=points)
    other = support.correlation_tagger(detect=lambda _: [face])
    assert not any(r.found for r in other.read_straight(tagged, [turned]))
    (track,) = read_frames(other, frames_of(lambda _: tagged, 4), every=1)
    assert track.reading.found and track.reading.payload == PAYLOAD
    # It says where in the frame it was: a hundredth of a canvas is finer than a step.
    away = track.reading.corners - own.corners(size)
    assert np.abs(away).max() < 0.02 * own.side(size)
    (none,) = read_frames(other, frames_of(lambda _: photo, 4), every=1)
    assert not none.reading.found


def test_pictures_are_kept_evenly_and_few(tagger):
    looks = _Looks(0.0)
    for number in range(100):
        looks.add(number / 25, np.zeros((2, 64)), [])
        looks.keep(lambda number=number: np.full(1, number))
        assert len(looks.pictures) <= KEPT
    numbers = np.array([int(picture[0]) for picture in looks.pictures])
    assert len(numbers) > KEPT / 2
    assert numbers[0] == 0 and set(np.diff(numbers)) == {16}


def test_what_has_ended_is_let_go(tagger):
    """Each cut ends a track: one is held at a time, and all are told at the end."""
    shown = [tagger.embed(draw(0), PAYLOAD) for draw in (flat, moving_face())]
    reader = ClipReader(tagger, every=2)
    for index in range(16):
        reader.look(Frame(index, index, index / 25, shown[index // 4 % 2]))
        assert len(reader._open) <= 1
    rows = reader.readings()
    assert [row.track for row in rows] == [1, 2, 3, 4]
    assert [row.face for row in rows] == [False, True, False, True]
    assert all(row.reading.payload == PAYLOAD for row in rows)


def test_one_loud_look_does_not_decide(tagger):
    word = 2.0 * tagger.code.encode([PAYLOAD])[0] - 1
    other = 2.0 * tagger.code.encode([7])[0] - 1
    looks = np.stack([word] * 6 + [100 * other])[:, None]
    assert np.sign(combine(looks))[0].tolist() == word.tolist()


def test_repeating_a_frame_makes_nothing_surer(tagger):
    """Looks that are the same are one look: the p-value must not fall."""
    tagger = support.correlation_tagger(presence=Presence())
    one = read_frames(tagger, frames_of(lambda _: moving_face()(0), 1), every=1)
    many = read_frames(tagger, frames_of(lambda _: moving_face()(0), 9), every=1)
    assert many[0].looks == 9
    # The decoder's logits are float32.
    assert many[0].reading.surprise == pytest.approx(one[0].reading.surprise, abs=0.01)


def test_a_track_has_more_chances_than_a_photo(tagger):
    (track,) = read_frames(tagger, frames_of(lambda _: moving_face()(0), 1), every=1)
    reading = track.reading
    alone = tagger.presence.p_value(
        reading.surprise, tagger.config.crc_bits if reading.crc_ok else 0
    )
    assert reading.p_value == pytest.approx(min(1.0, CHANCES * alone))
