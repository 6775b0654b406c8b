"""What the desk answers: its JSON objects, as OpenAPI describes them."""

from __future__ import annotations

import base64
import datetime

import pydantic
from pydantic import Field

from faketagger_tf.desk import words
from faketagger_tf.desk.heat import HeatMap
from faketagger_tf.messages import format_payload
from faketagger_tf.photos import encode_image
from faketagger_tf.registry import Record
from faketagger_tf.registry.fingerprint import Change
from faketagger_tf.registry.manifests import Manifest
from faketagger_tf.registry.reader import Finding, recovered_claim

_CHANGES = {
    "same photo": "This is the photo on record; no change of what it shows was "
    "noticed.",
    "face changed": "This is the photo on record, and its face has been changed.",
    "surroundings changed": "This is the photo on record; what surrounds the face has "
    "been changed, or cropped.",
    "face and surroundings changed": "This is the photo on record, and both its face "
    "and what surrounds it have been changed.",
    "another photo": "This is another photo altogether: the tag of the photo on record "
    "was copied onto it or forged, or the photo was changed beyond recognition.",
}


class Model(pydantic.BaseModel):
    """The base of all answers; unknown fields are mistakes of ours."""

    model_config = pydantic.ConfigDict(extra="forbid")


class RecordAnswer(Model):
    """What is known of one issued payload. Times are UTC."""

    payload: str = Field(description="Hexadecimal.")
    state: str = Field(description="reserved, written or abandoned.")
    created: datetime.datetime | None
    written: datetime.datetime | None
    revoked: datetime.datetime | None
    preset: str
    format_version: int
    key_id: str = Field(description="Of a keyed tag; empty for an open one.")
    file: str
    width: int
    height: int
    size: int = Field(description="Bytes of the tagged file.")
    sha256_original: str
    sha256_tagged: str
    owner: str
    note: str
    faces: list[tuple[float, float, float, float]] = Field(
        description="Boxes (left, top, width, height) in pixels of the tagged photo."
    )
    thumbnail: str | None = Field(description="A JPEG as a data: URL.")

    @classmethod
    def of(cls, record: Record, public: bool = False) -> RecordAnswer:
        """A record as it is answered.

        Args:
            record: from the registry.
            public: leave out what is the owner's own: file, note, key, original.
        """
        fields = {name: getattr(record, name) for name in cls.model_fields}
        fields["faces"] = [_rounded(face.box) for face in record.faces]
        if record.thumbnail:
            fields["thumbnail"] = data_url(record.thumbnail)
        if public:
            fields |= {"file": "", "note": "", "key_id": "", "sha256_original": ""}
        return cls(**fields)


class RecordsAnswer(Model):
    """A page of records, the newest first."""

    records: list[RecordAnswer]
    next: str | None = Field(description="`before` of the next page; null at the end.")


class ChangeAnswer(Model):
    """How a suspect's face differs from the one on record."""

    verdict: str = Field(
        description="same photo, face changed, surroundings changed, face and "
        "surroundings changed, or another photo."
    )
    face: float = Field(description="Share of the face's fingerprint that differs.")
    surroundings: float = Field(description="The same of what surrounds it.")


class HeatAnswer(Model):
    """Where a suspect differs from the thumbnail on record."""

    picture: str = Field(description="A JPEG as a data: URL.")
    pixels: int = Field(description="Across the picture, in the coarser of the two.")
    changed_face: float
    changed_around: float
    in_words: str

    @classmethod
    def of(cls, heat_map: HeatMap) -> HeatAnswer:
        return cls(
            picture=data_url(encode_image(heat_map.picture, ".jpg", 88)),
            pixels=heat_map.pixels,
            changed_face=round(heat_map.changed_face, 4),
            changed_around=round(heat_map.changed_around, 4),
            in_words=heat_map.in_words(),
        )


class ManifestAnswer(Model):
    """The C2PA manifest on record, whether the suspect has lost it or not."""

    id: str = Field(description="Its label; /c2pa/v1/manifests/{id} has all of it.")
    algorithm: str = Field(description="Of the soft binding, as C2PA names it.")
    signer: str | None = Field(
        description="Whom the certificate names, which nobody has checked; this and "
        "what follows is null where the desk lacks the extra [c2pa]."
    )
    state: str | None = Field(
        description="invalid, unchecked (the desk has no trust list), trusted (the "
        "signer leads to a certificate of it) or not trusted."
    )
    signed_at: str | None = Field(
        description="ISO 8601; empty without a time-stamp authority."
    )
    actions: list[str] | None
    in_words: str

    @classmethod
    def of(cls, manifest: Manifest, anchors: str) -> ManifestAnswer:
        claim = recovered_claim(manifest, anchors)
        return cls(
            id=manifest.id,
            algorithm=manifest.algorithm,
            signer=claim and claim.signer,
            state=claim and claim.state,
            signed_at=claim and claim.signed_at,
            actions=claim and list(claim.actions),
            in_words=words.manifest(claim),
        )


