"""One clip from disk to disk, and the rows that tell about it.

The command line, a server and a pipeline call this for each of their clips, as
`tagging.file_jobs` for photos. `video.registered` does it with a registry.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from faketagger_tf.messages import format_payload, parse_payload
from faketagger_tf.messages.registered import PayloadIndex
from faketagger_tf.tagging.annotate import annotate
from faketagger_tf.tagging.file_jobs import reading_row
from faketagger_tf.tagging.search import rank
from faketagger_tf.video.container import Clip, Frame, Written, rewrite_clip
from faketagger_tf.video.read import EVERY, TrackReading, read_frames
from faketagger_tf.video.tag import (
    ClipTagger,
    check_first_frame,
    choose_track_strengths,
    clip_tracker,
    track_canvas,
)

if TYPE_CHECKING:
    from faketagger_tf.tagging.tagger import Reading, Tagger

TAG_COLUMNS = (
    *("file", "output", "payload", "faces", "tracks", "broken", "frames", "seconds"),
    *("frames_per_second", "p_value", "lost", "notes", "error"),
)
TRACE_COLUMNS = (
    *("file", "track", "face", "start", "end", "looks", "found", "payload"),
    *("p_value", "bit_error_estimate", "corrected_bits", "mirrored", "box"),
    *("notes", "error"),
)
# Frames, how many there are as far as is known, and what is done to them -> the frames.
Watch = Callable[[Iterable[Frame], int | None, str], Iterable[Frame]]


def _unwatched(frames: Iterable[Frame], count: int | None, what: str):
    return frames


def tag_clip(
    tagger: Tagger,
    path: str | os.PathLike,
    output: str | os.PathLike,
    payload: int | str | bytes | None = None,
    strength: float | None = None,
    *,
    promise: str | None = None,
    check: bool = True,
    crf: int | None = None,
    preset: str | None = None,
    retag: bool = False,
    strict: bool = False,
    watch: Watch = _unwatched,
    before_writing: Callable[[str, dict], object] = lambda temporary, row: None,
) -> dict:
    """Tags a clip file.

    Args:
        tagger: tags, and reads back.
        path: the clip.
        output: where to write it; its extension says how.
        payload: as `messages.parse_payload` accepts it; None draws one.
        strength: in dB, as `Tagger.check_strength` has it; None takes the tagger's own.
        promise: instead of that, one of `promise.PROMISES`: each track is tagged as
            weakly as keeps it, see `tag.choose_track_strengths`. The clip is then gone
            through once more.
        check: read the encoded clip back before it gets its name.
        crf, preset: as for `container.rewrite_clip`.
        retag: write over a tag that the clip carries.
        strict: refuse a clip that is damaged, or of which OUT cannot keep all.
        watch: sees frames pass, for a progress bar.
        before_writing: is given the temporary file and the row before the file gets its
            name, so that no tagged file exists whose payload nobody knows.

    Returns:
        A row with `TAG_COLUMNS`. "tracks" counts faces and centred squares; "broken"
        names what the promise holds and not every track's tag survives; "p_value" is
        the least that was read back, None if that was not checked.

    Raises:
        ValueError: the clip cannot be read, tagged or written, carries a tag, or none
            reads back.

    Example:
        >>> row = tag_clip(tagger, "clip.mp4", "tagged.mp4", 0x1F2E3D4C)
        >>> row["payload"], row["faces"]
        ('0x1F2E3D4C', 1)
    """
    bits = tagger.config.payload_bits
    value = tagger.random_payload() if payload is None else parse_payload(payload, bits)
    if promise and strength is not None:
        raise ValueError(
            "A promise chooses the strength; give one of the two. "
            f"Received: {promise!r} and {strength!r} dB."
        )
    frame, count = first_frame(path)
    if not retag:
        check_first_frame(tagger, frame)
    strengths, broken = strength, []
    if promise:
        with Clip(path) as clip:
            frames = watch(clip.frames(), count, "measured")
            choices = choose_track_strengths(tagger, frames, value, promise)
        strengths = {number: choice.strength for number, choice in choices.items()}
        broken = dict.fromkeys(n for c in choices.values() for n in c.broken)
    clip_tagger = ClipTagger(tagger, value, strengths, retag=True)
    started = time.perf_counter()
    row: dict = {}

    def finish(temporary: str, written: Written) -> None:
        elapsed = time.perf_counter() - started
        row.update(
            {
                "file": os.fspath(path),
                "output": os.fspath(output),
                "payload": format_payload(value, bits),
                "faces": clip_tagger.faces,
                "tracks": clip_tagger.tracks,
                "broken": list(broken),
                "frames": written.frames,
                "seconds": round(written.seconds, 3),
                "frames_per_second": round(written.frames / elapsed, 1),
                "p_value": None,
                "lost": written.lost,
                "notes": [written.fault] if written.fault else [],
                "error": "",
            }
        )
        if check:
            row["p_value"] = _read_back(tagger, temporary, value, watch)
        before_writing(temporary, row)

    rewrite_clip(
        path,
        output,
        lambda frames: clip_tagger.change(watch(frames, count, "tagged")),
        crf,
        preset,
        strict,
        finish,
    )
    return row


def first_frame(path: str | os.PathLike) -> tuple[Frame, int | None]:
    """A clip's first frame, and how many the clip declares."""
    with Clip(path) as clip:
        return next(iter(clip.frames())), clip.count


