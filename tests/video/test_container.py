import os
import resource

import av
import numpy as np
import pytest
from clips import COUNT, HEIGHT, WIDTH, encode, flat, sound_packets

from faketagger_tf.video import container
from faketagger_tf.video.container import Clip, rewrite_clip


def unchanged(frames):
    yield from frames


def read(path):
    with Clip(path) as clip:
        frames = list(clip.frames())
        return frames, clip


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "libx265"),
        ("a.webm", "libvpx-vp9"),
        ("a.mkv", "libsvtav1"),
    ],
)
def test_every_codec_is_read(tmp_path, name, codec):
    frames, clip = read(encode(tmp_path / name, codec=codec, count=5))
    assert [frame.index for frame in frames] == list(range(5))
    assert np.allclose([frame.time for frame in frames], np.arange(5) / 25, atol=1e-3)
    assert clip.fault is None and (clip.width, clip.height) == (WIDTH, HEIGHT)
    # Colour of flat areas is off by rounding in 8-bit YUV and by the codec's own loss.
    difference = frames[2].pixels.astype(int) - flat(2)
    assert np.abs(difference[20:40, 20:60]).max() <= 8
    assert np.abs(difference[100:, 100:]).max() <= 8


@pytest.mark.parametrize("target", ["b.mp4", "b.mov", "b.mkv"])
def test_sound_title_and_colour_tags_stay(clip, tmp_path, target):
    target = tmp_path / target
    written = rewrite_clip(clip, target, unchanged)
    assert (written.frames, written.lost, written.fault) == (COUNT, [], None)
    assert sound_packets(target) == sound_packets(clip)
    with av.open(str(target)) as found:
        picture = found.streams.video[0].codec_context
        assert picture.name == "h264" and picture.pix_fmt == "yuv420p"
        assert int(picture.colorspace) == int(picture.color_primaries) == 1
        titles = {key.lower(): text for key, text in found.metadata.items()}
        assert titles["title"] == "A title"


def test_webm_is_vp9_and_says_what_it_cannot_hold(clip, tmp_path):
    written = rewrite_clip(clip, tmp_path / "b.webm", unchanged)
    assert written.lost == ["audio stream (aac)"]
    with av.open(str(tmp_path / "b.webm")) as found:
        assert [s.codec_context.name for s in found.streams] == ["vp9"]
    with pytest.raises(ValueError, match=r"--strict.*audio stream \(aac\)"):
        rewrite_clip(clip, tmp_path / "c.webm", unchanged, strict=True)
    assert not (tmp_path / "c.webm").exists()


def test_variable_times_stay(tmp_path):
    times = [0, 1, 2, 10, 11, 30, 31, 32, 33, 60]
    source = encode(tmp_path / "a.mp4", times=times, count=len(times))
    rewrite_clip(source, tmp_path / "b.mkv", unchanged)
    rewrite_clip(tmp_path / "b.mkv", tmp_path / "c.mp4", unchanged)
    for path in (source, tmp_path / "b.mkv", tmp_path / "c.mp4"):
        found = [frame.time for frame in read(path)[0]]
        assert np.allclose(found, np.array(times) / 25, atol=1e-3), path


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_is_applied(tmp_path, rotation):
    """The matrix of a display turns by `rotation` degrees counter-clockwise."""
    source = encode(tmp_path / "a.mp4", count=3, rotation=rotation)
    expected = np.rot90(flat(0), rotation // 90)
    rewrite_clip(source, tmp_path / "b.mp4", unchanged)
    for path in (source, tmp_path / "b.mp4"):
        frames, clip = read(path)
        assert (clip.height, clip.width) == expected.shape[:2]
        red = frames[0].pixels[..., 0].astype(int) - frames[0].pixels[..., 1]
        assert ((red > 100) == (expected[..., 0] > 200)).mean() > 0.99


def test_odd_sizes_get_a_line_more(tmp_path):
    source = encode(tmp_path / "a.mp4", count=2)

    def cropped(frames):
        for frame in frames:
            yield container.dataclasses.replace(frame, pixels=frame.pixels[:-1, :-1])

    rewrite_clip(source, tmp_path / "b.mp4", cropped)
    assert read(tmp_path / "b.mp4")[0][0].pixels.shape == (HEIGHT, WIDTH, 3)


def test_ten_bits_and_hdr_are_refused(tmp_path):
    deep = encode(tmp_path / "a.mp4", pix_fmt="yuv420p10le", codec="libx264", count=2)
    with pytest.raises(ValueError, match=r"8 bits a channel and no HDR\. Received: 10"):
        Clip(deep)
    bright = encode(tmp_path / "b.mp4", transfer=16, count=2)
    with pytest.raises(ValueError, match="Received: 8 bits, PQ"):
        Clip(bright)


def test_files_that_are_no_clips(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="does not exist"):
        Clip(tmp_path / "none.mp4")
    for name, data in {
        "empty.mp4": b"",
        "text.mp4": b"no clip at all " * 99,
        # A playlist would have FFmpeg open what it names.
        "list.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.mp4\n",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match="cannot be read"):
            Clip(tmp_path / name)
    with av.open(str(tmp_path / "sound.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=48000)
        heard = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), "fltp", "mono"
        )
        heard.sample_rate = 48000
        output.mux(stream.encode(heard))
        output.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"no moving picture.*holds audio"):
        Clip(tmp_path / "sound.mp4")
    old = encode(tmp_path / "old.mp4", codec="mpeg4", count=2)
    with pytest.raises(ValueError, match=r"Received: .mpeg4.\. Accepted: H\.264"):
        Clip(old)
    monkeypatch.setattr(container, "MAX_PIXELS", 100 * 100)
    with pytest.raises(ValueError, match="Received: 320x240"):
        Clip(encode(tmp_path / "large.mp4", count=1))


