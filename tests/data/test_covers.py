import numpy as np
import pytest

from faketagger_tf.data import covers

CANVASES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", ["covers.npz", "covers.npy"])
def test_covers_round_trip(name, tmp_path):
    covers.write_covers(tmp_path / name, CANVASES)
    np.testing.assert_array_equal(covers.read_covers(tmp_path / name, 32), CANVASES)


def test_the_command_writes_canvases(tmp_path, monkeypatch):
    monkeypatch.setattr("faketagger_tf.data.load.DRAWN_COUNTS", {"train": 2})
    path = str(tmp_path / "new" / "covers.npz")
    covers.main(covers.CoversOptions(output=path, image_size=32))
    assert covers.read_covers(path, 32).shape == (4, 32, 32, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.npz", None, r"Cannot read the covers .*absent.npz'.*No such file"),
        ("covers.png", b"", r"must end in \.npz or \.npy.*covers.png"),
        ("text.npy", b"text", "Cannot read the covers .*text.npy"),
        ("text.npz", b"text", "Cannot read the covers .*text.npz"),
        ("side.npy", CANVASES[:, :16, :16], r"\[N, 32, 32, 3\].*uint8 \[3, 16, 16, 3"),
        ("kind.npy", CANVASES / 255, r"must be one array, uint8.*Received: float64"),
        ("none.npy", CANVASES[:0], r"Received: uint8 \[0, 32, 32, 3\]"),
        ("flat.npy", CANVASES[0], r"Received: uint8 \[32, 32, 3\]"),
    ],
)
def test_what_is_no_file_of_covers_is_named(name, content, message, tmp_path):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        np.save(tmp_path / name, content)
    with pytest.raises(ValueError, match=message):
        covers.read_covers(tmp_path / name, 32)


def test_two_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "two.npz", a=CANVASES, b=CANVASES)
    with pytest.raises(ValueError, match="Received: no single array"):
        covers.read_covers(tmp_path / "two.npz", 32)


FACES = {"A": CANVASES, "B": CANVASES[:2]}


def test_faces_round_trip_by_identity(tmp_path):
    covers.write_faces(tmp_path / "faces.npz", FACES, 1.9)
    read = covers.read_faces(tmp_path / "faces.npz", 32, 1.9)
    assert list(read) == ["A", "B"]
    for name, canvases in FACES.items():
        np.testing.assert_array_equal(read[name], canvases)


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        ({"A": CANVASES}, r"at least two identities.*--groups=2.*Received: 1"),
        ({"A": CANVASES, "B": CANVASES[:, 1:]}, r"Received: uint8 \[3, 31, 32, 3\]"),
    ],
)
def test_what_is_no_file_of_faces_is_named(faces, message, tmp_path):
    covers.write_faces(tmp_path / "faces.npz", faces, 1.9)
    with pytest.raises(ValueError, match=message):
        covers.read_faces(tmp_path / "faces.npz", 32, 1.9)


def test_faces_cut_otherwise_than_the_model_is_to_be_are_refused(tmp_path):
    covers.write_faces(tmp_path / "faces.npz", FACES, 1.25)
    with pytest.raises(ValueError, match=r"--canvas_scale=1.9.*Received: 1.25\."):
        covers.read_faces(tmp_path / "faces.npz", 32, 1.9)
    np.savez(tmp_path / "bare.npz", **FACES)
    with pytest.raises(ValueError, match=r"=1.9, .*a file that does not say"):
        covers.read_faces(tmp_path / "bare.npz", 32, 1.9)


def test_what_is_no_scale_is_no_scale(tmp_path):
    for scale in (np.array("wide"), np.ones(3)):
        np.savez(tmp_path / "odd.npz", **FACES, _canvas_scale=scale)
        with pytest.raises(ValueError, match=r"odd\.npz.*does not say"):
            covers.read_faces(tmp_path / "odd.npz", 32, 1.9)
    with pytest.raises(ValueError, match="No identity may be named '_canvas_scale'"):
        covers.write_faces(
            tmp_path / "own.npz", {**FACES, "_canvas_scale": CANVASES}, 1.9
        )


def test_faces_are_written_as_npz_alone(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.npz.*faces.npy"):
        covers.write_faces(tmp_path / "faces.npy", FACES, 1.9)
    with pytest.raises(ValueError, match=r"need --groups\. Received: 3 and 0"):
        covers.CoversOptions(output="x.npz", people_per_group=3)
    options = covers.CoversOptions(output=str(tmp_path / "faces.npy"), groups=2)
    with pytest.raises(ValueError, match=r"must end in \.npz"):
        covers.main(options)
