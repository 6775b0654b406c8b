import hashlib
import json
import pathlib

import cv2
import numpy as np
import pytest
import skimage.data
import sqlalchemy as sa
import support

from faketagger_tf.messages import registered
from faketagger_tf.photos import encode_image, read_photo, write_image
from faketagger_tf.registry import (
    Record,
    RegistryError,
    export_records,
    import_records,
    jobs,
)
from faketagger_tf.registry.jobs import (
    recorded,
    tag_bytes_into_registry,
    tag_into_registry,
)
from faketagger_tf.registry.reader import COLUMNS, RegisteredReader
from faketagger_tf.registry.tables import RECORDS
from faketagger_tf.tagging import assure
from faketagger_tf.tagging.file_jobs import TAG_COLUMNS


@pytest.fixture(scope="module")
def tagger():
    return support.correlation_tagger()


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """A retry refines by one step, which is as good a retry here, and quick."""
    monkeypatch.setattr(assure, "REFINE", 1)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    write_image(path, np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350]))
    return path


def digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_and_its_record(tagger, registry, photo, tmp_path):
    output, seen = tmp_path / "tagged.jpg", []

    def before(row):
        seen.append(row)
        record = registry.show(row["payload"])
        assert record.state == "reserved" and not output.exists()

    row = tag_into_registry(
        tagger, registry, photo, output, owner="Zoë", note="n", before_writing=before
    )
    assert seen == [row] and tuple(row) == TAG_COLUMNS
    record = registry.show(row["payload"])
    assert (record.state, record.owner, record.note) == ("written", "Zoë", "n")
    assert record.file == str(output) and record.size == output.stat().st_size
    assert record.sha256_original == digest(photo)
    assert record.sha256_tagged == digest(output)
    assert (record.width, record.height) == (260, 260)
    (face,) = record.faces
    assert len(face.landmarks) == 5 and face.face and face.surroundings
    small = cv2.imdecode(np.frombuffer(record.thumbnail, np.uint8), cv2.IMREAD_COLOR)
    assert small.shape == (256, 256, 3)
    assert list(registry.check()) == []
    assert recorded(registry, output) == record
    assert recorded(registry, photo) is None
    with registry.begin() as connection:
        connection.execute(sa.update(RECORDS).values(state="abandoned"))
    assert recorded(registry, output) is None
    (reading,) = tagger.read(read_photo(output))
    assert f"0x{reading.payload:08X}" == row["payload"]


def test_bytes_and_their_record(tagger, registry, photo):
    data = photo.read_bytes()
    tag = tag_bytes_into_registry(
        tagger, registry, data, "upload.webp", extension=".png", thumbnail=False
    )
    assert tag.data[1:4] == b"PNG"
    assert tag.record.sha256_tagged == hashlib.sha256(tag.data).hexdigest()
    assert tag.record.sha256_original == hashlib.sha256(data).hexdigest()
    assert tag.record.state == "written" and tag.record.thumbnail is None
    assert tag.record.file == "upload.webp" and tag.row["payload"] == tag.record.payload
    assert registry.show(tag.record.payload) == tag.record


def test_no_payload_is_issued_to_a_photo_that_is_tagged(
    tagger, registry, photo, tmp_path
):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    tag_into_registry(tagger, registry, photo, first)
    with pytest.raises(ValueError, match="carries a tag already"):
        tag_into_registry(tagger, registry, first, second)
    assert registry.count() == 1
    tag_into_registry(tagger, registry, first, second, retag=True)
    assert registry.count() == 2


def test_no_payload_is_issued_for_a_promise_that_nobody_makes(
    tagger, registry, photo, tmp_path
):
    with pytest.raises(ValueError, match=r"promise must be one of archive.*'gold'"):
        tag_into_registry(tagger, registry, photo, tmp_path / "a.png", promise="gold")
    assert registry.count() == 0


def test_what_fails_leaves_an_abandoned_record_and_no_file(
    tagger, registry, photo, tmp_path, monkeypatch
):
    output = tmp_path / "out.png"

    def fail(*_):
        raise ValueError("The table is full.")

    with pytest.raises(ValueError, match="table is full"):
        tag_into_registry(tagger, registry, photo, output, before_writing=fail)
    with pytest.raises(ValueError, match="extension must be one of"):
        tag_into_registry(tagger, registry, photo, tmp_path / "out.xyz")
    monkeypatch.setattr(jobs, "write_encoded", fail)
    with pytest.raises(ValueError, match="table is full"):
        tag_into_registry(tagger, registry, photo, output)
    states = [record.state for record in registry.find()]
    assert states and set(states) == {"abandoned"}
    assert not output.exists()


