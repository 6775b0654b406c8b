import json
import os
import pathlib
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import support

from faketagger_tf.photos import read_photo, write_image
from faketagger_tf.registry import Record, open_registry
from faketagger_tf.registry.access import check_key
from faketagger_tf.registry.reader import COLUMNS


@pytest.fixture
def url(tmp_path, faketagger, monkeypatch, capsys):
    """A registry that the environment names; the current folder is a new one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKETAGGER_REGISTRY", "sqlite:///tags.db")
    assert faketagger("registry", "init") == 0
    assert capsys.readouterr().out == "sqlite:///tags.db  ready\n"
    return "sqlite:///tags.db"


def rows(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_from_tag_to_record(faketagger, url, photo, capsys):
    assert faketagger("tag", photo, "out.png", "--owner=Zoë", "--note=a\nb") == 0
    capsys.readouterr()
    assert faketagger("trace", "out.png", photo, "--json", "--csv=t.csv") == 0
    found, none = rows(capsys)
    assert tuple(found) == tuple(none) == COLUMNS
    assert found["found"] and found["verdict"] == "same photo"
    assert found["registered_payloads"] == none["registered_payloads"] == 1
    assert found["registered_p_value"] < 1e-6 < none["registered_p_value"]
    assert (found["record_file"], found["record_owner"]) == ("out.png", "Zoë")
    assert not none["found"] and none["record_file"] is None
    table = pathlib.Path("t.csv").read_text("utf-8")
    assert table.splitlines()[0] == ",".join(COLUMNS)
    assert faketagger("trace", "out.png") == 0
    line = capsys.readouterr().out
    assert "same photo  of 'out.png'  owner 'Zoë'" in line and "among 1" in line

    payload = found["payload"]
    short = payload.removeprefix("0x").lstrip("0").lower()
    for form in (payload, payload[2:], short):
        assert faketagger("registry", "show", form) == 0
        assert payload in capsys.readouterr().out
    assert faketagger("registry", "show", payload, "--json", "--thumbnail=s.jpg") == 0
    (record,) = rows(capsys)
    assert record["note"] == "a\nb" and record["state"] == "written"
    assert read_photo("s.jpg").shape == (256, 256, 3)
    assert faketagger("registry", "list", "--owner=Zoë", "--json") == 0
    assert rows(capsys)[0]["payload"] == payload
    assert faketagger("registry", "list", "--since=2999-01-01") == 0
    assert faketagger("registry", "list", "--owner=nobody") == 0
    assert capsys.readouterr().out == ""
    assert faketagger("registry", "revoke", payload) == 0
    assert faketagger("trace", "out.png") == 0
    assert "revoked 20" in capsys.readouterr().out


def test_without_a_registry_nothing_is_recorded(faketagger, url, photo, capsys):
    assert faketagger("tag", photo, "out.png", "--registry=", "--json") == 0
    (row,) = rows(capsys)
    assert faketagger("trace", "out.png", "--registry=", "--json") == 0
    assert "registered_p_value" not in rows(capsys)[0]
    assert faketagger("trace", "out.png") == 0
    assert "no record" in capsys.readouterr().out
    assert faketagger("registry", "list") == 0
    assert row["payload"] not in capsys.readouterr().out


def test_a_payload_that_is_asked_for(faketagger, url, photo, tmp_path, capsys):
    flags = ("--payload=1F", "--nothumbnail")
    assert faketagger("tag", photo, "one.png", *flags) == 0
    assert faketagger("tag", photo, "two.png", *flags) == 2
    assert "taken" in capsys.readouterr().err and not os.path.exists("two.png")
    assert faketagger("registry", "show", "1F", "--thumbnail=s.jpg") == 2
    assert "has no thumbnail" in capsys.readouterr().err
    os.mkdir("in")
    write_image("in/a.png", read_photo(photo))
    assert faketagger("tag", "in", "out", *flags) == 2
    assert "a payload of its own" in capsys.readouterr().err


def test_a_folder_goes_on_where_it_stopped(faketagger, url, photo, capsys):
    for name in ("a.png", "b.jpg", "c.png", "d.png"):
        write_image(f"in/{name}", read_photo(photo))
    assert faketagger("tag", "in", "out", "--jobs=2") == 0
    with open_registry(url) as registry:
        first = {record.file: record.payload for record in registry.find()}
        assert sorted(first) == [f"out/{n}" for n in sorted(os.listdir("in"))]
        assert len(set(first.values())) == 4
    os.remove("out/b.jpg")
    os.remove("out/d.png")
    os.mkdir("out/d.png")
    write_image("out/c.png", read_photo(photo))  # Somebody else's.
    kept = pathlib.Path("out/a.png").read_bytes()
    capsys.readouterr()
    assert faketagger("tag", "in", "out") == 2
    error = capsys.readouterr().err
    assert "1 files were there already" in error
    assert "'out/c.png' exists and has no record" in error
    assert "'out/d.png' exists and has no record" in error
    assert os.path.exists("out/b.jpg")
    assert pathlib.Path("out/a.png").read_bytes() == kept
    assert faketagger("registry", "check") == 1
    out = capsys.readouterr().out
    # The two old records of files that are others now.
    assert out.count("changed") == 2 and out.count("unreadable") == 1
    os.rmdir("out/d.png")
    assert faketagger("tag", "in", "out", "--overwrite") == 0


def test_export_and_import(faketagger, url, photo, capsys):
    assert faketagger("tag", photo, "out.png") == 0
    assert faketagger("registry", "export", "tags.jsonl") == 0
    assert faketagger("registry", "export", "tags.jsonl") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert faketagger("registry", "import", "tags.jsonl") == 0
    assert "0 records stored, 1 were there already" in capsys.readouterr().out
    other = "--registry=sqlite:///other.db"
    assert faketagger("registry", "init", other) == 0
    assert faketagger("registry", "import", "tags.jsonl", other) == 0
    assert "1 records stored" in capsys.readouterr().out
    assert faketagger("registry", "check", other) == 0
    for name, data in (("bad", b"{}"), ("binary", b"\xff")):
        pathlib.Path(name).write_bytes(data)
        assert faketagger("registry", "import", name, other) == 2
    assert faketagger("registry", "import", "none", other) == 2
    error = capsys.readouterr().err
    assert error.count("Error: ") == 3 and "Line 1 cannot be imported" in error
    assert "it is not UTF-8" in error and "No such file" in error


def test_reclaim(faketagger, url, capsys):
    with open_registry(url) as registry:
        registry.reserve(Record(preset="p", file="never.png"), 32)
    assert faketagger("registry", "check", "--json") == 1
    assert rows(capsys)[0]["kind"] == "reserved"
    assert faketagger("registry", "reclaim") == 0
    assert "0 records completed, 0 abandoned" in capsys.readouterr().out
    assert faketagger("registry", "reclaim", "--age=0") == 0
    assert "0 records completed, 1 abandoned" in capsys.readouterr().out
    assert faketagger("registry", "check") == 0


def test_keys(faketagger, url, capsys):
    add = ("registry", "keys", "add", "--name=Zoë")
    assert faketagger(*add, "--scope=trace, tag") == 0
    out, err = capsys.readouterr()
    key = out.strip()
    assert "not shown again" in err
    with open_registry(url) as registry:
        assert check_key(registry, key, "tag").name == "Zoë"
    assert faketagger("registry", "keys", "list", "--json") == 0
    (row,) = rows(capsys)
    assert row["name"] == "Zoë" and row["scopes"] == ["trace", "tag"]
    assert row["revoked"] is None
    assert faketagger("registry", "keys", "revoke", "Zoë") == 0
    assert faketagger("registry", "keys", "list") == 0
    assert "'Zoë'  trace, tag" in capsys.readouterr().out
    with open_registry(url) as registry:
        assert check_key(registry, key, "tag") is None
    for flags in ((), ("--scope=write",), ("--scope=tag",)):
        assert faketagger(*add, *flags) == 2
    assert capsys.readouterr().err.count("Error: ") == 3


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("registry",), "An action must be given"),
        (("registry", "keys"), "An action must be given"),
        (("registry", "shwo"), "Did you mean 'show'?"),
        (("registry", "keys", "ad"), "Did you mean 'add'?"),
        (("registry", "show"), "PAYLOAD"),
        (("registry", "show", "xyz"), "must be an integer, a hexadecimal string"),
        (("registry", "show", "12345678"), "no record of that payload"),
        (("registry", "revoke", "12345678"), "no record of that payload"),
        (("registry", "list", "--sinse=1"), "Did you mean '--since'?"),
        (("registry", "list", "--since=soon"), "must be a date or time"),
        (("registry", "list", "extra"), "An argument too many"),
        (("registry", "list", "--registry=sqlite:///no.db"), "holds no registry yet"),
        (("registry", "list", "--registry=mysql://x/y"), "SQLite file or a PostgreSQL"),
        (("registry", "list", "--registry="), "--registry must be given"),
        (("tag", "photo.png", "o.png", "--registry=tags.db"), "not a registry's URL"),
        (("trace", "photo.png", "--registry=sqlite:///no.db"), "registry init"),
    ],
)
def test_mistakes(faketagger, url, photo, capsys, arguments, sentence):
    assert faketagger(*arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "command", [["tag", "in.png", "out.png"], ["trace", "in.png"], ["registry", "list"]]
)
@pytest.mark.parametrize("blocked", ["sqlalchemy", "alembic", "imagehash"])
def test_without_its_packages(command, blocked, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    write_image(tmp_path / "in.png", noise)
    text = f"""
