"""Reads suspects against the registry: whose photo, and what of it has changed?

reader = RegisteredReader(tagger, registry)
for finding in reader.examine(suspect):
    finding.reading.registered_p_value, finding.record, finding.change
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from faketagger_tf.messages import format_payload
from faketagger_tf.messages.registered import PayloadIndex
from faketagger_tf.registry.fingerprint import (
    SIZE,
    Change,
    compare,
    fingerprint_matrix,
)
from faketagger_tf.registry.manifests import Manifest, recover_manifest
from faketagger_tf.registry.placement import Placement, find_placement
from faketagger_tf.registry.records import Record
from faketagger_tf.registry.store import Registry
from faketagger_tf.tagging.file_jobs import TRACE_COLUMNS, trace_file
from faketagger_tf.tagging.search import Canvas
from faketagger_tf.tagging.tagger import FPR, Reading, Tagger

if TYPE_CHECKING:
    from faketagger_tf.provenance.claims import Claim

REFRESH = 1.0  # Seconds for which newly issued payloads may go unnoticed.
RECOUNT = 60.0  # And imported ones, whose time is an old one.
# Other machines' clocks may be so much behind, and their transactions take so long.
OVERLAP = datetime.timedelta(minutes=1)
FINDING_COLUMNS = (
    "registered_p_value",
    "registered_payloads",
    "verdict",
    "changed_face",
    "changed_around",
    "handling",
    "record_file",
    "record_owner",
    "record_note",
    "record_created",
    "record_state",
    "record_revoked",
    "manifest",
    "manifest_signer",
    "manifest_state",
    "manifest_problems",
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What the registry knows of one face of a suspect.

    Attributes:
        reading: with both p-values and N, see `tagger.Reading`.
        record: of the payload that was found; None if none was, or if this registry has
            not issued it to a tag with this key.
        change: how the suspect differs from the record; None without record, or where
            it has no fingerprints.
        placement: where the photo on record lies in the suspect; None where there is no
            face in both, or they are two photos.
        manifest: the C2PA manifest on record, which the suspect has lost or not; None
            if there is none.
    """

    reading: Reading
    record: Record | None = None
    change: Change | None = None
    placement: Placement | None = None
    manifest: Manifest | None = None

    @property
    def same_photo(self) -> bool:
        """Whether the suspect is the photo on record, be it changed.

        An open tag can be forged onto any photo by everybody: whoever has shown
        nothing but a tag may not be told of the record that it leads to.
        """
        return self.change is not None and self.change.verdict != "another photo"


