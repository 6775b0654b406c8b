"""Clips as streams of frames: decoded one at a time, changed, and encoded again.

    with Clip("clip.mp4") as clip:
        for frame in clip.frames():
            print(frame.time, frame.pixels.shape)

FFmpeg does the work, through PyAV. At most a few frames are held at once, however long
the clip is. Containers and codecs are named, not guessed from content, so that a file
cannot make FFmpeg open others (a playlist named clip.mp4 would).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import av
import numpy as np

from faketagger_tf.files import write_atomic

DEMUXERS = "mov,matroska"  # FFmpeg's names: MP4 and MOV, WebM and MKV.
CODECS = {"h264": "H.264", "hevc": "HEVC", "vp9": "VP9", "av1": "AV1"}
MAX_PIXELS = 4096 * 2304  # Of a frame: a decoder holds up to some twenty of them.
# Bytes of sound and subtitles that may come before the first frame: they are held.
MAX_WAITING = 64 << 20
MIN_SIDE = 96  # As for photos, see `tagging.tagger.MIN_SIDE`.
PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow"),
)
# Encoders by what OUT ends in: name, default CRF, largest CRF. WebM takes no H.264.
_H264, _VP9 = ("libx264", 18, 51), ("libvpx-vp9", 24, 63)
ENCODERS = {".mp4": _H264, ".m4v": _H264, ".mov": _H264, ".mkv": _H264, ".webm": _VP9}
_HDR = {16: "PQ", 18: "HLG"}  # Transfer characteristics, ITU-T H.273.
_EARLY = 0.5  # Seconds by which a clip may end before its declared end.
# What a container writes by itself.
_OWN = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame of a clip.

    Attributes:
        index: 0 for the clip's first.
        pts: its time in units of the clip's `time_base`.
        time: the same in seconds from the clip's first frame.
        pixels: uint8 [H, W, 3] RGB, upright.
    """

    index: int
    pts: int
    time: float
    pixels: np.ndarray