class ReadingAnswer(Model):
    """What was read from one face, or from the centred square."""

    found: bool
    payload: str | None = Field(description="Hexadecimal; null unless found.")
    p_value: float = Field(description="Of a tag with any payload.")
    registered_p_value: float | None = Field(
        description="Of a tag with one of the payloads on record; null without any."
    )
    mirrored: bool
    corrected_bits: int
    box: tuple[float, float, float, float]
    corners: list[tuple[float, float]]
    record: RecordAnswer | None
    handling: list[str] = Field(
        description="What was done to the photo on record besides: mirrored, turned, "
        "resized, cropped, and how far. Empty where nothing is sure."
    )
    manifest: ManifestAnswer | None
    change: ChangeAnswer | None
    heat_map: HeatAnswer | None
    in_words: str
    sure_in_words: list[str]

    @classmethod
    def of(
        cls,
        finding: Finding,
        heat_map: HeatMap | None,
        payload_bits: int,
        fpr: float,
        public: bool,
        anchors: str = "",
    ) -> ReadingAnswer:
        """A finding as it is answered.

        Args:
            finding: from `RegisteredReader.examine`.
            heat_map: of it, or None.
            payload_bits: of the tagger.
            fpr: from which p-value on a tag counts as found.
            public: nobody has shown a key. An open tag can be forged by everybody, and
                so a suspect that is another photo must not bring up the record.
            anchors: PEM certificates that manifests' signers are trusted by.
        """
        reading, record, change = finding.reading, finding.record, finding.change
        placement, manifest = finding.placement, finding.manifest
        if public and not finding.same_photo:
            record = heat_map = manifest = None
        count = reading.registered_payloads
        found = reading.found
        return cls(
            found=found,
            payload=format_payload(reading.payload, payload_bits) if found else None,
            p_value=reading.p_value,
            registered_p_value=reading.registered_p_value if count else None,
            mirrored=reading.mirrored,
            corrected_bits=reading.corrected_bits,
            box=_rounded(reading.box),
            corners=reading.corners.round(1).tolist(),
            record=RecordAnswer.of(record, public) if record else None,
            handling=list(placement.in_words()) if placement else [],
            manifest=ManifestAnswer.of(manifest, anchors) if manifest else None,
            change=_change(change),
            heat_map=HeatAnswer.of(heat_map) if heat_map else None,
            in_words=_in_words(finding),
            sure_in_words=[
                words.blind(reading.p_value),
                words.registered(reading.registered_p_value, count),
                words.rate(fpr),
            ],
        )


def _rounded(box) -> tuple[float, ...]:
    return tuple(round(value, 1) for value in box)


def _change(change: Change | None) -> ChangeAnswer | None:
    if change is None:
        return None
    return ChangeAnswer(
        verdict=change.verdict,
        face=round(change.face, 4),
        surroundings=round(change.surroundings, 4),
    )


def _in_words(finding: Finding) -> str:
    if not finding.reading.found:
        return "No tag was found in this face, which does not show that it had none."
    if finding.record is None:
        return "It carries a tag, but this registry has not issued its payload."
    told = "The record has no fingerprints: what has changed is not known."
    if finding.change:
        told = _CHANGES[finding.change.verdict]
    if finding.placement and (done := finding.placement.in_words()):
        told += f" It was {' and '.join(done)}."
    if finding.record.revoked:
        told += f" Its record was revoked on {finding.record.revoked:%d %B %Y}."
    return told


class TaggerAnswer(Model):
    """What read."""

    preset: str
    technique: str = Field(description="What is looked for.")
    algorithm: str = Field(description="That, as C2PA's soft bindings name it.")
    format_version: int = Field(description="Of the tag.")
    release: str = Field(description="Of faketagger-tf.")


class TraceAnswer(Model):
    """What was read from a suspect, and whose photo it is."""

    in_words: str
    tagger: TaggerAnswer
    false_positive_rate: float = Field(
        description="p-value from which on a tag counts as found, per face; holds for "
        "the blind and for the registered one."
    )
    payloads: int = Field(description="N, the number of payloads compared with.")
    notes: list[str] = Field(description="What had to be done to read the file.")
    width: int = Field(description="Of the suspect, upright, in pixels.")
    height: int
    readings: list[ReadingAnswer]


def summary(readings: list[ReadingAnswer]) -> str:
    """One sentence about all faces."""
    found = [reading for reading in readings if reading.found]
    if not found:
        return "No tag was found."
    known = sum(reading.record is not None for reading in found)
    if len(found) == 1:
        return f"A tag was found, {'with its' if known else 'but no'} record."
    return f"{len(found)} tags were found, {known} of them with a record."


class TagAnswer(Model):
    """A tagged photo and its record."""

    record: RecordAnswer
    photo: str = Field(description="The tagged file in base64.")
    media_type: str
    psnr: float = Field(description="Of the tagged pixels, in dB.")
    ssim: float
    faces: int = Field(
        description="That carry a tag which reads back; 0 if the centred square does."
    )
    unread_faces: list[tuple[float, float, float, float]] = Field(
        description="Boxes of faces whose tag does not read back."
    )
    manifest: str | None = Field(
        description="Label of its C2PA manifest; null if the desk does not sign."
    )
    broken: list[str] = Field(
        description="What the promise holds and not every face's tag survives."
    )
    lost: list[str] = Field(description="What of the photo's file was not kept.")
    changed: list[str] = Field(description="What of it was kept otherwise.")


class HealthAnswer(Model):
    """That the desk and its registry answer."""

    status: str
    tagger: TaggerAnswer
    public_trace: bool


class ErrorAnswer(Model):
    """Why there is no answer, in one sentence."""

    error: str


def data_url(jpeg: bytes) -> str:
    """A JPEG as an address that pages can show."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
