"""A photo is given one payload for good, whoever asks, and however often."""

import concurrent.futures
import dataclasses
import datetime
import json

import numpy as np
import pytest
import skimage.data
import support

from faketagger_tf.photos import encode_image
from faketagger_tf.registry import Record
from faketagger_tf.registry.jobs import tag_once
from faketagger_tf.tagging.file_jobs import TAG_COLUMNS

DRAFT = Record(preset="tiny", file="out/a.png")


@pytest.fixture(scope="module")
def tagger():
    return support.correlation_tagger()


@pytest.fixture(scope="module")
def data():
    photo = np.ascontiguousarray(skimage.data.astronaut()[:260, 90:350])
    return encode_image(photo, ".png")


class Store:
    """Files of a dictionary, and the way to tag into it."""

    def __init__(self, tagger, registry, data):
        self.files, self.told = {}, (tagger, registry, data)

    def tag(self, output="out/a.png", write=None, **options):
        def keep(content):
            self.files[output] = content

        options = {"check": False, **options}
        return tag_once(
            *self.told,
            "a.png",
            output,
            read=self.files.get,
            write=write or keep,
            **options,
        )


@pytest.fixture
def store(tagger, registry, data):
    return Store(tagger, registry, data)


def test_a_request_keeps_its_payload_in_every_state(registry):
    first = registry.reserve(DRAFT, 32, request="a")
    assert registry.requested("a") == first and registry.requested("b") is None
    moved = dataclasses.replace(DRAFT, file="elsewhere/a.png")
    again = registry.reserve(moved, 32, request="a")
    assert (again.payload, again.file) == (first.payload, moved.file)
    registry.abandon(first.payload)
    assert registry.requested("a").state == "abandoned"
    assert registry.reserve(DRAFT, 32, request="a").payload == first.payload
    registry.publish(first.payload, b"file", lambda data: None)
    registry.revoke(first.payload)
    again = registry.reserve(DRAFT, 32, request="a")
    assert (again.payload, again.state) == (first.payload, "reserved")
    assert again.revoked is not None
    assert registry.reserve(DRAFT, 32, request="b").payload != first.payload
    assert len(list(registry.find())) == 2


def test_an_abandoned_payload_goes_to_another_request(registry):
    every = {registry.reserve(DRAFT, 2, request=name).payload for name in "abcd"}
    assert len(every) == 4
    given = registry.requested("c").payload
    registry.abandon(given)
    assert registry.reserve(DRAFT, 2, request="e").payload == given
    assert registry.requested("c") is None
    with pytest.raises(ValueError, match="no free payload of 2 bits"):
        registry.reserve(DRAFT, 2, request="c")
    # Those that have one are given it all the same.
    assert registry.reserve(DRAFT, 2, request="e").payload == given


def test_many_who_ask_at_once_are_given_one_payload(registry):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        records = pool.map(
            lambda _: registry.reserve(DRAFT, 32, request="a"), range(40)
        )
        payloads = {record.payload for record in records}
    assert len(payloads) == 1
    assert [record.payload for record in registry.find()] == list(payloads)


def test_again_changes_nothing(store, registry):
    done, row = store.tag(owner="Zoë")
    assert done == "tagged" and tuple(row) == TAG_COLUMNS
    files = dict(store.files)
    again, kept = store.tag(owner="Zoë")
    assert again == "kept" and tuple(kept) == TAG_COLUMNS and store.files == files
    same = ("file", "output", "payload", "faces", "width", "height")
    assert [kept[name] for name in same] == [row[name] for name in same]
    json.dumps(kept)
    assert kept["psnr"] is None
    (record,) = registry.find()
    assert (record.state, record.owner) == ("written", "Zoë")


def test_a_copy_has_the_same_file(store, registry):
    _, row = store.tag()
    done, copied = store.tag("out/b.png")
    assert done == "copied" and copied["payload"] == row["payload"]
    assert store.files["out/a.png"] == store.files["out/b.png"]
    assert len(list(registry.find())) == 1
    # Another format is another file, which needs a record of its own.
    done, other = store.tag("out/a.jpg")
    assert done == "tagged" and other["payload"] != row["payload"]


def test_a_file_that_is_gone_is_made_again(store, registry):
    _, row = store.tag()
    files = dict(store.files)
    store.files.clear()
    done, again = store.tag()
    assert (done, again["payload"]) == ("tagged", row["payload"])
    assert store.files == files
    assert [record.state for record in registry.find()] == ["written"]


@pytest.mark.parametrize("when", ["before the file", "after the file"])
def test_a_killed_run_goes_on_with_its_payload(store, registry, when):
    class Killed(BaseException):
        pass

    def write(content):
        if when == "after the file":
            store.files["out/a.png"] = content
        raise Killed

    with pytest.raises(Killed):
        store.tag(write=write)
    (record,) = registry.find()
    assert record.state == "reserved"
    done, row = store.tag()
    assert (done, row["payload"]) == ("tagged", record.payload)
    assert [each.state for each in registry.find()] == ["written"]
    assert registry.show(record.payload).created > record.created


def test_a_failure_abandons_and_is_tried_again(store, registry):
    def write(content):
        raise ValueError("The disk is full.")

    with pytest.raises(ValueError, match="The disk is full"):
        store.tag(write=write)
    (record,) = registry.find()
    assert record.state == "abandoned"
    assert store.tag()[1]["payload"] == record.payload


def test_somebody_elses_file_stays(store, registry):
    store.files["out/a.png"] = b"theirs"
    with pytest.raises(ValueError, match=r"'out/a.png' exists.*Accepted"):
        store.tag()
    assert store.files == {"out/a.png": b"theirs"} and not list(registry.find())
    del store.files["out/a.png"]
    store.tag()
    store.files["out/a.png"] = b"changed"
    with pytest.raises(ValueError, match=r"'out/a.png' exists"):
        store.tag()
    assert store.files == {"out/a.png": b"changed"}


def test_a_revoked_record_is_still_revoked(store, registry):
    _, row = store.tag()
    registry.revoke(row["payload"])
    store.files.clear()
    store.tag()
    revoked = registry.show(row["payload"]).revoked
    assert revoked and revoked <= datetime.datetime.now(datetime.UTC)
