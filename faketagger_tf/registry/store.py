"""The registry in a database: payloads are issued here, and nowhere else.

A record goes through these states, each change one transaction:

    reserve  ->  reserved   the payload is taken, and all that is known is stored
    seal     ->  reserved   the tagged file's digest is stored, no file is there yet
    complete ->  written    the file is there
    abandon  ->  abandoned  it will not be; the payload may be issued again

A process that is killed leaves a reserved record: without a digest its file cannot
exist, with one it may. `reclaim` looks, and completes or abandons it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from faketagger_tf.messages import format_payload, parse_payload
from faketagger_tf.registry.records import (
    ABANDONED,
    RESERVED,
    WRITTEN,
    FaceRecord,
    Record,
)
from faketagger_tf.registry.tables import FACES, RECORDS, REQUESTS

BUSY_TIMEOUT = 60.0  # Seconds that a writer waits for the others of an SQLite file.
RECLAIM_AGE = datetime.timedelta(hours=1)
_TRIES = 16  # Random payloads tried before free ones are looked for.
_LONG = 1000  # Times that a request is tried to be given its payload again.
_FEW = 16  # Payload bits up to which all free payloads can be listed.
_PAGE = 200  # Records that are read at once.
_ACCEPTED = "Accepted: sqlite:///tags.db or postgresql://user@host/database"


class RegistryError(ValueError):
    """The database cannot do what was asked: full, read-only, not there, not ours."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """What `Registry.check` found.

    Attributes:
        payload: the record's.
        kind: "reserved" (the file was never reported as written), "missing" (the file
            is not there), "changed" (its digest is another one) or "unreadable".
        file: the file's path.
    """

    payload: str
    kind: str
    file: str


def open_registry(url: str) -> Registry:
    """Opens a registry whose tables are there.

    Args:
        url: `sqlite:///tags.db` (four slashes for an absolute path) or
            `postgresql://user@host/database`.

    Raises:
        RegistryError: no such database, or its tables are missing, older or newer.
        ValueError: another kind of URL, or a package is not installed.
    """
    registry = Registry(url)
    state, revision = _state(registry)
    if state == "current":
        return registry
    problem = {
        "none": "holds no registry yet; `faketagger registry init` makes one",
        "older": f"has older tables ({revision}); `faketagger registry init` brings "
        "them up to date",
        "unknown": f"was made by a newer version, or another program ({revision})",
    }[state]
    raise RegistryError(f"The database {registry.name!r} {problem}.")


def init_registry(url: str) -> Registry:
    """Makes the tables, or brings them up to date; then as `open_registry`.

    Harmless where nothing is to be done. Let one process at a time do it.

    Raises:
        RegistryError, ValueError: as `open_registry`, or it is another program's SQLite
            file, which is left as it is.
    """
    registry = Registry(url)
    state, _ = _state(registry)
    if state == "none" and not _is_missing(registry):
        _refuse_others(registry)
    if state in ("none", "older"):
        config = _alembic()
        with registry.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    return open_registry(url)


def _state(registry: Registry) -> tuple[str, str]:
    """("none", "current", "older" or "unknown"; the tables' revision)."""
    if _is_missing(registry):  # SQLite would make an empty file.
        return "none", ""
    with registry.connect() as connection:
        found = MigrationContext.configure(connection).get_current_heads()
    script = ScriptDirectory.from_config(_alembic())
    known = {revision.revision for revision in script.walk_revisions()}
    revision = ", ".join(found)
    if not found:
        return "none", ""
    if revision == script.get_current_head():
        return "current", revision
    return ("older" if revision in known else "unknown"), revision


def _is_missing(registry: Registry) -> bool:
    url = registry.engine.url
    return (
        url.get_backend_name() == "sqlite"
        and not url.database.startswith("file:")
        and not os.path.exists(url.database)
    )


def _refuse_others(registry: Registry) -> None:
    """Refuses an SQLite file that has tables, none of which is ours.

    Programs share a PostgreSQL database, but hardly ever a file.
    """
    if registry.engine.name != "sqlite":
        return
    with registry.connect() as connection:
        tables = sa.inspect(connection).get_table_names()
    if tables:
        raise RegistryError(
            f"The database {registry.name!r} is another program's. Received: one with "
            f"the table {tables[0]!r}. Accepted: a file that is not there yet."
        )


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", "faketagger_tf.registry:migrations")
    return config


class Registry:
    """Records in a database; from `open_registry`. Safe to use from many threads.

    After a fork, open it anew. Every method raises a RegistryError of one sentence
    where the database fails.

    Attributes:
        name: the URL without its password.
        engine: SQLAlchemy's engine.
    """

    def __init__(self, url: str):
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError:
            raise ValueError(
                f"That is not a registry's URL. Received: {url!r}. {_ACCEPTED}."
            ) from None
        backend = parsed.get_backend_name()
        if backend == "postgres":
            parsed = parsed.set(drivername="postgresql")
            backend = "postgresql"
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.name = parsed.render_as_string(hide_password=True)
        if backend not in ("sqlite", "postgresql") or (
            backend == "sqlite" and parsed.database in (None, "", ":memory:")
        ):
            raise ValueError(
                "A registry must be an SQLite file or a PostgreSQL database. "
                f"Received: {self.name!r}. {_ACCEPTED}."
            )
        options = {
            "sqlite": {"timeout": BUSY_TIMEOUT},
            # A cluster made under the locale C would answer in bytes.
            "postgresql": {"client_encoding": "utf8"},
        }[backend]
        try:
            self.engine = sa.create_engine(
                parsed, connect_args=options, pool_pre_ping=backend != "sqlite"
            )
        except ModuleNotFoundError as error:
            raise ValueError(
                f"The registry {self.name!r} needs the package {error.name!r}, which "
                "is not installed: see requirements-registry.txt."
            ) from None
        if backend == "sqlite":
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def reserve(
        self,
        draft: Record,
        payload_bits: int,
        payload: int | str | None = None,
        request: str | None = None,
    ) -> Record:
        """Issues a payload that is not taken yet, and stores the record with it.

        One transaction: either the payload and the whole record are the caller's, or
        nothing has happened.

        Args:
            draft: what is known; its payload, state and times are not read.
            payload_bits: length of the preset's payload.
            payload: one to ask for; None draws at random.
            request: what the record is for, in the caller's words, with `payload` None.
                The same request is always given the same payload, by whatever process
                it is made: the draft takes the place of the record that an earlier one
                left, in whatever state that is. It stays revoked if it was.

        Returns:
            The draft with what the registry filled in.

        Raises:
            ValueError: the payload asked for is taken, or none of that length is free.
        """
        if payload is not None:
            payload = format_payload(parse_payload(payload, payload_bits), payload_bits)
            record = self._take(draft, payload)
            if record is None:
                raise ValueError(
                    f"That payload is taken. Received: {payload}. Accepted: one that "
                    "the registry has not issued, or none, to be given one."
                )
            return record
        for drawn in self._candidates(payload_bits):
            # Asked each time: another process may have been given it meanwhile.
            if request and (record := self._take_over(draft, request)):
                return record
            if record := self._take(draft, drawn, request):
                return record
        raise ValueError(
            f"The registry {self.name!r} has no free payload of {payload_bits} bits "
            "left. Accepted: another registry, or a preset with a longer payload."
        )

    def _candidates(self, payload_bits: int) -> Iterator[str]:
        """Payloads to try: some at random, then all free ones if those can be listed.

        A request that has its payload already needs a candidate to be asked at all.
        """
        for _ in range(_TRIES):
            yield format_payload(secrets.randbits(payload_bits), payload_bits)
        if payload_bits <= _FEW:
            every = [
                format_payload(value, payload_bits)
                for value in range(1 << payload_bits)
            ]
            with self.connect() as connection:
                query = sa.select(RECORDS.c.payload).where(RECORDS.c.state != ABANDONED)
                taken = set(connection.scalars(query))
            free = [value for value in every if value not in taken]
            secrets.SystemRandom().shuffle(free)
            yield from free

    def requested(self, request: str) -> Record | None:
        """Returns the record that was made for a request; None if there is none.

        An abandoned one is returned until its payload is issued to somebody else.
        """
        made = RECORDS.c.payload == REQUESTS.c.payload
        query = sa.select(RECORDS).join(REQUESTS, made)
        return next(iter(self._read(query.where(REQUESTS.c.request == request))), None)

    def _take_over(self, draft: Record, request: str) -> Record | None:
        """Stores the draft in the place of a request's record; None if it has none."""
        for _ in range(_LONG):
            earlier = self.requested(request)
            if earlier is None:
                return None
            if record := self._take(draft, earlier.payload, request, earlier.revoked):
                return record
            # Others do the same at this moment, of whom one gets on each time.
            time.sleep(secrets.SystemRandom().uniform(0, 0.02))
        return None

    def _take(
        self,
        draft: Record,
        payload: str,
        request: str | None = None,
        revoked: datetime.datetime | None = None,
    ) -> Record | None:
        """Stores the draft under a payload; None if it is taken."""
        record = dataclasses.replace(
            draft,
            payload=payload,
            state=RESERVED,
            created=datetime.datetime.now(datetime.UTC),
            written=None,
            revoked=revoked,
        )
        # Only a payload whose file never got written is issued again, but for the same
        # request.
        own = sa.select(REQUESTS.c.payload).where(REQUESTS.c.request == request)
        free = (RECORDS.c.state == ABANDONED) | RECORDS.c.payload.in_(own)
        gone = (RECORDS.c.payload == payload) & free
        try:
            with self.begin() as connection:
                connection.execute(sa.delete(RECORDS).where(gone))
                insert_record(connection, record)
                if request:
                    values = {"request": request, "payload": payload}
                    connection.execute(sa.insert(REQUESTS), values)
        except RegistryError as error:
            if isinstance(error.__cause__, sa.exc.IntegrityError):
                return None
            raise
        return record

    def seal(
        self,
        payload: str,
        sha256_tagged: str,
        size: int,
        faces: Sequence[FaceRecord] | None = None,
    ) -> None:
        """Stores the tagged file's digest and size in bytes, before it is written.

        Args:
            faces: take the place of those on record; None keeps them.

        Raises:
            ValueError: the payload is not reserved.
        """
        values = {"sha256_tagged": sha256_tagged, "size": size}
        self._update(payload, (RESERVED,), values, faces=faces)

    def complete(self, payload: str) -> None:
        """Marks the file of a sealed record as written.

        Raises:
            ValueError: the payload is neither reserved and sealed nor written.
        """
        now = datetime.datetime.now(datetime.UTC)
        values = {"state": WRITTEN, "written": now}
        self._update(payload, (RESERVED,), values, RECORDS.c.sha256_tagged != "")

    def abandon(self, payload: str) -> None:
        """Marks a reserved record whose file will not be written.

        Raises:
            ValueError: the payload is not reserved.
        """
        self._update(payload, (RESERVED,), {"state": ABANDONED})

    def publish(
        self,
        payload: str,
        data: bytes,
        write: Callable[[bytes], object],
        faces: Sequence[FaceRecord] | None = None,
    ) -> None:
        """Seals a record, writes its file, and completes it: no file without a record.

        Args:
            payload: a reserved one.
            data: the tagged file's bytes.
            write: is called with them, and has to write the file whole or not at all.
            faces: take the place of those on record; None keeps them.

        Raises:
            ValueError: the payload is not reserved; nothing is written then. What
                `write` raises abandons the record and is passed on.
        """
        self.seal(payload, hashlib.sha256(data).hexdigest(), len(data), faces)
        try:
            write(data)
        except Exception:
            self.abandon(payload)
            raise
        self.complete(payload)

    def revoke(self, payload: str) -> None:
        """Marks a record as no longer to be relied on; again, or twice, is no error.

        Raises:
            ValueError: there is no such record.
        """
        now = datetime.datetime.now(datetime.UTC)
        first = sa.func.coalesce(
            RECORDS.c.revoked, sa.literal(now, RECORDS.c.revoked.type)
        )
        self._update(payload, (RESERVED, WRITTEN, ABANDONED), {"revoked": first})

    def _update(
        self, payload: str, states, values: dict, *conditions, faces=None
    ) -> None:
        statement = (
            sa.update(RECORDS)
            .where(RECORDS.c.payload == payload, RECORDS.c.state.in_(states))
            .where(*conditions)
            .values(values)
        )
        with self.begin() as connection:
            if connection.execute(statement).rowcount == 1:
                if faces is not None:
                    old = sa.delete(FACES).where(FACES.c.payload == payload)
                    connection.execute(old)
                    insert_faces(connection, payload, faces)
                return
        record = self.show(payload)
        if record is None:
            raise ValueError(
                f"The registry {self.name!r} has no record of that payload. "
                f"Received: {payload}."
            )
        sealed = "sealed" if record.sha256_tagged else "not sealed"
        raise ValueError(
            f"The record of {payload} must be {' or '.join(states)}"
            f"{' and sealed' if conditions else ''}. "
            f"Received: one that is {record.state} and {sealed}."
        )

    def show(self, payload: str) -> Record | None:
        """Returns a payload's record; None if there is none.

        Args:
            payload: as `messages.format_payload` writes it.
        """
        query = sa.select(RECORDS).where(RECORDS.c.payload == payload)
        return next(iter(self._read(query)), None)

    def find(
        self,
        since: datetime.datetime | None = None,
        owner: str | None = None,
        state: str | None = None,
        sha256_tagged: str | None = None,
    ) -> Iterator[Record]:
        """Yields records, oldest first; read in pages, so that any number is fine.

        Args:
            since: an aware time; records made then or later.
            owner, state, sha256_tagged: only records with exactly that.

        Raises:
            ValueError: `since` has no time zone.
        """
        if since is not None and since.tzinfo is None:
            raise ValueError(
                f"since must have a time zone. Received: {since.isoformat()}."
            )
        query = sa.select(RECORDS).order_by(RECORDS.c.created, RECORDS.c.payload)
        if since is not None:
            query = query.where(RECORDS.c.created >= since)
        for column, value in (
            (RECORDS.c.owner, owner),
            (RECORDS.c.state, state),
            (RECORDS.c.sha256_tagged, sha256_tagged),
        ):
            if value is not None:
                query = query.where(column == value)
        last = None
        while True:
            page = query.limit(_PAGE)
            if last is not None:
                time = sa.literal(last.created, RECORDS.c.created.type)
                key = sa.tuple_(RECORDS.c.created, RECORDS.c.payload)
                page = page.where(key > sa.tuple_(time, sa.literal(last.payload)))
            found = self._read(page)
            yield from found
            if len(found) < _PAGE:
                return
            last = found[-1]

    def search(
        self,
        text: str = "",
        before: tuple[datetime.datetime, str] | None = None,
        limit: int = 20,
    ) -> list[Record]:
        """Records whose payload, owner, file or note contains a text, newest first.

        Every record is looked at until there are enough, so that a text that is rare in
        a large registry takes a while.

        Args:
            text: upper and lower case are one (in SQLite of ASCII alone); empty for
                all.
            before: (created, payload) of the last record of the page before.
            limit: number of records.
        """
        order = RECORDS.c.created.desc(), RECORDS.c.payload.desc()
        query = sa.select(RECORDS).order_by(*order).limit(limit)
        if text:
            columns = (RECORDS.c.payload, RECORDS.c.owner, RECORDS.c.file)
            query = query.where(
                sa.or_(
                    *(
                        column.icontains(text, autoescape=True)
                        for column in (*columns, RECORDS.c.note)
                    )
                )
            )
        if before is not None:
            time = sa.literal(before[0], RECORDS.c.created.type)
            key = sa.tuple_(RECORDS.c.created, RECORDS.c.payload)
            query = query.where(key < sa.tuple_(time, sa.literal(before[1])))
        return self._read(query)

    def payloads(
        self,
        payload_bits: int,
        key_id: str = "",
        after: datetime.datetime | None = None,
    ) -> np.ndarray:
        """Payloads that may be in circulation, for `messages.registered.pack_words`.

        Reserved ones are among them, since a killed run may have left their file, and
        revoked ones, since a photo that carries one should be told so.

        Args:
            payload_bits: length of the preset's payload, at most 64.
            key_id: of keyed tags; empty for open ones.
            after: an aware time; only payloads that were issued later.

        Returns:
            uint64 [N], ascending.
        """
        digits = len(format_payload(0, payload_bits))
        query = sa.select(RECORDS.c.payload).where(
            RECORDS.c.state != ABANDONED,
            RECORDS.c.key_id == key_id,
            sa.func.length(RECORDS.c.payload) == digits,
        )
        if after is not None:
            query = query.where(RECORDS.c.created > after)
        with self.connect() as connection:
            rows = connection.execution_options(stream_results=True).scalars(query)
            values = np.fromiter((int(value, 16) for value in rows), np.uint64)
        return np.sort(values)

    def newest(self) -> datetime.datetime | None:
        """When the newest record was made; None if there is none. Quick at any size."""
        with self.connect() as connection:
            return connection.scalar(sa.select(sa.func.max(RECORDS.c.created)))

    def count(self, after: datetime.datetime | None = None) -> int:
        """How many records there are; reads an index through.

        Args:
            after: an aware time; only records that were made later.
        """
        query = sa.select(sa.func.count()).select_from(RECORDS)
        if after is not None:
            query = query.where(RECORDS.c.created > after)
        with self.connect() as connection:
            return connection.scalar(query)

    def reclaim(
        self,
        folder: str | os.PathLike = "",
        age: datetime.timedelta = RECLAIM_AGE,
    ) -> tuple[list[str], list[str]]:
        """Settles reserved records that a killed or failed run left behind.

        Args:
            folder: what relative names of files start from.
            age: younger records are left alone: their file may yet be written.

        Returns:
            (completed, abandoned) payloads: those whose file is there with the digest
            on record, and the others.
        """
        limit = datetime.datetime.now(datetime.UTC) - age
        completed, abandoned = [], []
        for record in list(self.find(state=RESERVED)):
            if record.created > limit:
                continue
            digest = _digest(os.path.join(folder, record.file))
            # Another process may settle it meanwhile: then it is none of ours.
            with contextlib.suppress(ValueError):
                if record.sha256_tagged and digest == record.sha256_tagged:
                    self.complete(record.payload)
                    completed.append(record.payload)
                else:
                    self.abandon(record.payload)
                    abandoned.append(record.payload)
        return completed, abandoned

    def check(self, folder: str | os.PathLike = "") -> Iterator[Problem]:
        """Yields what is wrong between the records and the files.

        Args:
            folder: what relative names of files start from.
        """
        for record in self.find():
            path = os.path.join(folder, record.file)
            if record.state == ABANDONED:
                continue
            if record.state == RESERVED:
                yield Problem(record.payload, "reserved", path)
            elif not os.path.exists(path):
                yield Problem(record.payload, "missing", path)
            elif (digest := _digest(path)) is None:
                yield Problem(record.payload, "unreadable", path)
            elif digest != record.sha256_tagged:
                yield Problem(record.payload, "changed", path)

    def _read(self, query: sa.Select) -> list[Record]:
        with self.connect() as connection:
            return select_records(connection, query)

    @contextlib.contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """One transaction, whose failure is one sentence."""
        engine = self.engine.execution_options(writes=True)
        with self._sentence(), engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """A connection to read with, whose failure is one sentence."""
        with self._sentence(), self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def _sentence(self) -> Iterator[None]:
        """Turns what a driver raises into one sentence."""
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip()
            reason = reason.splitlines()[0].rstrip(".") if reason else "no reason given"
            raise RegistryError(
                f"The registry {self.name!r} cannot be used: {reason}."
            ) from error


def select_records(connection: sa.Connection, query: sa.Select) -> list[Record]:
    """Reads whole records; `query` selects rows of the table of records."""
    rows = connection.execute(query).mappings().all()
    payloads = [row["payload"] for row in rows]
    query = (
        sa.select(FACES)
        .where(FACES.c.payload.in_(payloads))
        .order_by(FACES.c.payload, FACES.c.number)
    )
    found: dict[str, list[FaceRecord]] = {payload: [] for payload in payloads}
    for face in connection.execute(query).mappings() if rows else ():
        found[face["payload"]].append(
            FaceRecord(
                tuple(face["box"]),
                tuple(tuple(point) for point in face["landmarks"]),
                face["face"],
                face["surroundings"],
            )
        )
    return [Record(**row, faces=tuple(found[row["payload"]])) for row in rows]


def insert_record(connection: sa.Connection, record: Record) -> None:
    """Stores a record and its faces as they are, within the caller's transaction."""
    values = {field.name: getattr(record, field.name) for field in _FIELDS}
    connection.execute(sa.insert(RECORDS), values)
    insert_faces(connection, record.payload, record.faces)


def insert_faces(
    connection: sa.Connection, payload: str, faces: Sequence[FaceRecord]
) -> None:
    """Stores a record's faces, within the caller's transaction."""
    if faces:
        connection.execute(
            sa.insert(FACES),
            [
                {"payload": payload, "number": number, **vars(face)}
                for number, face in enumerate(faces)
            ],
        )


_FIELDS = [field for field in dataclasses.fields(Record) if field.name != "faces"]


def _prepare_sqlite(connection, _) -> None:
    # Left to itself Python's driver begins no transaction before a savepoint.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # A commit is on the disk before the file that it speaks of is written.
    cursor.execute("PRAGMA synchronous = FULL")
    mode = cursor.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer that starts as a reader fails if another one has been faster.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _digest(path: str) -> str | None:
    """SHA-256 of a file; None if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
