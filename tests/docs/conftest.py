import os
import sys

import pytest
import support


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