class Clip:
    """A clip that is read.

    Args:
        path: an MP4, MOV, MKV or WebM file with H.264, HEVC, VP9 or AV1.

    Attributes:
        width, height: of its upright frames, in pixels.
        rate: average frames a second, a `Fraction`.
        seconds: declared duration, or None.
        count: declared number of frames, or None; for progress alone.
        fault: once it has been read: a sentence about where it is damaged or ends
            early, or None.

    Raises:
        ValueError: it cannot be read, has no picture, or has more than 8 bits, HDR, or
            frames that are too large or too small.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        self.fault: str | None = None
        if not os.path.isfile(self.path):
            raise ValueError(f"The clip does not exist. Received: {self.path!r}.")
        try:
            self.container = av.open(
                f"file:{os.path.abspath(self.path)}",
                metadata_errors="replace",
                options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"},
            )
        except (av.FFmpegError, OSError) as error:
            raise ValueError(
                f"The clip cannot be read: {_words(error)}. Received: {self.path!r}. "
                "Accepted: whole MP4, MOV, MKV and WebM files."
            ) from None
        try:
            self.stream = self._picture()
            self._check()
        except BaseException:
            self.container.close()
            raise
        self.stream.thread_type = "AUTO"
        # A frame may be larger than the file's head says; its blocks may stand out.
        most = MAX_PIXELS * 11 // 10
        self.stream.codec_context.options = {"max_pixels": str(most)}
        self.rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        duration = self.container.duration
        self.seconds = duration / av.time_base if duration and duration > 0 else None
        self.count = self.stream.frames or None
        if not self.count and self.seconds:
            self.count = max(1, round(self.seconds * self.rate))
        self._turns: int | None = None
        self.width, self.height = self.stream.width, self.stream.height

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, *_) -> None:
        self.container.close()

    def _picture(self):
        """The stream that is shown: not a cover picture."""
        for stream in self.container.streams.video:
            if not _attached(stream):
                return stream
        kinds = sorted({stream.type for stream in self.container.streams})
        raise ValueError(
            f"The clip has no moving picture. Received: {self.path!r}, which holds "
            f"{', '.join(kinds) or 'nothing'}."
        )

    def _check(self) -> None:
        context = self.stream.codec_context
        name = context.codec.canonical_name
        if name not in CODECS:
            raise ValueError(
                f"The clip's codec is not read. Received: {name!r}. "
                f"Accepted: {', '.join(CODECS.values())}."
            )
        if context.format is None:
            raise ValueError(
                f"The clip is damaged: nothing says what its frames are like. "
                f"Received: {self.path!r}."
            )
        bits = max(part.bits for part in context.format.components)
        hdr = _HDR.get(int(context.color_trc))
        if bits > 8 or hdr:
            raise ValueError(
                "A clip must have 8 bits a channel and no HDR. Received: "
                f"{bits} bits{f', {hdr}' if hdr else ''}. Accepted: a copy that was "
                "tone-mapped to 8-bit BT.709."
            )
        _check_size(self.stream.width, self.stream.height)

    def packets(self) -> Iterator[av.Packet]:
        """The packets of all streams, up to the clip's end or first fault."""
        ends = 0.0
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except (av.FFmpegError, OSError) as error:
                self._note(ends, _words(error))
                return
            if packet.pts is not None and packet.time_base:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                ends = max(ends, float(end))
            if packet.is_corrupt:
                self._note(ends, "a packet is cut off")
                return
            yield packet
        start = (self.container.start_time or 0) / av.time_base
        if self.seconds and ends - start < self.seconds - _EARLY:
            self._note(ends, f"it ends before its declared {self.seconds:.2f} s")

    def _note(self, seconds: float, what: str) -> None:
        if self.fault is None:
            self.fault = f"The clip is damaged at {max(seconds, 0.0):.2f} s: {what}."

    def frames(
        self, other: Callable[[av.Packet], object] | None = None
    ) -> Iterator[Frame]:
        """Decodes the clip, up to its end or first fault; see `fault`. Call it once.

        Args:
            other: is called with each packet that is not the picture's.

        Raises:
            ValueError: no frame can be read, or frames change their size.
        """
        index, first, last, size = 0, None, None, None
        step = max(1, round(1 / (self.rate * self.stream.time_base)))
        for image in self._images(other):
            if size is None:
                size = image.width, image.height
                _check_size(*size)
            if (image.width, image.height) != size:
                raise ValueError(
                    "A clip's frames must all have one size. Received: "
                    f"{size[0]}x{size[1]}, then {image.width}x{image.height}."
                )
            pts = image.pts
            if last is not None and (pts is None or pts <= last):
                # Encoders take growing times only.
                pts = last + (step if pts is None else 1)
            last = pts or 0
            first = last if first is None else first
            pixels = image.to_ndarray(format="rgb24")
            turns = round(image.rotation / 90) % 4
            if turns:
                pixels = np.ascontiguousarray(np.rot90(pixels, turns))
            self.height, self.width = pixels.shape[:2]
            seconds = float((last - first) * self.stream.time_base)
            yield Frame(index, last, seconds, pixels)
            index += 1
        if not index:
            raise ValueError(
                f"No frame of the clip can be read. Received: {self.path!r}."
                + (f" {self.fault}" if self.fault else "")
            )

    def _images(self, other) -> Iterator[av.VideoFrame]:
        time = 0.0
        for packet in self.packets():
            if packet.stream.index != self.stream.index:
                if other is not None:
                    other(packet)
                continue
            try:
                images = packet.decode()
            except (av.FFmpegError, OSError) as error:
                self._note(time, _words(error))
                break
            for image in images:
                if image.is_corrupt:
                    self._note(image.time or time, "a frame is damaged")
                    return
                time = image.time or time
                yield image
        else:
            return
        # What was decoded before the fault is still in the decoder.
        with contextlib.suppress(av.FFmpegError, OSError):
            yield from self.stream.codec_context.decode(None)


@dataclasses.dataclass(frozen=True)
class Written:
    """What became of a clip.

    Attributes:
        frames: number of frames that were written.
        seconds: time of the last one.
        lost: what the new file could not keep, in words.
        fault: as `Clip.fault`.
    """

    frames: int
    seconds: float
    lost: list[str]
    fault: str | None


