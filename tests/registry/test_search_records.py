"""Searching records, in both databases."""

import pytest

from faketagger_tf.registry import Record


@pytest.fixture
def records(registry):
    texts = [("a.png", "Zoe", "100% hers"), ("B_c.jpg", "ZOE", "")]
    texts.append(("d.webp", "Al", ""))
    return [
        registry.reserve(Record(preset="p", file=file, owner=owner, note=note), 32)
        for file, owner, note in texts
    ]


def test_text_is_found_in_every_field_and_is_no_pattern(registry, records):
    def found(text):
        return [record.file for record in registry.search(text)]

    assert found("") == ["d.webp", "B_c.jpg", "a.png"]
    assert found("zoe") == ["B_c.jpg", "a.png"]
    assert found("b_C") == ["B_c.jpg"] and found("_") == ["B_c.jpg"]
    assert found("%") == ["a.png"] and found("0%h") == []
    assert found(records[2].payload[2:].lower()) == ["d.webp"]
    assert found("'; DROP TABLE records; --") == []


def test_pages(registry, records):
    (first,) = registry.search(limit=1)
    later = registry.search(before=(first.created, first.payload))
    assert [first, *later] == registry.search() == records[::-1]
