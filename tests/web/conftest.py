import json
import pathlib
import shutil
import subprocess

import pytest

WEB = pathlib.Path(__file__).parents[2] / "web"


@pytest.fixture(scope="session")
def node():
    """Runs Node.js with arguments and returns what it printed."""
    if not shutil.which("node"):
        pytest.skip("needs Node.js")

    def run(*arguments):
        done = subprocess.run(
            ["node", *map(str, arguments)],
            capture_output=True,
            text=True,
            # On a machine that does other work; alone it takes a tenth of that.
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def evaluate(node, tmp_path):
    """Evaluates an expression over names of a module of the page and a `job`."""

    def run(module, names, expression, job):
        path = tmp_path / "job.json"
        path.write_text(json.dumps(job))
        program = (
            f"import {{ {names} }} from {json.dumps((WEB / module).as_uri())};"
            "import { readFileSync } from 'node:fs';"
            f"const job = JSON.parse(readFileSync({json.dumps(str(path))}, 'utf8'));"
            f"console.log(JSON.stringify({expression}));"
        )
        return json.loads(node("--input-type=module", "-e", program))

    return run
