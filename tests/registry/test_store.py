import contextlib
import datetime
import hashlib
import os
import pathlib
import sqlite3
import subprocess
import sys

import alembic.autogenerate
import numpy as np
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext

import faketagger_tf
from faketagger_tf.registry import (
    FaceRecord,
    Problem,
    Record,
    RegistryError,
    export_records,
    import_records,
    init_registry,
    open_registry,
)
from faketagger_tf.registry.tables import METADATA, RECORDS

NOW = datetime.timedelta(0)
DRAFT = Record(
    preset="face128",
    file="out.png",
    key_id="newsroom",
    width=300,
    height=400,
    sha256_original="ab" * 32,
    owner="Zoë",
    note='line\nbreak, "quotes", 漢字',
    thumbnail=bytes(range(256)),
    faces=(
        FaceRecord((0.1, 0.2, 1 / 3, 40.0), ((1.5, 2.5),) * 5, "00ff", "1234"),
        FaceRecord((5.0, 6.0, 7.0, 8.0)),
    ),
)


def test_the_migrations_make_the_tables_of_the_code(registry):
    with registry.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert alembic.autogenerate.compare_metadata(context, METADATA) == []


def test_a_record_from_reservation_to_file(registry, tmp_path):
    record = registry.reserve(DRAFT, 32)
    assert record.state == "reserved" and len(record.payload) == 10
    assert registry.show(record.payload) == record
    written = []
    registry.publish(record.payload, b"tagged", written.append)
    assert written == [b"tagged"]
    found = registry.show(record.payload)
    assert found.state == "written" and found.written >= found.created
    assert found.sha256_tagged == hashlib.sha256(b"tagged").hexdigest()
    assert found.size == 6
    assert found.faces == DRAFT.faces and found.thumbnail == DRAFT.thumbnail
    assert registry.show("0x00000000") is None or record.payload == "0x00000000"


def test_the_record_is_there_before_the_file(registry):
    record = registry.reserve(DRAFT, 32)

    def write(data):
        stored = registry.show(record.payload)
        assert stored.sha256_tagged == hashlib.sha256(data).hexdigest()
        assert stored.state == "reserved"
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="on fire"):
        registry.publish(record.payload, b"x", write)
    assert registry.show(record.payload).state == "abandoned"
    with pytest.raises(ValueError, match=r"must be reserved\. Received: .* abandoned"):
        registry.publish(record.payload, b"x", lambda data: pytest.fail("written"))


def test_payloads_run_out(registry):
    issued = [registry.reserve(DRAFT, 4).payload for _ in range(16)]
    assert sorted(issued) == [f"0x{value:X}" for value in range(16)]
    with pytest.raises(ValueError, match="no free payload of 4 bits"):
        registry.reserve(DRAFT, 4)
    registry.abandon(issued[3])
    assert registry.reserve(DRAFT, 4).payload == issued[3]
    assert registry.show(issued[3]).state == "reserved"


def test_a_payload_that_is_asked_for(registry):
    assert registry.reserve(DRAFT, 32, "1f2e3d4c").payload == "0x1F2E3D4C"
    with pytest.raises(ValueError, match=r"taken\. Received: 0x1F2E3D4C"):
        registry.reserve(DRAFT, 32, 0x1F2E3D4C)
    # Another length is another payload.
    assert registry.reserve(DRAFT, 8, 0x4C).payload == "0x4C"


def test_only_what_is_sealed_can_be_completed(registry):
    payload = registry.reserve(DRAFT, 32).payload
    with pytest.raises(
        ValueError, match=r"reserved and sealed\. Received: .* not sealed"
    ):
        registry.complete(payload)
    with pytest.raises(ValueError, match="no record of that payload"):
        registry.seal("0x1", "00", 1)


def test_reclaim_looks_whether_the_file_was_written(registry, tmp_path):
    there, gone, other, young = [
        registry.reserve(Record(preset="p", file=f"{name}.png"), 32).payload
        for name in ("there", "gone", "other", "young")
    ]
    (tmp_path / "there.png").write_bytes(b"tagged")
    (tmp_path / "other.png").write_bytes(b"somebody else's")
    for payload in (there, gone, other):
        registry.seal(payload, hashlib.sha256(b"tagged").hexdigest(), 6)
    assert registry.reclaim(tmp_path) == ([], [])  # All are young.
    completed, abandoned = registry.reclaim(tmp_path, NOW)
    assert completed == [there]
    assert sorted(abandoned) == sorted([gone, other, young])
    assert {r.payload for r in registry.find(state="written")} == {there}