def test_no_file_is_written_that_the_registry_cannot_record(
    tagger, registry, photo, tmp_path, monkeypatch
):
    output = tmp_path / "out.png"

    def fail(*_):
        raise RegistryError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "seal", fail)
        patch.setattr(registry, "abandon", fail)
        with pytest.raises(RegistryError, match="disk is full"):
            tag_into_registry(tagger, registry, photo, output)
    assert not output.exists()
    # A file whose record could not be completed keeps it, and is found by its digest.
    with monkeypatch.context() as patch:
        patch.setattr(registry, "complete", fail)
        with pytest.raises(RegistryError, match="disk is full"):
            tag_into_registry(tagger, registry, photo, output)
    found = recorded(registry, output)
    assert found.state == "written" and found.sha256_tagged == digest(output)


def test_a_tag_on_the_centred_square_is_on_record_as_such(registry, photo, tmp_path):
    tagger = support.correlation_tagger()
    faces = tagger._detect(read_photo(photo))
    answers = [faces]  # Found before tagging, not after it.
    tagger._detect = lambda _: answers.pop() if answers else []
    row = tag_into_registry(tagger, registry, photo, tmp_path / "out.png")
    assert row["faces"] == 0
    square, face = registry.show(row["payload"]).faces
    assert square.box == (0, 0, 260, 260) and square.landmarks == ()
    assert len(face.landmarks) == 5
    (finding,) = RegisteredReader(tagger, registry).examine(
        read_photo(tmp_path / "out.png")
    )
    assert finding.change.verdict == "same photo"


@pytest.fixture
def tagged(tagger, registry, photo, tmp_path):
    """A tagged photo, its payload as a number, and a reader."""
    row = tag_into_registry(tagger, registry, photo, tmp_path / "out.png")
    reader = RegisteredReader(tagger, registry, refresh=0)
    return read_photo(tmp_path / "out.png"), int(row["payload"], 16), reader


def test_a_suspect_and_its_record(tagged, registry):
    suspect, payload, reader = tagged
    (finding,) = reader.examine(suspect)
    reading = finding.reading
    assert finding.record == registry.show(f"0x{payload:08X}")
    assert finding.change.verdict == "same photo"
    assert reading.payload == reading.registered_payload == payload
    assert reading.registered_payloads == 1
    assert reading.registered_p_value < reading.p_value < 1e-6
    assert not reading.mirrored


def test_mirrored_and_turned_suspects(tagged):
    suspect, payload, reader = tagged
    (finding,) = reader.examine(np.ascontiguousarray(suspect[:, ::-1]))
    assert finding.reading.mirrored and finding.reading.payload == payload
    assert finding.change.verdict == "same photo"
    turned = np.ascontiguousarray(np.rot90(suspect))
    findings = [f for f in reader.examine(turned) if f.record]
    assert [f.reading.payload for f in findings] == [payload]
    assert findings[0].change.verdict == "same photo"


def test_a_tag_that_only_the_registry_can_read(tagger, registry, photo):
    """So much noise that 2^36 words are too many, and one is not."""
    payload = int(registry.reserve(Record(preset="p", file="f"), 32, 99).payload, 16)
    suspect = tagger.embed(read_photo(photo), payload)
    reader = RegisteredReader(tagger, registry)
    rng = np.random.default_rng(1)
    blind = issued = 0
    for deviation in np.repeat([50, 60, 70, 80], 3):
        noise = rng.normal(0, deviation, suspect.shape)
        noisy = np.clip(suspect + noise, 0, 255).astype(np.uint8)
        (finding,) = reader.examine(noisy)[:1]
        reading = finding.reading
        blind += reading.p_value <= 1e-6
        if reading.registered_p_value <= 1e-6:
            issued += 1
            assert reading.found and reading.payload == payload
            assert finding.record is not None
            assert reading.bit_error_estimate == reading.corrected_bits / 64
        else:
            assert reading.found == (reading.p_value <= 1e-6)
    assert issued > blind


def test_a_payload_that_was_not_issued(tagged, tagger, photo, registry):
    _, payload, reader = tagged
    other = tagger.embed(read_photo(photo), payload ^ 0xFFFF)
    (finding,) = reader.examine(other)
    assert finding.reading.found and finding.reading.payload == payload ^ 0xFFFF
    assert finding.reading.registered_p_value > 1e-3
    assert finding.record is None and finding.change is None


def test_an_untagged_photo(tagged, photo):
    reader = tagged[2]
    (finding,) = reader.examine(read_photo(photo))
    assert not finding.reading.found and finding.record is None
    assert finding.reading.registered_p_value > 1e-3


