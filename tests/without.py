"""Runs programs as where packages are not installed."""

import subprocess
import sys

TRAINING = ("tensorflow", "keras", "h5py", "mtcnn", "joblib", "tensorboard")
# Makes `import` of the named packages fail.
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def program(blocked: tuple[str, ...], text: str) -> str:
    """Returns a program's text, in front of it what keeps packages from it."""
    return BLOCKER.format(blocked=blocked) + text


def run(blocked: tuple[str, ...], text: str, *arguments) -> subprocess.CompletedProcess:
    """Runs a program's text with arguments in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program(blocked, text), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
