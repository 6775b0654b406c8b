import doctest
import os
import pathlib
import stat
import subprocess
import sys
from concurrent import futures

import pytest

from faketagger_tf import files
from faketagger_tf.files import find_files, make_folder, write_atomic


def test_examples_run():
    assert doctest.testmod(files).failed == 0


def test_text_bytes_and_a_function(tmp_path):
    path = tmp_path / "new" / "folders" / "note.txt"
    write_atomic(path, "grüße\n")
    assert path.read_bytes() == "grüße\n".encode()
    write_atomic(path, b"\0\1")
    assert path.read_bytes() == b"\0\1"
    seen = []

    def write(temporary):
        seen.append(temporary)
        pathlib.Path(temporary).write_text("by a function")
        assert path.read_bytes() == b"\0\1"  # The old file stands until the end.

    write_atomic(path, write)
    assert path.read_text() == "by a function"
    assert seen[0].endswith("note.txt") and not os.path.exists(seen[0])
    assert os.listdir(path.parent) == ["note.txt"]


@pytest.mark.parametrize("content", [3, lambda path: 1 / 0])
def test_a_failed_write_keeps_the_old_file(tmp_path, content):
    path = tmp_path / "report.json"
    write_atomic(path, "old")
    with pytest.raises((TypeError, ZeroDivisionError)):
        write_atomic(path, content)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    write_atomic(path, "old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ValueError, match=r"Cannot write .*: No space left on device\."):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"]


def test_bad_folders_are_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is not a folder"):
        write_atomic(tmp_path / "file" / "report.json", "text")
    with pytest.raises(ValueError, match="Cannot make the folder"):
        make_folder(tmp_path / "file" / "deeper" / "report.json")
    with pytest.raises(ValueError, match="Cannot write"):
        write_atomic(tmp_path, "a folder stands there")


def test_the_longest_name_is_written(tmp_path):
    path = tmp_path / ("n" * 251 + ".txt")
    write_atomic(path, "long")
    assert path.read_text() == "long"


def test_permissions_are_those_of_any_new_file(tmp_path):
    """A process of its own: the umask belongs to a whole process."""
    program = (
        "import os, sys; os.umask(int(sys.argv[2], 8));"
        "from faketagger_tf.files import write_atomic;"
        "write_atomic(sys.argv[1], 'text')"
    )
    for mask, mode in (("022", 0o644), ("077", 0o600), ("002", 0o664)):
        path = tmp_path / mask
        subprocess.run([sys.executable, "-c", program, str(path), mask], check=True)
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_many_threads_leave_the_umask_alone(tmp_path, monkeypatch):
    """Asking for the umask changes it; two threads that do so can leave it 0."""
    before = os.umask(0o027)
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("The umask was changed."))
    try:
        with futures.ThreadPoolExecutor(16) as pool:
            jobs = [
                pool.submit(write_atomic, tmp_path / f"{i % 40}", bytes([i % 256]) * 99)
                for i in range(400)
            ]
            for job in jobs:
                job.result()
    finally:
        monkeypatch.undo()
        after = os.umask(before)
    assert after == 0o027
    written = list(tmp_path.iterdir())
    assert len(written) == 40
    for path in written:
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        content = path.read_bytes()
        assert len(content) == 99 and len(set(content)) == 1  # One writer's, whole.


def test_what_a_folder_holds(tmp_path):
    for name in ("b.JPG", "a.png", "x/c.webp", "notes.txt", ".hidden.png", ".d/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "x" / "up").symlink_to("..")
    (tmp_path / "z.png").symlink_to("a.png")
    found = find_files(tmp_path, (".jpg", ".png", ".webp"))

    def short(paths):
        return [os.path.relpath(path, tmp_path) for path in paths]

    assert short(found.paths) == [
        "a.png",
        "b.JPG",
        os.path.join("x", "c.webp"),
        "z.png",
    ]
    assert short(found.others) == ["notes.txt"]
    assert short(found.links) == [os.path.join("x", "up")]
    assert found.unreadable == []
    (tmp_path / "link").symlink_to(tmp_path / "x")
    assert len(find_files(tmp_path / "link", [".webp"]).paths) == 1
    with pytest.raises(ValueError, match="does not exist"):
        find_files(tmp_path / "none", [".png"])


def test_folders_that_cannot_be_listed_are_named(tmp_path, monkeypatch):
    (tmp_path / "secret").mkdir()
    (tmp_path / "a.png").write_bytes(b"")
    real = os.scandir

    def scandir(path):
        # Simulated, because root may list every folder.
        if os.fspath(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = find_files(tmp_path, [".png"])
    assert found.unreadable == [str(tmp_path / "secret")]
    assert len(found.paths) == 1
