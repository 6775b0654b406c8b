import pytest
from clips import encode


@pytest.fixture
def clip(tmp_path):
    return encode(tmp_path / "clip.mp4", sound=True, title="A title")