def check_encoder(target: str, crf: int | None, preset: str | None) -> None:
    """Raises a ValueError for an output or a setting that there is not."""
    ending = os.path.splitext(target)[1].lower()
    if ending not in ENCODERS:
        raise ValueError(
            f"OUT must end in one of {', '.join(ENCODERS)} for a clip. "
            f"Received: {target!r}."
        )
    name, _, worst = ENCODERS[ending]
    if crf is not None and not 0 <= crf <= worst:
        raise ValueError(
            f"--crf must be from 0 to {worst} for {ending} files. Received: {crf}."
        )
    if preset is not None and (name != "libx264" or preset not in PRESETS):
        raise ValueError(
            f"--preset must be one of {', '.join(PRESETS)}, and OUT a file with H.264. "
            f"Received: {preset!r} for {ending}."
        )


def rewrite_clip(
    source: str | os.PathLike,
    target: str | os.PathLike,
    change: Callable[[Iterable[Frame]], Iterator[Frame]],
    crf: int | None = None,
    preset: str | None = None,
    strict: bool = False,
    before_writing: Callable[[str, Written], object] | None = None,
) -> Written:
    """Writes a clip with other pixels: H.264, or VP9 where OUT is a WebM file.

    Sound and subtitles are copied packet by packet. Time stamps, colour tags, the
    shape of pixels, chapters and titles stay; frames are stored upright. A run that
    ends early leaves nothing behind.

    Args:
        source: as for `Clip`.
        target: ends in one of `ENCODERS`.
        change: frames -> the same frames with other pixels, one at a time.
        crf: 0 (best) to 51, for VP9 to 63; None takes 18, for VP9 24.
        preset: x264's; None takes medium.
        strict: refuse a clip whose file holds something that OUT cannot keep, or that
            is damaged.
        before_writing: is called with the temporary file before it gets its name.

    Raises:
        ValueError: as for `Clip`, `frames` and `check_encoder`, or the target cannot
            be written.
    """
    target = os.fspath(target)
    check_encoder(target, crf, preset)
    about: list[Written] = []

    def write(temporary: str) -> None:
        with Clip(source) as clip:
            about.append(_write(clip, temporary, change, crf, preset, strict))
        if before_writing is not None:
            before_writing(temporary, about[0])

    write_atomic(target, write)
    return about[0]


