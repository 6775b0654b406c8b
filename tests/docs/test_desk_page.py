"""The commands of docs/desk.md, run as they stand there."""

import json
import re
import subprocess

import pytest
import support

from faketagger_tf.photos import read_photo
from faketagger_tf.provenance.claims import check_photo, read_claim
from faketagger_tf.registry import open_registry

PAGE = support.ROOT / "docs" / "desk.md"


def test_from_an_empty_folder_to_the_record(environment, tmp_path):
    walk, serve, ask = re.findall(
        r"```bash\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL
    )
    assert walk.count("\n") < 10
    folder = tmp_path / "empty"
    folder.mkdir()
    run = bash(walk, folder, environment)
    with open_registry(f"sqlite:///{folder}/tags.db") as registry:
        (record,) = registry.find()
    assert (record.state, record.owner) == ("written", "newsroom")
    (told,) = [line for line in run.stdout.splitlines() if line.startswith("fake.jpg")]
    assert f"payload {record.payload}" in told and "among 1" in told
    assert "face changed  of 'tagged.png'  owner 'newsroom'" in told
    shown = run.stdout.partition(told)[2]
    assert record.payload in shown and record.sha256_tagged in shown
    assert read_photo(folder / "source.jpg").shape == (256, 256, 3)
    claim = check_photo((folder / "tagged.png").read_bytes(), "image/png")
    assert check_photo((folder / "fake.jpg").read_bytes(), "image/jpeg") is None
    recovered = read_claim((folder / "source.c2pa").read_bytes())
    assert claim.sound and recovered == claim and claim.manifest_id in told
    check_desk(serve, ask, folder, environment, record, claim)


def bash(commands: str, folder, environment) -> subprocess.CompletedProcess:
    run = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", commands],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return run


def check_desk(serve: str, ask: str, folder, environment, record, claim) -> None:
    """The page's last commands, but for the port, which may be taken."""
    pytest.importorskip("fastapi", reason="pip install -r requirements-serving.txt")
    (command,) = serve.splitlines()
    environment = environment | {"FAKETAGGER_REGISTRY": "sqlite:///tags.db"}
    server = subprocess.Popen(
        ["bash", "-c", f"exec {command} --port=0"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = re.search(r"http://[\d.:]+/", server.stdout.readline()).group()
        assert ask.count("http://127.0.0.1:8000/") == 2
        ask = ask.replace("http://127.0.0.1:8000/", address)
        traced, matched = map(
            lambda line: json.loads(bash(line, folder, environment).stdout),
            ask.splitlines(),
        )
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()
    (reading,) = traced["readings"]
    assert reading["record"]["payload"] == record.payload
    assert reading["change"]["verdict"] == "face changed"
    assert reading["manifest"]["signer"] == claim.signer
    (match,) = matched["matches"]
    assert match["manifestId"] == reading["manifest"]["id"] == claim.manifest_id