class RegisteredReader:
    """Reads suspects against all payloads that a registry has issued.

    What is compared are all issued payloads of the tagger's length and key, whatever
    their preset. Newly issued ones are noticed within `refresh` seconds, and encoded
    alone; others that came by an import, within `recount` seconds. Safe to use from
    many threads.

    Args:
        tagger: reads.
        registry: has the payloads and records.
        refresh: seconds for which the registry is not asked for new payloads.
        recount: seconds for which its records are not counted.
        anchors: PEM certificates; rows say whether a manifest's signer leads to one.

    Raises:
        RegistryError: the database fails.
    """

    def __init__(
        self,
        tagger: Tagger,
        registry: Registry,
        refresh: float = REFRESH,
        recount: float = RECOUNT,
        anchors: str = "",
    ):
        self.tagger, self.registry = tagger, registry
        self.anchors = anchors
        self._refresh, self._recount = refresh, recount
        self._lock = threading.Lock()
        self._looked = self._counted = -np.inf
        self._newest: datetime.datetime | None = None
        # How many records there were up to which time, when they were counted last.
        self._census: tuple[int, datetime.datetime | None] = (0, None)
        self._index = tagger.index([])
        self.payloads()

    def payloads(self) -> PayloadIndex:
        """The issued payloads as they are now, give or take `refresh` seconds."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= self._refresh:
                self._look(now)
                self._looked = now
            return self._index

    def _look(self, now: float) -> None:
        bits, key_id = self.tagger.config.payload_bits, self.tagger.key_id
        newest = self.registry.newest()
        if newest != self._newest:
            after = self._newest and self._newest - OVERLAP
            more = self.registry.payloads(bits, key_id, after)
            self._index = self._index.extended(more)
            self._newest = newest
        if now - self._counted >= self._recount:
            self._counted = now
            known, since = self._census
            count = self.registry.count()
            if count - known != self.registry.count(since):
                # Others than newer ones have come, or some have gone.
                every = self.registry.payloads(bits, key_id)
                self._index = self.tagger.index(every)
            later = self.registry.count(newest) if newest else 0
            self._census = count - later, newest

    def examine(
        self,
        photo: np.ndarray,
        fpr: float = FPR,
        payloads=None,
        quick: bool = False,
    ) -> list[Finding]:
        """Reads every face of a suspect, and looks up whose it is.

        Args:
            photo, fpr, quick: as for `Tagger.examine`. Turned and mirrored photos are
                read and compared as well.
            payloads: those to look for; None takes all that were issued.

        Returns:
            One finding per face, as `Tagger.examine` orders them; at least one.

        Raises:
            ValueError: as `Tagger.examine`, or a record has damaged fingerprints.
            RegistryError: the database fails.
        """
        payloads = self.payloads() if payloads is None else payloads
        readings = self.tagger.examine(photo, fpr, payloads, quick)
        return [self._finding(photo, reading) for reading in readings]

    def trace_file(
        self, path: str | os.PathLike, fpr: float, *, quick: bool = False, **options
    ) -> list[dict]:
        """Reads the tags of a photo file: `file_jobs.trace_file` with the registry.

        Args:
            path, fpr, quick, **options: as there.

        Returns:
            Rows with `COLUMNS`.

        Raises:
            ValueError, RegistryError: as there, and as `examine`.
        """

        def look(photo):
            found = self.examine(photo, fpr, quick=quick)
            return [(f.reading, finding_row(f, self.anchors)) for f in found]

        return trace_file(self.tagger, path, fpr, look=look, **options)

    def look_up(self, reading: Reading) -> Finding:
        """Whose tag was read; without a word about what has changed since."""
        if not reading.found:
            return Finding(reading)
        payload = format_payload(reading.payload, self.tagger.config.payload_bits)
        record = self.registry.show(payload)
        if record is None or record.key_id != self.tagger.key_id:
            return Finding(reading)
        manifest = recover_manifest(self.registry, record.payload)
        return Finding(reading, record, manifest=manifest)

    def _finding(self, photo: np.ndarray, reading: Reading) -> Finding:
        finding = self.look_up(reading)
        record = finding.record
        if record is None:
            return finding
        matrix = suspect_matrix(photo, reading.canvas, self.tagger.config.image_size)
        changes = [
            (compare(photo, matrix, face), face)
            for face in record.faces
            if face.face and face.surroundings
        ]
        # Which of its faces it was is not on record: the most alike.
        change, face = min(
            changes,
            key=lambda pair: pair[0].face + pair[0].surroundings,
            default=(None, None),
        )
        placement = None
        if change and change.verdict != "another photo":
            placement = find_placement(photo, reading.canvas, record, face)
        return dataclasses.replace(finding, change=change, placement=placement)


# What is known of the file comes last, as there.
COLUMNS = (*TRACE_COLUMNS[:-2], *FINDING_COLUMNS, *TRACE_COLUMNS[-2:])


def finding_row(finding: Finding, anchors: str = "") -> dict:
    """Returns what the registry knows of a face as plain values, `FINDING_COLUMNS`.

    "changed_face" and "changed_around" are the shares of the fingerprints' bits that
    differ, 0 to 1; "handling" has the clauses of `Placement.in_words`. Times are ISO
    8601 in UTC. What there is no record of is None. "manifest_state" is a `Claim`'s, by
    the PEM certificates `anchors`, and "manifest_problems" says why one is invalid;
    they and "manifest_signer" are None without the extra [c2pa], too.
    """
    reading, record, change = finding.reading, finding.record, finding.change
    revoked = record and record.revoked
    manifest = finding.manifest
    claim = manifest and recovered_claim(manifest, anchors)
    values = (
        reading.registered_p_value,
        reading.registered_payloads,
        change and change.verdict,
        change and round(change.face, 3),
        change and round(change.surroundings, 3),
        list(finding.placement.in_words()) if finding.placement else None,
        record and record.file,
        record and record.owner,
        record and record.note,
        record and record.created.isoformat(timespec="seconds"),
        record and record.state,
        revoked and revoked.isoformat(timespec="seconds"),
        manifest and manifest.id,
        claim and claim.signer,
        claim and claim.state,
        claim and ([] if claim.sound else list(claim.problems)),
    )
    return dict(zip(FINDING_COLUMNS, values, strict=True))


def recovered_claim(manifest: Manifest, anchors: str = "") -> Claim | None:
    """Returns what a manifest on record claims; None without the extra [c2pa].

    A store that is damaged, or that was put on record for another tag than the one it
    names, is a claim that is not sound: it must not keep the rest from being told.

    Args:
        manifest: from the registry.
        anchors: PEM certificates to trust.
    """
    try:
        from faketagger_tf.provenance.claims import Claim, read_claim
    except ModuleNotFoundError:
        return None
    try:
        claim = read_claim(manifest.store, anchors)
    except ValueError:
        return Claim(manifest.id, problems=("it is damaged",))
    expected = (manifest.id, manifest.algorithm, manifest.value)
    named = (claim.manifest_id, claim.algorithm, claim.value)
    payload = int.from_bytes(claim.value, "big")
    if named == expected and payload == int(manifest.payload, 16):
        return claim
    problems = (*claim.problems, "it names another tag")
    return dataclasses.replace(claim, sound=False, problems=problems)


def suspect_matrix(photo: np.ndarray, canvas: Canvas, size: int) -> np.ndarray:
    """Matrix from a suspect's pixels to the fingerprint's canvas, 2x3.

    Args:
        photo: uint8 [H, W, 3].
        canvas: where a tag was read; one that mirrors gives a mirrored matrix.
        size: side of the tagger's canvas.
    """
    if canvas.face is None:
        # The square as it was read, which may be turned.
        return canvas.matrix * (SIZE / size)
    height, width = photo.shape[:2]
    matrix = fingerprint_matrix(width, height, canvas.face.landmarks)
    return Canvas(matrix).mirror(SIZE).matrix if canvas.mirrored else matrix