def test_check(registry, tmp_path):
    found = {}
    for name in ("good", "missing", "changed", "reserved", "abandoned", "folder"):
        file = f"{name}.png"
        found[name] = registry.reserve(Record(preset="p", file=file), 32).payload
        if name == "abandoned":
            registry.abandon(found[name])
        elif name != "reserved":
            path = tmp_path / file
            registry.publish(found[name], name.encode(), path.write_bytes)
    (tmp_path / "missing.png").unlink()
    (tmp_path / "changed.png").write_bytes(b"!")
    (tmp_path / "folder.png").unlink()
    (tmp_path / "folder.png").mkdir()
    expected = {
        Problem(found[name], kind, str(tmp_path / f"{name}.png"))
        for name, kind in (
            ("missing", "missing"),
            ("changed", "changed"),
            ("reserved", "reserved"),
            ("folder", "unreadable"),
        )
    }
    assert set(registry.check(tmp_path)) == expected


def test_revoked_records_keep_their_first_time(registry):
    payload = registry.reserve(DRAFT, 32).payload
    registry.revoke(payload)
    first = registry.show(payload).revoked
    assert first is not None and first.tzinfo is not None
    registry.revoke(payload)
    assert registry.show(payload).revoked == first
    with pytest.raises(ValueError, match="no record"):
        registry.revoke("0x00")


def test_find_pages_and_filters(registry, monkeypatch):
    monkeypatch.setattr("faketagger_tf.registry.store._PAGE", 3)
    made = [
        registry.reserve(Record(preset="p", file="f", owner="ab"[i % 2]), 32)
        for i in range(10)
    ]
    assert [r.payload for r in registry.find()] == [r.payload for r in made]
    assert list(registry.find(owner="b")) == made[1::2]
    assert list(registry.find(since=made[4].created)) == made[4:]
    assert list(registry.find(since=made[4].created, owner="a")) == made[4::2]
    with pytest.raises(ValueError, match="time zone"):
        list(registry.find(since=datetime.datetime(2026, 1, 1)))


def test_issued_payloads_by_length_and_key(registry):
    first = registry.reserve(Record(preset="p", file="f"), 32).payload
    last = registry.reserve(Record(preset="p", file="f"), 32).payload
    registry.reserve(Record(preset="p", file="f"), 8)
    keyed = registry.reserve(DRAFT, 32).payload
    registry.revoke(first)
    registry.abandon(registry.reserve(Record(preset="p", file="f"), 32).payload)
    found = registry.payloads(32)
    assert found.dtype == np.uint64
    assert found.tolist() == sorted(int(p, 16) for p in (first, last))
    assert registry.payloads(32, "newsroom").tolist() == [int(keyed, 16)]
    assert registry.payloads(16).tolist() == []


def test_export_and_import_lose_nothing(registry, tmp_path):
    for name in ("one", "two"):
        registry.publish(registry.reserve(DRAFT, 32).payload, name.encode(), len)
    registry.revoke(registry.reserve(Record(preset="seed64", file=""), 8).payload)
    registry.abandon(registry.reserve(DRAFT, 32).payload)
    lines = list(export_records(registry))
    with init_registry(f"sqlite:///{tmp_path}/copy.db") as copy:
        assert import_records(copy, lines) == (4, 0)
        assert list(copy.find()) == list(registry.find())
        assert list(export_records(copy)) == lines
        assert import_records(copy, [*lines, "\n"]) == (0, 4)
    # And back into the same kind of database.
    with registry.engine.begin() as connection:
        connection.execute(sa.delete(RECORDS))
    assert import_records(registry, lines) == (4, 0)
    assert list(export_records(registry)) == lines


def test_a_bad_line_imports_nothing(registry):
    registry.reserve(DRAFT, 32, 1)
    (line,) = export_records(registry)
    for bad, reason in (
        ("{", "Line 3 cannot be imported"),
        (
            line.replace('"owner": "Zoë"', '"owner": "Max"'),
            "another record of 0x0000000",
        ),
        (line.replace('"state": "reserved"', '"state": "gone"'), "state must be one"),
        (line.replace('"version": 1', '"version": 2'), "version must be 1"),
        (line.replace('"width": 300', '"width": "wide"'), "width must be int"),
        (line.replace("+00:00", ""), "no zone"),
        (line.replace('"preset"', '"reset"'), "bad field"),
        ("[]", "JSON object"),
    ):
        fresh = line.replace("0x00000001", "0x00000002")
        with pytest.raises(ValueError, match=reason):
            import_records(registry, [line, fresh, bad])
        assert len(list(registry.find())) == 1


