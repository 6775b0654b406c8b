"""A small library through Beam, in memory and in processes of its own.

Runs in the environment of requirements-beam.txt (`make test-beam`), without TensorFlow.
"""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib

import apache_beam as beam
import memory_files
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from faketagger_tf.cli import common
from faketagger_tf.cli.parser import Parser
from faketagger_tf.drawn import draw_photo, identity_from_seed
from faketagger_tf.photos import encode_image
from faketagger_tf.registry import RegistryError, init_registry, open_registry
from faketagger_tf.registry.reader import RegisteredReader
from faketagger_tf.tagging.file_jobs import TAG_COLUMNS, tag_file
from faketagger_tf.tagging.tagger import Tagger
from pipelines import photos, storage, tag, trace
from pipelines.command import direct_runner

ROOT = pathlib.Path(__file__).parents[2]
PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


def draw(seed: int, size: int = 256) -> np.ndarray:
    return draw_photo(identity_from_seed(seed), np.random.default_rng(seed), size)[0]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Five photos, one of them twice."""
    folder = tmp_path_factory.mktemp("library") / "photos"
    (folder / "more").mkdir(parents=True)
    for seed in range(4):
        (folder / f"p{seed}.jpg").write_bytes(encode_image(draw(seed), ".jpg", 95))
    (folder / "more" / "q.png").write_bytes(encode_image(draw(4), ".png"))
    shutil.copy(folder / "p0.jpg", folder / "more" / "twice.jpg")
    return folder


@pytest.fixture(scope="module")
def tagger():
    parser = Parser()
    common.add_tagger_flags(parser)
    return Tagger.load(parser.parse_args([]).tagger)


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:///{tmp_path}/tags.db"
    init_registry(url).close()
    return url


def lines(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def digest(path: str | os.PathLike) -> str:
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def bomb() -> bytes:
    """A PNG that says it has 10^10 pixels."""

    def chunk(name, content):
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def add_hostile(folder: pathlib.Path) -> set[str]:
    """Adds files that nothing can be done with; returns their paths."""
    sound = (folder / "p1.jpg").read_bytes()
    contents = {
        "empty.jpg": b"",
        "half.jpg": sound[: len(sound) // 2],
        "text.jpg": b"not a photo",
        "bomb.png": bomb(),
        "small.png": encode_image(np.zeros([8, 8, 3], np.uint8), ".png"),
        "P1.JPG": sound,  # Is p1.jpg on many disks.
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.jpg")
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(sound)
    (folder / "secret.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / ".hidden.jpg").write_bytes(b"not looked at")
    (folder / "notes.txt").write_bytes(b"not looked at")
    # Sorted, "P1.JPG" is the first of the two.
    names = (set(contents) - {"P1.JPG"}) | {"p1.jpg", "pipe.jpg", "secret.jpg"}
    return {str(folder / name) for name in names} | {str(folder / r"caf\xe9.jpg")}


def test_a_library_with_hostile_files(library, tagger, url, tmp_path, capsys):
    folder, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(library, folder)
    hostile = add_hostile(folder)
    code = tag.run([f"--input={folder}", f"--output={out}", f"--registry={url}"])
    assert code == 2
    said = capsys.readouterr().out
    assert "15 photos" in said and "5 tagged" in said and "1 copied" in said

    failed = lines(tmp_path / "out-report" / "failed.jsonl")
    assert {row["file"] for row in failed} == hostile and len(failed) == len(hostile)
    for row in failed:
        assert row["error"].endswith(".") and "\n" not in row["error"], row
        assert "Error:" not in row["error"], row  # A sentence, no exception's name.
    rows = lines(tmp_path / "out-report" / "rows.jsonl")
    good = {"P1.JPG", "p0.jpg", "p2.jpg", "p3.jpg", "more/q.png", "more/twice.jpg"}
    assert {row["file"] for row in rows} == {str(folder / name) for name in good}
    assert all(tuple(row) == TAG_COLUMNS for row in rows)
    inside = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert inside == good

    with open_registry(url) as registry:
        records = list(registry.find())
        assert len(records) == 5 and list(registry.check()) == []
        for row in rows:
            assert registry.show(row["payload"]).sha256_original == digest(row["file"])
    (by_hand,) = (row for row in rows if row["file"].endswith("p2.jpg"))
    # Nothing else tags in a pipeline than what tags a file.
    again = tmp_path / "again.jpg"
    row = tag_file(tagger, by_hand["file"], again, by_hand["payload"])
    assert again.read_bytes() == pathlib.Path(by_hand["output"]).read_bytes()
    assert row | {"output": by_hand["output"]} == by_hand


def test_a_killed_run_is_resumed(library, url, tmp_path):
    """In processes, which are killed once two of five photos are done."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pipelines.tag", f"--input={library}/**"]
    command += [f"--output={out}", f"--registry={url}", *PROCESSES]
    command += ["--faces-per-bundle=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        end = time.monotonic() + 600
        while len(list(out.rglob("*.*g"))) < 2:
            assert run.poll() is None, "it was over before it was killed"
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    before = {path: digest(path) for path in out.rglob("*.*g")}
    with open_registry(url) as registry:
        issued = {r.sha256_original: r.payload for r in registry.find()}
    assert 0 < len(before) < 6

    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for path, content in before.items():
        assert digest(path) == content
    rows = lines(tmp_path / "out-report" / "rows.jsonl")
    assert len(rows) == 6
    payloads = {digest(row["file"]): row["payload"] for row in rows}
    assert len(payloads) == 5 == len(set(payloads.values()))
    for photo, payload in issued.items():
        assert payloads[photo] == payload
    with open_registry(url) as registry:
        assert len(list(registry.find())) == 5 and list(registry.check()) == []


def test_trace_says_what_the_command_says(library, tagger, url, tmp_path, capsys):
    tagged = tmp_path / "out"
    arguments = [f"--input={library}/p[01].jpg", f"--output={tagged}"]
    assert tag.run([*arguments, f"--registry={url}", "--no-check"]) == 0
    shutil.copy(library / "p2.jpg", tagged / "untagged.jpg")
    shutil.copy(tagged / "p0.jpg", tagged / "P0.JPG")  # No output to collide with.
    half = (tagged / "p1.jpg").read_bytes()
    (tagged / "half.jpg").write_bytes(half[: len(half) * 9 // 10])
    (tagged / "text.jpg").write_bytes(b"no photo")
    report = tmp_path / "report"
    code = trace.run([f"--input={tagged}", f"--output={report}", f"--registry={url}"])
    assert code == 2
    rows = {row["file"]: row for row in lines(report / "rows.jsonl")}
    assert len(rows) == 5
    with open_registry(url) as registry:
        reader = RegisteredReader(tagger, registry)
        for path, row in rows.items():
            (expected,) = reader.trace_file(path, 1e-6)
            assert row == json.loads(json.dumps(expected))
    assert rows[str(tagged / "p0.jpg")]["record_file"] == str(tagged / "p0.jpg")
    assert (
        rows[str(tagged / "P0.JPG")]["payload"]
        == rows[str(tagged / "p0.jpg")]["payload"]
    )
    assert not rows[str(tagged / "untagged.jpg")]["found"]
    (failed,) = lines(report / "failed.jsonl")
    assert failed["file"] == str(tagged / "text.jpg")


def test_bundles_hold_alike_many_faces(tmp_path):
    """And the copies of a photo are in one of them."""
    faces = [draw(seed, 192) for seed in (3, 4, 5)]
    group = np.concatenate([np.concatenate(faces, 1)] * 2)
    (tmp_path / "group.png").write_bytes(encode_image(group, ".png"))
    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(encode_image(faces[0], ".png"))
    for number in range(3):
        photo = encode_image(draw(10 + number), ".png")
        (tmp_path / f"{number}.png").write_bytes(photo)
    seen = photos.count_faces((tmp_path / "group.png").read_bytes())
    assert seen >= 4
    assert photos.count_faces((tmp_path / "a.png").read_bytes()) == 1
    assert photos.count_faces(bomb()) == photos.FACES  # Without decoding it.

    def names(bundles):
        return [
            sorted([os.path.basename(path) for path, _, _ in group] for group in bundle)
            for bundle in bundles
        ]

    def check(bundles):
        found = [bundle for bundle in names(bundles) if bundle]
        assert sorted(group for bundle in found for group in bundle) == [
            ["0.png"],
            ["1.png"],
            ["2.png"],
            ["a.png", "b.png", "c.png", "d.png"],
            ["group.png"],
        ]
        for bundle in found:
            # The group photo weighs as much as all others may.
            weight = sum(seen if "group.png" in group else 1 for group in bundle)
            assert weight <= seen

    find = photos.FindPhotos((".png",), trace.no_output, faces=seen)
    options = PipelineOptions([])
    with beam.Pipeline(direct_runner(options), options) as pipeline:
        bundles, failed = pipeline | beam.Create([str(tmp_path)]) | find
        assert_that(bundles, check)
        everything = tuple(failed) | beam.Flatten()
        assert_that(everything, equal_to([]), label="no dead letter")


def test_a_registry_that_fails_is_no_dead_letter(tmp_path):
    """The photos are not to blame: their bundle is begun anew."""

    class Work(photos.WorkOnPhotos):
        def __init__(self, error):
            super().__init__()
            self.error = error

        def load(self):
            return None

        def work(self, loaded, data, path, output):
            raise self.error

    path = tmp_path / "a.jpg"
    path.write_bytes(b"a")
    bundle = [[(str(path), "", 1)]]
    broken = Work(RegistryError("The registry is gone."))
    broken.setup()
    with pytest.raises(RegistryError):
        list(broken.process(bundle))
    failing = Work(ValueError("The photo is odd."))
    failing.setup()
    (letter,) = failing.process(bundle)
    assert json.loads(letter.value)["error"] == "The photo is odd."


def test_an_object_store(library, url, capsys, monkeypatch):
    """Photos, outputs and the report, all of them in one."""
    monkeypatch.setattr(memory_files, "OBJECTS", objects := {})
    for name in ("p0.jpg", "more/q.png"):
        objects[f"mem://in/a/{name}"] = (library / name).read_bytes()
    objects["mem://in/a/text.jpg"] = b"no photo"
    objects["mem://in/other/p1.jpg"] = (library / "p1.jpg").read_bytes()
    command = ["--input=mem://in/a/**", "--output=mem://out", f"--registry={url}"]
    assert tag.run(command) == 2
    tagged = {name for name in objects if name.startswith("mem://out/")}
    assert tagged == {"mem://out/p0.jpg", "mem://out/more/q.png"}
    rows = objects["mem://out-report/rows.jsonl"].decode().splitlines()
    assert {json.loads(row)["output"] for row in rows} == tagged
    (failed,) = objects["mem://out-report/failed.jsonl"].decode().splitlines()
    assert json.loads(failed)["file"] == "mem://in/a/text.jpg"
    before = {name: objects[name] for name in tagged}
    assert tag.run(command) == 2
    assert "2 kept" in capsys.readouterr().out
    assert before == {name: objects[name] for name in tagged}

    assert tag.run(["--input=mem://none", *command[1:]]) == 2
    assert "names no photo" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"Cannot read the photo 'mem://none/a\.jpg'"):
        storage.read("mem://none/a.jpg")


def test_outputs_have_the_permissions_of_their_photos(tmp_path):
    photo, output = tmp_path / "photo.jpg", tmp_path / "out" / "tagged.jpg"
    photo.write_bytes(b"photo")
    photo.chmod(0o600)
    storage.write(str(output), b"tagged", photo=str(photo))
    assert output.stat().st_mode & 0o777 == 0o600
    assert storage.read(str(output)) == b"tagged"
    assert storage.read_if_there(str(tmp_path / "none.jpg")) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output=OUT"], "--input"),
        (["--input=IN"], "--output"),
        (["--input=IN", "--output=OUT"], "--registry must be given"),
        (["--input=IN", "--output=OUT", "--registry=redis://a"], "registry"),
        (["--input=IN", "--output=OUT", "--registry=NEW"], "registry init"),
        (["--input=IN", "--output=IN/tagged", "--registry=URL"], "outside"),
        (["--input=IN", "--output=OUT", "--registry=URL", "--promis=web"], "--promise"),
        (["--input=IN", "--output=OUT", "--registry=URL", "--extension=.gif"], ".png"),
        (["--input=NONE", "--output=OUT", "--registry=URL"], "no photo"),
        (["--input=x9://a", "--output=OUT", "--registry=URL"], "no filesystem for x9"),
        (
            ["--input=IN", "--output=OUT", "--registry=URL", "--runner=Nobody"],
            "runner",
        ),
    ],
)
def test_mistakes_are_one_sentence(arguments, message, library, url, tmp_path, capsys):
    places = {
        "IN": str(library),
        "OUT": str(tmp_path / "out"),
        "NONE": str(tmp_path / "none"),
        "NEW": f"sqlite:///{tmp_path}/new.db",
        "URL": url,
    }
    given = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        word, slash, rest = value.partition("/")
        given.append(f"{name}={places.get(word, word)}{slash}{rest}")
    assert tag.run(given) == 2
    said = capsys.readouterr().err.strip().splitlines()
    (sentence,) = [line for line in said if line.startswith("Error:")]
    assert message in sentence
