import json
import pathlib
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest

from faketagger_tf import deepfake as photo_deepfake
from faketagger_tf.video.container import Clip

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "video"))
from clips import encode, flat, moving_face, sound_packets


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
        (("tag", "CLIP", "b.mp4", "--refine=9"), "--refine is for photos"),
        (("tag", "CLIP", "b.mp4", "--sign"), "--sign is for photos"),
        (("tag", "CLIP", "b.mp4", "--quality=90"), "--quality is for photos"),
        (
            ("tag", "CLIP", "b.mp4", "--strength=0.5", "--promise=web"),
            "--strength must be auto",
        ),
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


def test_a_promise_chooses_the_strength(faketagger, clip, tmp_path, capsys):
    tagged = tmp_path / "tagged.mp4"
    arguments = ("--promise=archive", "--crf=16", "--preset=fast", "--json")
    assert faketagger("tag", clip, tagged, *arguments) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["p_value"] < 1e-6 and isinstance(row["broken"], list)


def test_a_registry_issues_the_payload_and_knows_it(
    faketagger, clip, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("FAKETAGGER_REGISTRY", f"sqlite:///{tmp_path}/tags.db")
    tagged, table = tmp_path / "tagged.mp4", tmp_path / "tags.csv"
    assert faketagger("registry", "init") == 0
    capsys.readouterr()
    arguments = ("--owner=Zoë", "--crf=16", "--strength=1", f"--csv={table}", "--json")
    assert faketagger("tag", clip, tagged, *arguments) == 0
    payload = json.loads(capsys.readouterr().out)["payload"]
    assert payload in table.read_text()
    assert faketagger("trace", tagged, "--every=2", "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["payload"], row["record_owner"]) == (payload, "Zoë")
    assert row["record_file"] == str(tagged) and row["registered_payloads"] == 1
    assert faketagger("trace", tagged) == 0
    assert "owner 'Zoë'" in capsys.readouterr().out
    assert faketagger("registry", "check") == 0
    # Its own tag is found: a second one would erase it, and no payload is issued.
    again = tmp_path / "again.mp4"
    assert faketagger("tag", tagged, again) == 2
    assert "carries a tag already" in capsys.readouterr().err
    assert faketagger("registry", "list", "--json") == 0
    assert capsys.readouterr().out.count("\n") == 1


def forge_duration(path, target):
    """Writes an MP4 whose head declares half a year."""
    data = bytearray(pathlib.Path(path).read_bytes())
    for box in (b"mvhd", b"mdhd"):
        at = data.index(box) + 16  # Version and flags, two times, ticks a second.
        data[at + 4 : at + 8] = b"\xff\xff\xff\xf0"
    target.write_bytes(data)


def test_a_huge_declared_duration(faketagger, clip, tmp_path, capsys):
    forged, tagged = tmp_path / "forged.mp4", tmp_path / "tagged.mp4"
    forge_duration(clip, forged)
    assert faketagger("trace", forged, "--json") == 1
    assert json.loads(capsys.readouterr().out)["end"] < 1
    assert faketagger("tag", forged, tagged, "--crf=16", "--strength=1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 8


def test_one_frame(faketagger, tmp_path, capsys):
    clip = encode(tmp_path / "one.mp4", moving_face(), count=1)
    tagged = tmp_path / "tagged.mp4"
    arguments = ("--crf=14", "--strength=1", "--payload=7")
    assert faketagger("tag", clip, tagged, *arguments) == 0
    capsys.readouterr()
    assert faketagger("trace", tagged, "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["payload"], row["looks"]) == ("0x00000007", 1)


def test_files_that_are_no_clips(faketagger, tmp_path, capsys):
    """One sentence each, whatever the command, and nothing is left behind."""
    sound, text, empty = (tmp_path / f"{n}.mp4" for n in ("sound", "text", "empty"))
    with av.open(str(sound), "w") as output:
        stream = output.add_stream("aac", rate=48000)
        heard = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), "fltp", "mono"
        )
        heard.sample_rate = 48000
        output.mux(stream.encode(heard))
        output.mux(stream.encode(None))
    text.write_text("no clip at all " * 99)
    empty.write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    files = sorted(tmp_path.iterdir())
    for name, sentence in (
        (sound, "no moving picture"),
        (text, "cannot be read"),
        (empty, "cannot be read"),
    ):
        for command in ("tag", "trace", "deepfake"):
            target = [] if command == "trace" else [tmp_path / "out" / "b.mp4"]
            assert faketagger(command, name, *target) == 2
            error = capsys.readouterr().err
            assert sentence in error and error.count("\n") == 1, (command, name)
    assert faketagger("trace", sound, text) == 2
    assert "2 of 2 files failed" in capsys.readouterr().err
    left = [p for p in sorted(tmp_path.iterdir()) if p.name != "out"]
    assert left == files
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_an_interrupted_run(tmp_path):
    """Ctrl-C in the middle of a long clip, in a process of its own."""
    clip = encode(tmp_path / "long.mp4", flat, count=1500)
    command = [sys.executable, "-m", "faketagger_tf", "tag"]
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*command, clip, str(out / "b.mp4"), "--strength=1"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # What is started in the background by a shell ignores it otherwise.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # The file is begun once frames are being changed.
    while process.poll() is None and not (out.exists() and list(out.iterdir())):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.decode().splitlines()[-1].endswith("Interrupted.")
    assert list(out.iterdir()) == []


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