def test_a_database_without_tables_or_with_newer_ones(url):
    with pytest.raises(RegistryError, match="holds no registry yet"):
        open_registry(url)
    registry = init_registry(url)
    init_registry(url).close()
    open_registry(url).close()
    with registry.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for function in (open_registry, init_registry):
        with pytest.raises(RegistryError, match=r"newer version.* \(9999\)"):
            function(url)
    with registry.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('abc')"))
    with pytest.raises(RegistryError, match=r"or another program \(9999, abc\)"):
        init_registry(url)
    registry.close()


@pytest.mark.parametrize("table", ["records", "photos", "alembic_version"])
def test_a_file_of_another_program_is_left_alone(tmp_path, table):
    path = tmp_path / "catalog.db"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE {table} (version_num TEXT)")
        database.execute(f"INSERT INTO {table} VALUES ('theirs')")
    with pytest.raises(RegistryError, match="another program") as error:
        init_registry(f"sqlite:///{path}")
    assert "\n" not in str(error.value)
    with contextlib.closing(sqlite3.connect(path)) as database:
        names = database.execute("SELECT name FROM sqlite_master").fetchall()
        assert names == [(table,)]
        assert database.execute(f"SELECT * FROM {table}").fetchall() == [("theirs",)]


def test_a_name_that_was_mistyped_leaves_no_file(tmp_path):
    with pytest.raises(RegistryError, match="holds no registry yet"):
        open_registry(f"sqlite:///{tmp_path}/typo.db")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "url", ["tags.db", "sqlite://", "sqlite:///:memory:", "mysql://host/db", ""]
)
def test_other_urls(url):
    with pytest.raises(ValueError, match=r"Accepted: sqlite:///tags\.db"):
        open_registry(url)


def test_a_server_that_is_not_there_keeps_its_password():
    with pytest.raises(RegistryError) as error:
        open_registry("postgresql://me:secret@127.0.0.1:1/tags")
    assert "secret" not in str(error.value)
    assert str(error.value).count("\n") == 0


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(RegistryError, match="unable to open database file"):
        init_registry(f"sqlite:///{tmp_path}/nowhere/tags.db")


def test_a_full_disk_is_one_sentence_and_no_half_record(tmp_path):
    registry = init_registry(f"sqlite:///{tmp_path}/tags.db")
    registry.close()

    @sa.event.listens_for(registry.engine, "connect")
    def limit(connection, _):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 20}")

    draft = Record(preset="p", file="f", thumbnail=b"x" * 20_000, faces=DRAFT.faces)
    issued = []
    with pytest.raises(RegistryError) as error:
        for _ in range(100):
            issued.append(registry.reserve(draft, 32))
    assert str(error.value).endswith("cannot be used: database or disk is full.")
    assert issued and list(registry.find()) == issued


def test_a_read_only_database_can_be_read(url):
    with init_registry(url) as registry:
        record = registry.reserve(DRAFT, 32)
    if url.startswith("sqlite"):
        url = url.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true"
    else:
        url += "?options=-c%20default_transaction_read_only%3Don"
    with open_registry(url) as registry:
        assert registry.show(record.payload) == record
        assert list(registry.find()) == [record]
        with pytest.raises(RegistryError, match=r"read-?only"):
            registry.reserve(DRAFT, 32)
        with pytest.raises(RegistryError, match=r"read-?only"):
            registry.publish(record.payload, b"", lambda data: pytest.fail("written"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_without_write_permission(tmp_path):
    path = tmp_path / "tags.db"
    init_registry(f"sqlite:///{path}").close()
    path.chmod(0o444)
    registry = open_registry(f"sqlite:///{path}")
    with registry, pytest.raises(RegistryError, match="readonly"):
        registry.reserve(DRAFT, 32)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "tags.db").write_bytes(b"not a database, but long enough" * 40)
    with pytest.raises(RegistryError, match="file is not a database"):
        open_registry(f"sqlite:///{tmp_path}/tags.db")


def test_records_need_no_tensorflow():
    code = "import sys, faketagger_tf.registry; print('tensorflow' in sys.modules)"
    root = pathlib.Path(faketagger_tf.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=root,
        check=True,
    )
    assert run.stdout.strip() == "False"