def _write(clip: Clip, path: str, change, crf, preset, strict) -> Written:
    ending = os.path.splitext(path)[1].lower()
    encoder, usual, _ = ENCODERS[ending]
    settings = {"crf": str(usual if crf is None else crf)}
    if encoder == "libx264":
        settings["preset"] = preset or "medium"
    else:
        settings |= {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
    moov = {"movflags": "+faststart"} if ending in (".mp4", ".m4v", ".mov") else {}
    kind = {".m4v": "mp4", ".mkv": "matroska"}.get(ending, ending[1:])
    try:
        with av.open(f"file:{path}", "w", format=kind, options=moov) as output:
            picture = output.add_stream(encoder, rate=clip.rate, options=settings)
            copies, lost = _copies(clip, output)
            if strict and lost:
                raise ValueError(
                    f"OUT cannot keep all that the clip's file holds, and --strict "
                    f"asks for it. Received: {'; '.join(lost)}."
                )

            def copy(packet: av.Packet) -> None:
                stream = copies.get(packet.stream.index)
                if stream is not None and packet.dts is not None:
                    if not opened:
                        wait(packet)
                        return
                    packet.stream = stream
                    output.mux(packet)

            def wait(packet: av.Packet) -> None:
                nonlocal held
                waiting.append(packet)
                held += packet.size
                if held > MAX_WAITING:
                    raise ValueError(
                        "The clip's sound and subtitles must lie beside its frames. "
                        f"Received: {held:,} bytes of them before the first frame."
                    )

            # Streams are fixed once the first packet is written, and the frames' size
            # is known with the first one: what comes before it waits.
            opened, waiting, held = False, [], 0
            count, seconds = 0, 0.0
            for frame in change(clip.frames(copy)):
                if not opened:
                    _shape(clip, picture, frame)
                    opened = True
                    for packet in waiting:
                        copy(packet)
                    waiting.clear()
                output.mux(picture.encode(_image(clip, frame)))
                count, seconds = count + 1, frame.time
            if strict and clip.fault:
                raise ValueError(clip.fault)
            output.mux(picture.encode(None))
    except av.FFmpegError as error:
        if isinstance(error, OSError) and error.errno and error.errno > 0:
            raise OSError(error.errno, os.strerror(error.errno)) from None
        raise ValueError(
            f"The clip cannot be encoded: {_words(error)}. Received: {clip.path!r}."
        ) from None
    return Written(count, seconds, lost, clip.fault)


def _copies(clip: Clip, output) -> tuple[dict[int, av.stream.Stream], list[str]]:
    """Streams of the output by the index of those they copy; and what is lost."""
    copies, lost = {}, []
    for stream in clip.container.streams:
        if stream.index == clip.stream.index:
            continue
        name = getattr(stream.codec_context, "name", None)
        codec = stream.codec_context.codec.canonical_name if name else "unknown"
        kept = stream.type in ("audio", "subtitle") and _takes(output, codec)
        if not kept:
            what = "cover picture" if _attached(stream) else f"{stream.type} stream"
            lost.append(f"{what} ({codec})")
            continue
        copy = output.add_stream_from_template(stream)
        copy.metadata.update(_described(stream.metadata))
        copy.disposition = stream.disposition
        copies[stream.index] = copy
    output.metadata.update(_described(clip.container.metadata))
    chapters = clip.container.chapters()
    if chapters:
        output.set_chapters(chapters)
    return copies, lost


def _takes(output, codec: str) -> bool:
    """Whether a container takes a codec, as FFmpeg lists them."""
    if output.format.name == "mp4" and codec in ("ass", "subrip", "webvtt"):
        return False
    return codec in output.supported_codecs


def _described(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata without what belongs to a file rather than to what it shows."""
    return {
        name: text
        for name, text in metadata.items()
        if name.lower() not in _OWN and not name.lower().startswith("_statistics")
    }


def _shape(clip: Clip, picture, frame: Frame) -> None:
    """Gives the encoder what it is to know before the first frame."""
    source, context = clip.stream.codec_context, picture.codec_context
    context.height, context.width = (n + n % 2 for n in frame.pixels.shape[:2])
    context.pix_fmt = "yuv420p"
    context.time_base = picture.time_base = clip.stream.time_base
    for name in ("color_primaries", "color_trc", "colorspace", "color_range"):
        setattr(context, name, getattr(source, name))
    aspect = source.sample_aspect_ratio
    if aspect:
        turned = (context.width, context.height) != (source.width, source.height)
        context.sample_aspect_ratio = 1 / aspect if turned else aspect
    picture.metadata.update(_described(clip.stream.metadata))


def _image(clip: Clip, frame: Frame) -> av.VideoFrame:
    source = clip.stream.codec_context
    height, width = frame.pixels.shape[:2]
    pixels = frame.pixels
    if height % 2 or width % 2:  # Colour is stored at half the resolution.
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    image = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    image = image.reformat(
        format="yuv420p",
        dst_colorspace=int(source.colorspace),
        dst_color_range=int(source.color_range) or 1,
    )
    for name in ("color_primaries", "color_trc"):
        setattr(image, name, getattr(source, name))
    image.pts, image.time_base = frame.pts, clip.stream.time_base
    return image


def _attached(stream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or min(width, height) < MIN_SIDE:
        raise ValueError(
            f"A clip's frames must have at least {MIN_SIDE} pixels in each direction "
            f"and at most {MAX_PIXELS:,} in all (4096x2304). "
            f"Received: {width}x{height}."
        )


def _words(error: BaseException) -> str:
    """What FFmpeg says, without its numbers and the file's name."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