def test_frames_that_are_larger_than_declared_are_not_decoded(tmp_path, monkeypatch):
    """The limit is the decoder's own: no memory is taken for such a frame."""
    source = encode(tmp_path / "a.mkv", count=2)
    monkeypatch.setattr(container, "MAX_PIXELS", 200 * 200)
    monkeypatch.setattr(container, "_check_size", lambda width, height: None)
    with (
        Clip(source) as clip,
        pytest.raises(ValueError, match="No frame of the clip can be read"),
    ):
        next(clip.frames())


def test_sound_that_comes_long_before_the_picture(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(container, "MAX_WAITING", 100)
    with pytest.raises(ValueError, match=r"beside its frames. Received: \d+ bytes"):
        rewrite_clip(clip, tmp_path / "b.mp4", unchanged)
    assert not (tmp_path / "b.mp4").exists()


def test_one_frame(tmp_path):
    source = encode(tmp_path / "a.mp4", count=1)
    written = rewrite_clip(source, tmp_path / "b.mp4", unchanged)
    assert (written.frames, written.fault) == (1, None)
    assert len(read(tmp_path / "b.mp4")[0]) == 1


@pytest.mark.parametrize("ending", [".mkv", ".mp4"])
def test_a_truncated_clip_is_read_up_to_its_end(tmp_path, ending):
    def noise(index):
        rng = np.random.default_rng(index)
        return rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)

    source = encode(tmp_path / f"a{ending}", noise, count=40)
    # Written again, an MP4 has its index in front.
    whole = tmp_path / f"whole{ending}"
    rewrite_clip(source, whole, unchanged)
    cut = tmp_path / f"cut{ending}"
    cut.write_bytes(whole.read_bytes()[: os.path.getsize(whole) // 2])
    frames, clip = read(cut)
    assert 5 < len(frames) < 35
    assert "damaged at" in clip.fault and clip.fault.endswith(".")
    written = rewrite_clip(cut, tmp_path / "b.mp4", unchanged)
    assert written.frames == len(frames) and written.fault == clip.fault
    assert read(tmp_path / "b.mp4")[1].fault is None
    with pytest.raises(ValueError, match="damaged at"):
        rewrite_clip(cut, tmp_path / "c.mp4", unchanged, strict=True)
    assert not (tmp_path / "c.mp4").exists()


def test_damaged_bytes_never_raise_anything_else(clip, tmp_path):
    data = np.fromfile(clip, np.uint8)
    for seed in range(15):
        rng = np.random.default_rng(seed)
        damaged = data.copy()
        places = rng.integers(0, len(data), 30)
        damaged[places] = rng.integers(0, 256, 30)
        damaged.tofile(tmp_path / "d.mp4")
        try:
            read(tmp_path / "d.mp4")
        except ValueError as error:
            assert str(error).endswith(".")


def test_a_run_that_stops_leaves_no_file(clip, tmp_path):
    def stops(frames):
        for frame in frames:
            if frame.index == 10:
                raise KeyboardInterrupt
            yield frame

    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        rewrite_clip(clip, tmp_path / "out" / "b.mp4", stops)
    assert os.listdir(tmp_path / "out") == []


def test_a_full_disk(tmp_path):
    """Files may not grow beyond what the disk has left: 20,000 bytes here."""

    def noise(index):
        rng = np.random.default_rng(index)
        return rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)

    source = encode(tmp_path / "a.mp4", noise, count=5)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(ValueError, match="Cannot write"):
            rewrite_clip(source, tmp_path / "out" / "b.mp4", unchanged)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path / "out") == []


def test_memory_does_not_grow_with_length(tmp_path):
    """Of 600 frames of 230,400 bytes, 138 MB in all, a few are held at once."""
    source = encode(tmp_path / "a.mp4", count=600)
    rewrite_clip(source, tmp_path / "warm.mp4", lambda f: (x for x in f))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rewrite_clip(source, tmp_path / "b.mp4", unchanged)
    with Clip(source) as clip:
        assert sum(1 for _ in clip.frames()) == 600
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 60_000  # kB on Linux, where this runs; bytes on a Mac.


def test_bad_targets(clip, tmp_path):
    with pytest.raises(ValueError, match=r"OUT must end in one of .mp4"):
        rewrite_clip(clip, tmp_path / "b.avi", unchanged)
    with pytest.raises(ValueError, match="--crf must be from 0 to 51"):
        rewrite_clip(clip, tmp_path / "b.mp4", unchanged, crf=52)
    with pytest.raises(ValueError, match="--preset must be one of"):
        rewrite_clip(clip, tmp_path / "b.webm", unchanged, preset="fast")
