"""docs/algorithm.md says what the code and docs/results.md say."""

import json
import re

import jsonschema
import support

from faketagger_tf.presets import load_config, load_presence
from faketagger_tf.provenance.binding import algorithm_name
from faketagger_tf.tagging.tagger import FPR, MIN_CANVAS, MIN_READ, MIN_SIDE

DOCS = support.ROOT / "docs"
PAGE = (DOCS / "algorithm.md").read_text("utf-8")
TEXT = {"type": "string", "minLength": 1}
ENTRY = {
    "type": "object",
    "required": ["identifier", "alg", "type", "decodedMediaTypes", "entryMetadata"],
    "additionalProperties": False,
    "properties": {
        "identifier": {"type": "integer", "minimum": 0},
        "alg": {"type": "string", "pattern": r"^[a-z0-9-]+(\.[A-Za-z0-9_-]+)+$"},
        "type": {"enum": ["watermark", "fingerprint"]},
        "decodedMediaTypes": {"type": "array", "items": {"const": "image"}},
        "entryMetadata": {
            "type": "object",
            "required": ["description", "dateEntered", "contact", "informationalUrl"],
            "additionalProperties": False,
            "properties": {
                "description": TEXT,
                "dateEntered": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT"},
                "contact": TEXT,
                "informationalUrl": {"type": "string", "pattern": "^https://"},
            },
        },
        "softBindingResolutionApis": {"type": "array", "items": TEXT},
    },
}


def tables(text: str) -> list[list[str]]:
    """The tables of a page, each as its lines."""
    blocks = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    return [block.strip().splitlines() for block in blocks]


def test_the_entry_is_one_for_the_list():
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    entry = json.loads(block)
    jsonschema.validate(entry, ENTRY)
    assert entry["alg"] == algorithm_name("face128")
    assert algorithm_name("face128", keyed=True) in PAGE


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_figures_are_those_of_the_results():
    """Each row is the end of a row of one table there, the titles too."""
    results = tables((DOCS / "results.md").read_text("utf-8"))
    (own,) = [table for table in tables(PAGE) if "what happened" in table[0]]
    rows = [cells(line) for line in own if not line.startswith("|---")]
    assert len(rows) > 10 and len(rows[0]) == 5

    def holds(table) -> bool:
        there = {cells(line)[0]: cells(line)[1:] for line in table}
        return all(there.get(first, [])[-len(rest) :] == rest for first, *rest in rows)

    assert any(map(holds, results))


def test_what_is_marked_is_what_the_preset_does():
    config = load_config("face128")
    assert f"{config.payload_bits} bits of payload" in PAGE
    assert f"{config.crc_bits} bits of checksum" in PAGE
    assert f"extended to {config.message_bits} bits" in PAGE
    assert f"{config.canvas_scale} times the face" in PAGE
    assert f"weakest of {config.weakest:g} to {config.strongest:g} dB" in PAGE
    assert (
        f"at least {MIN_SIDE} pixels" in PAGE and f"{MIN_CANVAS} pixels a side" in PAGE
    )
    assert f"from {MIN_READ} pixels each way on" in PAGE
    assert FPR == 1e-6 and "at most 1e-6" in PAGE
    faces = load_presence("face128").faces
    assert f"fitted to {faces:,} untagged faces" in PAGE


def test_links_lead_somewhere():
    for page in ("algorithm.md", "provenance.md"):
        text = (DOCS / page).read_text("utf-8")
        links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
        assert links
        for link in links:
            assert link.startswith("https://") or (DOCS / link).exists(), link
