import json

import numpy as np

from faketagger_tf.photos import read_photo, write_image
from faketagger_tf.tagging.tagger import Tagger


def test_annotate_draws_on_the_photo(faketagger, tmp_path, photo):
    tagged, picture = tmp_path / "tagged.png", tmp_path / "picture.png"
    faketagger("tag", photo, tagged, "--payload=1")
    assert faketagger("trace", tagged, f"--annotate={picture}") == 0
    change = (read_photo(picture) != read_photo(tagged)).any(2).mean()
    assert 0.005 < change < 0.3
    assert faketagger("trace", tagged, f"--annotate={picture}") == 2
    folder = tmp_path / "pictures"
    faketagger("trace", tagged, photo, f"--annotate={folder}")
    assert len(list(folder.iterdir())) == 2


def test_canvas_and_pictures(faketagger, tmp_path, photo, capsys):
    tagged = tmp_path / "tagged.png"
    assert faketagger("tag", photo, tagged, "--payload=7") == 0
    canvas, picture = tmp_path / "new" / "canvas.png", tmp_path / "more" / "read.png"
    assert (
        faketagger("trace", tagged, f"--canvas={canvas}", f"--annotate={picture}") == 0
    )
    assert read_photo(canvas).shape == (128, 128, 3)
    assert read_photo(picture).shape == read_photo(tagged).shape
    assert faketagger("trace", tagged, f"--canvas={canvas}") == 2
    assert "exists" in capsys.readouterr().err
    assert faketagger("trace", tagged, tagged, f"--canvas={tmp_path / 'c.png'}") == 2
    for folder in ("a", "a_b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    for name in ("a/b_c.png", "a_b/c.png"):
        (tmp_path / "in" / name).write_bytes(tagged.read_bytes())
    assert faketagger("trace", tmp_path / "in", f"--annotate={tmp_path / 'out'}") == 0
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2


def test_files_may_stand_among_the_flags(
    faketagger, tmp_path, photo, capsys, monkeypatch
):
    tagged = tmp_path / "-tagged.png"
    assert faketagger("tag", photo, tagged, "--payload=7") == 0
    capsys.readouterr()
    assert faketagger("trace", photo, "--json", tagged, "--jobs", "2", photo) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["found"] for row in rows] == [False, True, False]
    monkeypatch.chdir(tmp_path)
    assert faketagger("trace", photo, "--all", photo, "--", "-tagged.png") == 0
    assert "payload 0x00000007" in capsys.readouterr().out


def test_damaged_evidence_is_read_with_a_note(faketagger, tmp_path, photo, capsys):
    tagged = tmp_path / "tagged.jpg"
    assert faketagger("tag", photo, tagged, "--payload=7") == 0
    tagged.write_bytes(tagged.read_bytes()[:-2])
    capsys.readouterr()
    table = tmp_path / "t.csv"
    assert faketagger("trace", tagged, "--json", f"--csv={table}") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["payload"] == "0x00000007" and "without its end" in row["notes"][0]
    assert "without its end" in table.read_text()
    assert faketagger("trace", tagged) == 0
    assert "(truncated or without its end" in capsys.readouterr().out
    # Only `tag` needs a whole file.
    assert faketagger("tag", tagged, tmp_path / "o.jpg", "--retag") == 2


def test_folders_are_traced_in_every_format(faketagger, tmp_path, photo, capsys):
    folder = tmp_path / "suspects"
    for extension in (".png", ".tif", ".avif", ".webp"):
        out = folder / f"a{extension}"
        assert faketagger("tag", photo, out, "--payload=7") == 0
    (folder / "b.jxl").write_bytes(b"?")
    capsys.readouterr()
    assert faketagger("trace", folder) == 0
    shown = capsys.readouterr()
    assert shown.out.count("payload 0x00000007") == 4
    assert "1 entries" in shown.err and ".jxl" in shown.err


def test_a_mirrored_copy_is_said_so(photo, tmp_path, faketagger, capsys):
    tagged, copy = str(tmp_path / "tagged.png"), str(tmp_path / "copy.png")
    assert faketagger("tag", photo, tagged, "--payload=1F2E3D4C") == 0
    write_image(copy, np.ascontiguousarray(read_photo(tagged)[:, ::-1]))
    capsys.readouterr()
    assert faketagger("trace", copy, tagged) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "0x1F2E3D4C" in first and first.endswith("bits corrected  mirrored")
    assert "0x1F2E3D4C" in second and second.endswith("bits corrected")


def test_quick_reads_tags_and_searches_nothing(
    photo, tmp_path, faketagger, capsys, monkeypatch
):
    tagged = str(tmp_path / "tagged.png")
    assert faketagger("tag", photo, tagged, "--payload=1F2E3D4C") == 0
    read, looks = Tagger._read_at, []

    def count(self, pixels, canvases, *arguments):
        looks.extend(canvases)
        return read(self, pixels, canvases, *arguments)

    monkeypatch.setattr(Tagger, "_read_at", count)
    capsys.readouterr()
    assert faketagger("trace", "--quick", tagged) == 0
    assert "0x1F2E3D4C" in capsys.readouterr().out
    looks.clear()
    assert faketagger("trace", "--quick", photo) == 1
    # Whole and tight, both ways; the centred square, both ways.
    assert len(looks) <= 6
    looks.clear()
    assert faketagger("trace", photo) == 1, "the next command searches again"
    assert len(looks) > 50
