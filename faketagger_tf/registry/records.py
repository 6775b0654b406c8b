"""A record as Python and as JSON."""

from __future__ import annotations

import base64
import dataclasses
import datetime

VERSION = 1  # Of the JSON form.
RESERVED, WRITTEN, ABANDONED = STATES = ("reserved", "written", "abandoned")


@dataclasses.dataclass(frozen=True)
class FaceRecord:
    """One tagged face, or the centred square of a photo without one.

    Attributes:
        box: (left, top, width, height) in pixels of the tagged photo.
        landmarks: five points (x, y) in the order of `photos.LANDMARKS`; empty for the
            centred square.
        face, surroundings: fingerprints, see `registry.fingerprint`; may be empty.
    """

    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...] = ()
    face: str = ""
    surroundings: str = ""


@dataclasses.dataclass(frozen=True)
class Record:
    """What is known of one issued payload.

    Attributes:
        payload: as `messages.format_payload` writes it; the registry fills it in.
        state: "reserved" before the file is written, "written", or "abandoned" where it
            never was; the registry's.
        created, written, revoked: UTC, or None; the registry's.
        preset: the tagger's name.
        format_version: of the tag; 1 so far.
        key_id: name of the key of a keyed tag; empty for an open one.
        file: the tagged file's name, as `Registry.check` is to find it.
        width, height: pixels.
        size: bytes of the tagged file.
        sha256_original, sha256_tagged: hexadecimal digests of the two files.
        owner, note: free text.
        thumbnail: JPEG, see `fingerprint.make_thumbnail`; or None.
        faces: largest first.
    """

    preset: str
    file: str
    payload: str = ""
    state: str = RESERVED
    created: datetime.datetime | None = None
    written: datetime.datetime | None = None
    revoked: datetime.datetime | None = None
    format_version: int = 1
    key_id: str = ""
    width: int = 0
    height: int = 0
    size: int = 0
    sha256_original: str = ""
    sha256_tagged: str = ""
    owner: str = ""
    note: str = ""
    thumbnail: bytes | None = None
    faces: tuple[FaceRecord, ...] = ()

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kind = {"str": str, "int": int}.get(field.type)
            # bool is an int to Python, and not to PostgreSQL.
            if kind and (not isinstance(value, kind) or isinstance(value, bool)):
                raise ValueError(
                    f"A record's {field.name} must be {kind.__name__}. "
                    f"Received: {value!r}."
                )
        if self.state not in STATES:
            raise ValueError(
                f"A record's state must be one of {', '.join(STATES)}. "
                f"Received: {self.state!r}."
            )

    def to_dict(self) -> dict:
        """Returns the record as JSON types; `from_dict` gets the same record back."""
        fields = {"version": VERSION, **dataclasses.asdict(self)}
        for name in ("created", "written", "revoked"):
            if fields[name] is not None:
                fields[name] = fields[name].isoformat()
        if self.thumbnail is not None:
            fields["thumbnail"] = base64.b64encode(self.thumbnail).decode()
        return fields

    @classmethod
    def from_dict(cls, fields: dict) -> Record:
        """Reads what `to_dict` returns.

        Raises:
            ValueError: a field is missing, unknown or of another type.
        """
        if not isinstance(fields, dict):
            raise ValueError(
                f"A record must be a JSON object. Received: {type(fields).__name__}."
            )
        fields = dict(fields)
        version = fields.pop("version", None)
        if version != VERSION:
            raise ValueError(
                f"A record's version must be {VERSION}. Received: {version!r}."
            )
        try:
            for name in ("created", "written", "revoked"):
                if fields.get(name) is not None:
                    fields[name] = utc(datetime.datetime.fromisoformat(fields[name]))
            if fields.get("thumbnail") is not None:
                fields["thumbnail"] = base64.b64decode(
                    fields["thumbnail"], validate=True
                )
            fields["faces"] = tuple(
                FaceRecord(
                    **face
                    | {
                        "box": tuple(map(float, face["box"])),
                        "landmarks": tuple(
                            tuple(map(float, point)) for point in face["landmarks"]
                        ),
                    }
                )
                for face in fields.get("faces", ())
            )
            record = cls(**fields)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            reason = str(error).rstrip(".")
            raise ValueError(f"A record has a bad field: {reason}.") from None
        if not record.payload or record.created is None:
            raise ValueError("A record must have a payload and the time it was made.")
        return record


def utc(time: datetime.datetime) -> datetime.datetime:
    """An aware time in UTC."""
    if time.tzinfo is None:
        raise ValueError(f"the time {time.isoformat()} has no zone")
    return time.astimezone(datetime.UTC)
