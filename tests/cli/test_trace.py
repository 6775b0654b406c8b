import json

from faketagger_tf.photos import read_photo


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