def _read_back(tagger, temporary: str, payload: int, watch: Watch) -> float:
    """The least p-value of the tracks that read; refuses a clip of which none does."""
    with Clip(temporary) as clip:
        tracks = read_frames(tagger, watch(clip.frames(), clip.count, "read back"))
    read = [t.reading for t in tracks if t.reading.found]
    p_values = [reading.p_value for reading in read if reading.payload == payload]
    if not p_values:
        raise ValueError(
            "The tag does not read back from the clip, which was not written. "
            f"Received: {len(tracks)} faces or squares. Accepted: a larger "
            "--strength, a smaller --crf, or --no-check."
        )
    return min(p_values)


def trace_clip(
    tagger: Tagger,
    path: str | os.PathLike,
    fpr: float,
    every: int = EVERY,
    *,
    every_track: bool = False,
    picture: str | os.PathLike | None = None,
    payloads: PayloadIndex | None = None,
    more: Callable[[Reading], dict] = lambda reading: {},
    watch: Watch = _unwatched,
    quick: bool = False,
) -> list[dict]:
    """Reads the tags of a clip file, of a damaged one up to the fault.

    Args:
        tagger: reads.
        path: the clip.
        fpr: largest p-value of a tag that counts as found, per track.
        every: frames from one look to the next.
        every_track: return tracks without a tag, too.
        picture: where to write the clip with its readings drawn on it.
        payloads: that were issued, from `Tagger.index`; see `read.ClipReader`.
        more: further columns of a reading.
        watch: sees frames pass, for a progress bar.
        quick: as for `read.ClipReader`.

    Returns:
        Rows with `TRACE_COLUMNS`, and those of `more`, one per track, in order of time;
        at least one: a clip without a tag has the row of its most suspicious track.

    Raises:
        ValueError: the clip cannot be read, or the picture not written.

    Example:
        >>> (row,) = trace_clip(tagger, "clip.mp4", fpr=1e-6)
        >>> row["found"], row["start"]
        (False, 0.0)
    """
    with Clip(path) as clip:
        frames = watch(clip.frames(), clip.count, "read")
        tracks = read_frames(tagger, frames, every, fpr, payloads, quick)
        notes = [clip.fault] if clip.fault else []
    if picture:
        _annotate(tagger, path, tracks, every, picture, watch)
    best = min(tracks, key=lambda track: rank(track.reading))
    shown = [t for t in tracks if t.reading.found or every_track] or [best]
    return [
        {
            "file": os.fspath(path),
            "track": each.track,
            "face": each.face,
            "start": round(each.start, 3),
            "end": round(each.end, 3),
            "looks": each.looks,
            **reading_row(each.reading, tagger.config.payload_bits),
            **more(each.reading),
            "notes": notes,
            "error": "",
        }
        for each in shown
    ]


def _annotate(
    tagger: Tagger,
    path: str | os.PathLike,
    tracks: list[TrackReading],
    every: int,
    picture: str | os.PathLike,
    watch: Watch,
) -> None:
    """Writes the clip with its readings: a second pass that follows the same tracks."""
    readings = {each.track: each.reading for each in tracks}
    size, bits = tagger.config.image_size, tagger.config.payload_bits

    def draw(frames: Iterable[Frame]) -> Iterator[Frame]:
        tracker = clip_tracker(tagger, every)
        for frame in watch(frames, None, "drawn"):
            seen = []
            for track in tracker.follow(frame.pixels):
                if track.number in readings:
                    canvas = track_canvas(tagger, track, frame.pixels)
                    corners = canvas.corners(size)
                    reading = readings[track.number]
                    seen.append(dataclasses.replace(reading, corners=corners))
            yield dataclasses.replace(frame, pixels=annotate(frame.pixels, seen, bits))

    rewrite_clip(path, picture, draw)