import os, sys
from faketagger_tf.cli import main
os.chdir({str(tmp_path)!r})
sys.exit(main.main(["faketagger", *{command!r}, "--registry=sqlite:///x.db"]))
"""
    run = support.run_without((blocked,), text)
    assert run.returncode == 2 and run.stderr.count("\n") == 1
    assert "needs the extra [registry]" in run.stderr and blocked in run.stderr
    assert not (tmp_path / "out.png").exists()


def command(*arguments):
    return [sys.executable, "-m", "faketagger_tf", *map(str, arguments)]


def test_a_killed_run_leaves_no_output_without_its_record(tmp_path, photo, url):
    """With the shipped preset, in processes of their own."""
    for number in range(10):
        write_image(f"in/{number}.png", read_photo(photo))
    arguments = command("tag", "in", "out", "--jobs=2")
    root = support.ROOT
    options = {"env": {**os.environ, "PYTHONPATH": str(root)}, "text": True}
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options
    )
    process.stdout.readline()  # The first photo is written.
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    rest = subprocess.run(arguments, capture_output=True, timeout=300, **options)
    assert rest.returncode == 0, rest.stderr
    assert "were there already" in rest.stderr
    # What the killed run had begun and not written is settled.
    done = subprocess.run(
        command("registry", "reclaim", "--age=0"), capture_output=True, **options
    )
    assert done.returncode == 0, done.stderr
    with open_registry(url) as registry:
        records = list(registry.find(state="written"))
        assert sorted(r.file for r in records) == [f"out/{n}.png" for n in range(10)]
        assert len({r.payload for r in records}) == 10
        assert list(registry.check()) == []


def test_a_read_only_registry(faketagger, url, photo, capsys):
    assert faketagger("tag", photo, "old.png") == 0
    read_only = "--registry=sqlite:///file:tags.db?mode=ro&uri=true"
    assert faketagger("trace", "old.png", read_only) == 0
    assert "same photo" in capsys.readouterr().out
    assert faketagger("tag", photo, "out.png", read_only) == 2
    error = capsys.readouterr().err
    assert "readonly database" in error and error.count("\n") == 1
    assert not os.path.exists("out.png")


def test_a_full_disk(tmp_path, photo, url):
    """Files may not grow beyond what the disk has left, which is too little here."""
    for number in range(6):
        write_image(f"in/{number}.jpg", read_photo(photo))
    os.mkdir("out")
    limit = os.path.getsize("tags.db") + 4096
    run = subprocess.run(
        command("tag", "in", "out", "--jobs=1"),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(support.ROOT)},
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert run.returncode == 2 and "Traceback" not in run.stderr
    written = os.listdir("out")
    assert run.stderr.count("Error: ") == 6 - len(written) > 0
    with open_registry(url) as registry:
        on_record = {record.file for record in registry.find(state="written")}
    assert {f"out/{name}" for name in written} <= on_record
