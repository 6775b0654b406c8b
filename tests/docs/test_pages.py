"""Pages are finished: nothing that was to be filled in is left."""

import pytest
import support

PAGES = [
    *support.ROOT.glob("*.md"),
    *(support.ROOT / "docs").rglob("*.md"),
    *(support.ROOT / "faketagger_tf" / "weights").rglob("*.md"),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_nothing_is_left_to_be_filled_in(page):
    assert "@@" not in page.read_text("utf-8")
