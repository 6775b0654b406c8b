import dataclasses
import json

import pytest

from faketagger_tf.registry import (
    Record,
    RegistryError,
    export_records,
    import_records,
    init_registry,
)
from faketagger_tf.registry.manifests import (
    Manifest,
    find_manifests,
    get_manifest,
    list_algorithms,
    recover_manifest,
    store_manifest,
)

DRAFT = Record(preset="face128", file="a.png")
NAME = "org.example.faketagger.face128"


def issue(registry, payload: int, number: int = 1, algorithm: str = NAME) -> Manifest:
    """A reserved record with a manifest."""
    record = registry.reserve(DRAFT, 32, payload)
    value = payload.to_bytes(4, "big")
    manifest = Manifest(
        f"urn:c2pa:{number}", record.payload, algorithm, value, b"\0store\xff"
    )
    store_manifest(registry, manifest)
    return manifest


def same(found: Manifest | None, stored: Manifest) -> bool:
    return found is not None and dataclasses.replace(found, created=None) == stored


def test_a_manifest_is_found_by_payload_id_and_binding(registry):
    first = issue(registry, 1, 1)
    other = issue(registry, 2, 2, "com.newsroom.faketagger.face128")
    assert same(recover_manifest(registry, first.payload), first)
    assert same(get_manifest(registry, "urn:c2pa:2"), other)
    (found,) = find_manifests(registry, NAME, first.value, 10)
    assert same(found, first)
    assert find_manifests(registry, NAME, other.value, 10) == []
    assert find_manifests(registry, other.algorithm, first.value, 10) == []
    assert list_algorithms(registry) == sorted([other.algorithm, NAME])
    assert recover_manifest(registry, "0x00000003") is None
    assert get_manifest(registry, "urn:c2pa:3") is None


def test_the_newest_of_several_is_recovered(registry):
    first = issue(registry, 1)
    second = dataclasses.replace(first, id="urn:c2pa:0", store=b"second")
    store_manifest(registry, second)
    assert same(recover_manifest(registry, first.payload), second)
    found = find_manifests(registry, NAME, first.value, 10)
    assert [each.id for each in found] == ["urn:c2pa:0", "urn:c2pa:1"]
    assert len(find_manifests(registry, NAME, first.value, 1)) == 1


def test_no_manifest_without_its_record(registry):
    manifest = issue(registry, 1)
    with pytest.raises(RegistryError, match="cannot be used"):
        store_manifest(registry, manifest)  # The id is taken.
    with pytest.raises(RegistryError, match="cannot be used"):
        store_manifest(
            registry, dataclasses.replace(manifest, id="new", payload="0x00000009")
        )
    assert get_manifest(registry, "new") is None


def test_what_is_revoked_or_abandoned_is_not_given_out(registry):
    revoked, abandoned = issue(registry, 1, 1), issue(registry, 2, 2)
    registry.revoke(revoked.payload)
    registry.abandon(abandoned.payload)
    for manifest in (revoked, abandoned):
        assert recover_manifest(registry, manifest.payload) is None
        assert get_manifest(registry, manifest.id) is None
        assert find_manifests(registry, NAME, manifest.value, 10) == []
    # Issued again, the payload is another photo's.
    again = issue(registry, 2, 3)
    assert same(recover_manifest(registry, again.payload), again)
    assert [m.id for m in find_manifests(registry, NAME, again.value, 9)] == [again.id]


def test_export_and_import_keep_manifests(registry, tmp_path):
    manifests = [issue(registry, 1, 1), issue(registry, 2, 2)]
    registry.reserve(DRAFT, 32, 3)
    registry.revoke(manifests[0].payload)
    lines = list(export_records(registry))
    assert len(lines) == 3
    with init_registry(f"sqlite:///{tmp_path}/other.db") as other:
        assert import_records(other, lines) == (3, 0)
        assert import_records(other, lines) == (0, 3)
        assert list(export_records(other)) == lines
        assert recover_manifest(other, manifests[0].payload) is None  # Revoked.
        assert same(recover_manifest(other, manifests[1].payload), manifests[1])


def test_exports_without_manifests_are_as_before(registry):
    registry.reserve(DRAFT, 32, 3)
    (line,) = export_records(registry)
    assert "manifests" not in json.loads(line)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("id", 7, "id must be text"),
        ("store", "no base64!", "bad field"),
        ("created", "yesterday", "bad field"),
        ("created", None, "bad field"),
        ("more", 1, "bad field"),
        ("payload", "0x00000008", "names another payload"),
    ],
)
def test_damaged_manifests_are_not_imported(registry, tmp_path, field, value, words):
    issue(registry, 1)
    (line,) = export_records(registry)
    fields = json.loads(line)
    fields["manifests"][0][field] = value
    with init_registry(f"sqlite:///{tmp_path}/other.db") as other:
        with pytest.raises(ValueError, match=f"Line 1 cannot be imported: .*{words}"):
            import_records(other, [json.dumps(fields)])
        fields["manifests"] = "none"
        with pytest.raises(ValueError, match=r"Line 1 cannot be imported: .*list"):
            import_records(other, [json.dumps(fields)])
        assert list(other.find()) == []
