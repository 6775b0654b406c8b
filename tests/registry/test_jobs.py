import hashlib

import cv2
import numpy as np
import pytest
import skimage.data
import support

from faketagger_tf.photos import encode_image, read_photo, write_image
from faketagger_tf.registry import RegistryError, jobs
from faketagger_tf.registry.jobs import (
    recorded,
    tag_bytes_into_registry,
    tag_into_registry,
)
from faketagger_tf.registry.reader import RegisteredReader
from faketagger_tf.tagging.file_jobs import TAG_COLUMNS


@pytest.fixture(scope="module")
def tagger():
    return support.correlation_tagger()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    write_image(path, np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350]))
    return path


def digest(path) -> str:
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
    reader = RegisteredReader(tagger, registry)
    (finding,) = reader.examine(read_photo(output))
    assert finding.record == record and finding.change.verdict == "same photo"
    assert finding.reading.registered_payloads == 1
    assert finding.reading.registered_p_value < finding.reading.p_value < 1e-6
