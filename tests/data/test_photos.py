import collections

import cv2
import numpy as np
import pytest

from faketagger_tf.data import photos
from faketagger_tf.photos import codec as images


def save(path, seed=0, size=(40, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, [*size, 3], np.uint8)
    images.write_image(path, cv2.GaussianBlur(noise, (0, 0), 2))


def touch(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_csv_is_found_and_read(tmp_path):
    touch(tmp_path, ["a.jpg", "b.jpg"])
    (tmp_path / "list.csv").write_text(
        "file,person,split,width,height,face_x,face_y,face_w,face_h\n"
        "a.jpg,P1,train,100,120,10.5,20,50,50\n"
        "b.jpg,P2,test,100,120,,,,\n"
    )
    found = photos.find_photos(tmp_path)
    assert [p.person for p in found] == ["P1", "P2"]
    assert found[0].box == (10.5, 20, 50, 50) and found[1].box is None
    assert found[0].path == str(tmp_path / "a.jpg")
    assert [p.person for p in photos.find_photos(tmp_path, "test")] == ["P2"]
    again = photos.find_photos("", csv=tmp_path / "list.csv")
    assert again == found
    with pytest.raises(ValueError, match="validation"):
        photos.find_photos(tmp_path, "validation")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,who\na,b\n", "columns file and person"),
        ("file,person,split\na.jpg,P,dev\n", "Line 2"),
        ("file,person,split\na.jpg,P,train\nb.jpg,P,test\n", "one split only"),
        ("file,person,split\na.jpg,P,train\nb.jpg,Q,\n", "every photo or for none"),
        ("file,person,face_x,face_y,face_w,face_h\na,P,1,2,x,4\n", "four numbers"),
        ("file,person\n,P\n", "must name a file"),
        ("file,person\n", "at least one"),
    ],
)
def test_bad_csv_is_one_sentence(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        photos.find_photos(tmp_path)


def test_sub_folders_are_identities_in_every_split(tmp_path):
    touch(tmp_path, [f"{who}/{n}.jpg" for who in "XY" for n in range(20)])
    found = photos.find_photos(tmp_path)
    assert found.identities() == ["X", "Y"] == found.people()
    count = collections.Counter((p.identity, p.split) for p in found)
    for who in "XY":
        assert [count[who, s] for s in photos.SPLITS] == [16, 2, 2]


def test_many_people_are_split_by_person(tmp_path):
    touch(tmp_path, [f"p{who}/{n}.jpg" for who in range(50) for n in range(3)])
    splits = collections.defaultdict(set)
    for photo in photos.find_photos(tmp_path):
        splits[photo.person].add(photo.split)
    assert all(len(found) == 1 for found in splits.values())
    count = collections.Counter(next(iter(found)) for found in splits.values())
    assert [count[s] for s in photos.SPLITS] == [40, 5, 5]


def test_split_does_not_depend_on_the_place(tmp_path):
    for place in ("one", "two"):
        touch(tmp_path / place, [f"{n:03d}.jpg" for n in range(60)])
    first, second = (
        [(p.person, p.split) for p in photos.find_photos(tmp_path / place)]
        for place in ("one", "two")
    )
    assert first == second
    parts = [len(photos.find_photos(tmp_path / "one", s)) for s in photos.SPLITS]
    assert parts == [48, 6, 6]


def test_a_small_mixed_folder_has_every_split(tmp_path):
    touch(tmp_path, [f"{n}.jpg" for n in range(5)])
    count = collections.Counter(p.split for p in photos.find_photos(tmp_path))
    assert count == {"train": 3, "validation": 1, "test": 1}


def test_mixed_folder_has_no_identity(tmp_path):
    touch(tmp_path, ["a.jpg", "b.png", "more/a.jpg"])
    found = photos.find_photos(tmp_path)
    assert found.identities() == []
    assert found.people() == ["a", "b", "more/a"]


def test_missing_or_empty_folder(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        photos.find_photos(tmp_path / "none")
    with pytest.raises(ValueError, match="at least one"):
        photos.find_photos(tmp_path)
    touch(tmp_path, ["a.jpg"])
    with pytest.raises(ValueError, match="split must be"):
        photos.find_photos(tmp_path, "dev")


def people(count):
    return photos.PhotoSet(
        tuple(
            photos.Photo(f"{who}{k}.jpg", f"p{who:02d}")
            for who in range(count)
            for k in "ab"
        )
    )


def test_groups_are_disjoint_and_deterministic():
    grouped = photos.group_people(people(11), 3, seed=5)
    assert grouped.identities() == ["A", "B", "C"]
    members = [set(grouped.of_identity(g).people()) for g in "ABC"]
    assert [len(m) for m in members] == [3, 3, 3]
    assert len(set.union(*members)) == 9
    assert grouped == photos.group_people(people(11), 3, seed=5)
    assert grouped != photos.group_people(people(11), 3, seed=6)
    assert len(photos.group_people(people(11), 2, 4)) == 16
    with pytest.raises(ValueError, match="more people"):
        photos.group_people(people(3), 2, 2)


def test_load_canvases_skips_and_names_bad_files(tmp_path):
    for n in range(4):
        save(tmp_path / f"{n}.png", n)
    (tmp_path / "2.png").write_bytes(b"")
    found = photos.find_photos(tmp_path)
    canvases, kept, skipped = photos.load_canvases(found, 32, margin=0.25)
    assert canvases.shape == (3, 40, 40, 3) and canvases.dtype == np.uint8
    assert [p.person for p in kept] == ["0", "1", "3"]
    assert [path for path, _ in skipped] == [str(tmp_path / "2.png")]
    assert "empty" in skipped[0][1]
    for canvas, photo in zip(canvases, kept, strict=True):
        np.testing.assert_array_equal(canvas, photos.read_canvas(photo, 32, 1.9, 0.25))
    with pytest.raises(ValueError, match="None of the 1 photos"):
        photos.load_canvases(photos.PhotoSet((found[2],)), 32)


def test_middle_of_a_margin_is_the_canvas(tmp_path):
    save(tmp_path / "a.png", 1, (200, 200))
    photo = photos.Photo(str(tmp_path / "a.png"), "a", box=(75, 80, 40, 40))
    wide = photos.read_canvas(photo, 64, 1.6, margin=0.25)
    plain = photos.read_canvas(photo, 64, 1.6)
    assert wide.shape == (80, 80, 3)
    assert np.abs(wide[8:72, 8:72].astype(int) - plain).max() <= 2
