import json
import pathlib
import sys

import av
import pytest

from faketagger_tf import deepfake as photo_deepfake
from faketagger_tf.video.container import Clip

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "video"))
from clips import encode, moving_face, sound_packets


@pytest.fixture
def clip(tmp_path):
    return encode(tmp_path / "clip.mp4", moving_face(), count=8, sound=True)


def test_tag_and_trace(faketagger, clip, tmp_path, capsys):
    tagged, drawn = tmp_path / "tagged.mkv", tmp_path / "drawn.mp4"
    arguments = ("--payload=1f2e3d4c", "--crf=16", "--preset=fast", "--strength=1")
    assert faketagger("tag", clip, tagged, *arguments, "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["payload"], row["frames"], row["faces"]) == ("0x1F2E3D4C", 8, 1)
    assert row["p_value"] < 1e-6 and row["lost"] == [] and row["notes"] == []
    assert sound_packets(tagged) == sound_packets(clip)
    arguments = ("--every=2", "--json", f"--annotate={drawn}")
    assert faketagger("trace", tagged, *arguments) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["payload"], row["looks"], row["found"]) == ("0x1F2E3D4C", 4, True)
    assert (row["start"], row["face"]) == (0, True)
    assert row["end"] == pytest.approx(6 / 25, abs=1e-3)
    with Clip(drawn) as shown, Clip(tagged) as plain:
        pairs = zip(shown.frames(), plain.frames(), strict=True)
        for one, other in pairs:
            # The frame of a reading that was found is green.
            more = one.pixels.astype(int) - other.pixels
            assert (more[..., 1] - more[..., 0] > 60).mean() > 0.002
    assert faketagger("trace", clip) == 1
    assert "no tag" in capsys.readouterr().out


def test_a_clip_that_does_not_read_is_not_written(faketagger, clip, tmp_path, capsys):
    target = tmp_path / "out" / "tagged.mp4"
    assert faketagger("tag", clip, target, "--crf=51") == 2
    assert "does not read back" in capsys.readouterr().err
    assert list(target.parent.iterdir()) == []
    assert faketagger("tag", clip, target, "--crf=51", "--no-check") == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("tag", "CLIP", "b.jpg"), "OUT must end in one of .mp4"),
        (("tag", "CLIP", "CLIP", "--overwrite"), "another file than IN"),
        (("tag", "CLIP", "b.mp4", "--registry=sqlite:///a.db"), "--registry is for"),
        (("tag", "CLIP", "b.mp4", "--quality=90"), "--quality is for photos"),
        (("tag", "CLIP", "b.mp4", "--strength=auto"), "must be a number for a clip"),
        (("tag", "CLIP", "b.webm", "--preset=fast"), "--preset must be one of"),
        (("tag", "PHOTO", "b.png", "--crf=20"), "--crf is for clips"),
        (("tag", "PHOTO", "b.mp4"), "OUT must end in one of"),
        (("trace", "CLIP", "PHOTO"), "runs of their own"),
        (("trace", "CLIP", "--canvas=c.png"), "--canvas is for photos"),
        (("trace", "none.mp4"), "does not exist"),
    ],
)
def test_mistakes(faketagger, clip, photo, tmp_path, capsys, arguments, sentence):
    places = {"CLIP": clip, "PHOTO": photo}
    files = sorted(tmp_path.iterdir())
    arguments = [
        places.get(a) or (str(tmp_path / a) if a.startswith("b.") else a)
        for a in arguments
    ]
    assert faketagger(*arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == files


def test_a_damaged_clip_is_traced_and_said_so(faketagger, tmp_path, capsys):
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    data = pathlib.Path(encode(whole, moving_face(), count=40)).read_bytes()
    cut.write_bytes(data[: len(data) * 3 // 4])
    capsys.readouterr()
    assert faketagger("trace", cut, "--json") == 1
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert "damaged at" in note


def test_deepfake(faketagger, clip, tmp_path, monkeypatch, capsys):
    """The swap itself is tested with photos: here each face is painted grey."""
    seen = []

    def paint(crop):
        seen.append(crop.shape)
        return 0 * crop + 0.5

    monkeypatch.setattr(photo_deepfake, "swap_function", lambda *_: paint)
    fake = tmp_path / "fake.mp4"
    assert faketagger("deepfake", clip, fake) == 0
    assert "8 of 8 frames swapped" in capsys.readouterr().out
    assert len(seen) == 8 and sound_packets(fake) == sound_packets(clip)
    with av.open(str(fake)) as found:
        assert sum(1 for _ in found.decode(video=0)) == 8
    assert faketagger("deepfake", clip, tmp_path / "x.mp4", "--identity=nobody") == 2
    assert "no identity 'nobody'" in capsys.readouterr().err
