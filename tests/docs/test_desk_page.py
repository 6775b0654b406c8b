"""The commands of docs/desk.md, run as they stand there."""

import os
import re
import subprocess
import sys

import pytest
import support

from faketagger_tf.photos import read_photo
from faketagger_tf.registry import open_registry

PAGE = support.ROOT / "docs" / "desk.md"


@pytest.fixture
def environment(tmp_path):
    """`faketagger` and `python` are those of this run, in an otherwise empty folder."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in (("faketagger", "-m faketagger_tf "), ("python", "")):
        path = programs / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module}"$@"\n')
        path.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(support.ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def test_from_an_empty_folder_to_the_record(environment, tmp_path):
    (block,) = re.findall(r"```bash\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert block.count("\n") < 10
    folder = tmp_path / "empty"
    folder.mkdir()
    run = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", block],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    with open_registry(f"sqlite:///{folder}/tags.db") as registry:
        (record,) = registry.find()
    assert (record.state, record.owner) == ("written", "newsroom")
    (told,) = [line for line in run.stdout.splitlines() if line.startswith("fake.jpg")]
    assert f"payload {record.payload}" in told and "among 1" in told
    assert "face changed  of 'tagged.png'  owner 'newsroom'" in told
    shown = run.stdout.partition(told)[2]
    assert record.payload in shown and record.sha256_tagged in shown
    assert read_photo(folder / "source.jpg").shape == (256, 256, 3)