def test_a_transplanted_tag(tagged, tagger, registry):
    """The payload of one photo in another one."""
    payload, reader = tagged[1:]
    other = np.ascontiguousarray(skimage.data.chelsea()[:260, 100:360])
    (finding,) = reader.examine(tagger.embed(other, payload))
    assert finding.record is not None
    assert finding.change.verdict == "another photo"


def test_keyed_tags_have_records_of_their_own(registry, photo, tmp_path):
    keyed, other = (support.correlation_tagger(key=key * 32) for key in (b"k", b"o"))
    row = tag_into_registry(keyed, registry, photo, tmp_path / "out.png")
    record = registry.show(row["payload"])
    assert record.key_id == keyed.key_id != other.key_id and len(record.key_id) == 16
    suspect = read_photo(tmp_path / "out.png")
    (finding,) = RegisteredReader(keyed, registry).examine(suspect)
    assert finding.record == record
    assert finding.reading.registered_p_value < 1e-9
    for tagger in (other, support.correlation_tagger()):
        (finding,) = RegisteredReader(tagger, registry).examine(suspect)
        assert not finding.reading.found and finding.reading.registered_payloads == 0
    # A payload that was issued to a tag with a key is not that of an open tag.
    plain = support.correlation_tagger()
    again = plain.embed(read_photo(photo), row["payload"])
    (finding,) = RegisteredReader(plain, registry).examine(again)
    assert finding.reading.found and finding.record is None


def test_records_without_fingerprints_are_not_compared(tagger, registry, photo):
    record = registry.reserve(Record(preset="p", file="f.png"), 32)
    tagged = tagger.embed(read_photo(photo), record.payload)
    (finding,) = RegisteredReader(tagger, registry).examine(tagged)
    assert finding.record == record and finding.change is None


def test_newly_issued_payloads_are_noticed_and_encoded_alone(
    tagger, registry, monkeypatch
):
    def reserve(count):
        draft = Record(preset="p", file="f")
        return [int(registry.reserve(draft, 32).payload, 16) for _ in range(count)]

    packed = []
    pack = registered.pack_words

    def count_packed(code, payloads, keyed):
        packed.extend(payloads.tolist())
        return pack(code, payloads, keyed)

    monkeypatch.setattr(registered, "pack_words", count_packed)
    reader = RegisteredReader(tagger, registry, refresh=0, recount=0)
    assert len(reader.payloads()) == 0
    issued = set()
    for count in (3, 2, 1):
        new = reserve(count)
        issued |= set(new)
        assert len(reader.payloads()) == len(issued)
        # None was encoded twice, although the last minute's are asked for each time.
        assert sorted(packed) == sorted(issued)
    reader.payloads()
    assert sorted(packed) == sorted(issued)
    # One that was abandoned and issued again, under the same number of records.
    first = min(issued)
    registry.abandon(f"0x{first:08X}")
    registry.reserve(Record(preset="p", file="f"), 32, first)
    assert len(reader.payloads()) == len(issued)


def test_imported_payloads_are_noticed_when_records_are_counted(
    tagger, registry, photo
):
    old, young = (
        registry.reserve(Record(preset="p", file="f"), 32, payload)
        for payload in (1, 2)
    )
    eager, lazy = (
        RegisteredReader(tagger, registry, refresh=0, recount=recount)
        for recount in (0, 3600)
    )
    assert old.created <= young.created
    (line, _) = export_records(registry)
    moved = json.loads(line) | {
        "payload": "0x0BADCAFE",
        "created": "2020-01-01T00:00:00+00:00",
    }
    assert import_records(registry, [json.dumps(moved)]) == (1, 0)
    assert len(eager.payloads()) == 3 and len(lazy.payloads()) == 2
    tagged = tagger.embed(read_photo(photo), 0x0BADCAFE)
    (finding,) = eager.examine(tagged)
    assert finding.reading.registered_payload == 0x0BADCAFE
    # All that is asked for is asked for in time.
    patient = RegisteredReader(tagger, registry, refresh=3600)
    registry.reserve(Record(preset="p", file="f"), 32)
    assert len(patient.payloads()) == 3


def test_a_damaged_suspect_and_rows(tagged, tmp_path):
    suspect, payload, reader = tagged
    path = tmp_path / "suspect.jpg"
    path.write_bytes(encode_image(suspect, ".jpg", 95)[:-200])
    (row,) = reader.trace_file(path, 1e-6)
    assert tuple(row) == COLUMNS
    assert row["found"] and row["payload"] == f"0x{payload:08X}" and row["notes"]
    assert row["registered_payloads"] == 1 and row["record_state"] == "written"
    assert row["verdict"] in ("same photo", "surroundings changed")
