"""The hyper-parameters of one tagger, stored as JSON beside its weights.

A tagger's file also records what a later release must know to read today's tags: the
*format version*, the anchor that places the canvas, and how a payload's bits are laid
out. What a file does not say has the value that it had in version 1.
"""

from __future__ import annotations

import dataclasses
import json
import os

from faketagger_tf.messages import MessageCode

FORMAT = 1  # Version that this release writes; it reads all from 1 on.
# Per kind of strength the encoder's inputs, the last one being the strength if it has
# one; `scale` tells it the photo pixels per canvas pixel.
STRENGTHS = {
    "scheduled": ("cover", "message", "psnr"),
    "learned": ("cover", "message"),
    "visibility": ("cover", "message", "scale", "level"),
}
OUTSIDES = ("repeat", "black")
# The face detector, whose landmarks a canvas is fixed to, and the template
# (`photos.LANDMARKS`) that they are fitted to.
ANCHOR = {"detector": "mtcnn", "detector_version": 1, "landmarks": "arcface-5"}
BIT_ORDER = "payload, CRC and parity, each most significant bit first"


def write_json_dataclass(config) -> str:
    """Returns a configuration dataclass as an indented JSON object."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def read_json_dataclass(cls: type, path: str | os.PathLike):
    """Reads a configuration dataclass from a file written by `write_json_dataclass`.

    Raises:
        ValueError: the file cannot be read, is no JSON object, or has unknown or bad
            fields.
    """
    return _make(cls, _read_json(path), path)


def _read_json(path: str | os.PathLike) -> dict:
    path = os.fspath(path)
    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
    except OSError as error:
        raise ValueError(
            f"Cannot read the configuration {path!r}: {error.strerror or error}."
        ) from None
    except ValueError as error:
        raise ValueError(
            f"The configuration {path!r} is not valid JSON: {error}."
        ) from None
    if not isinstance(fields, dict):
        raise ValueError(
            f"The configuration {path!r} must hold a JSON object. "
            f"Received: {type(fields).__name__}."
        )
    return fields


def _make(cls: type, fields: dict, path: str | os.PathLike):
    known = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ValueError(
            f"Unknown field in {os.fspath(path)!r}: {', '.join(unknown)}. "
            f"Accepted: {', '.join(known)}."
        )
    return cls(**fields)


@dataclasses.dataclass(frozen=True)
class TaggerConfig:
    """Everything that is needed to rebuild a tagger's models and its message code.

    Attributes:
        image_size: side of the square canvas in pixels; a multiple of 16.
        canvas_scale: side of the canvas as a multiple of the face box's side.
        face_region: side of the square in the middle of the canvas that a face swap
            replaces, as a fraction of the canvas; 1.0 means the full frame.
        message_bits: length of the code word that the encoder embeds.
        payload_bits: length of the payload that the user sets.
        crc_bits: length of the checksum that travels with the payload (0 to 32).
        encoder_width: channels of the encoder's first level.
        decoder_width: channels of the decoder's first level.
        texture_mask: how far the residual follows the cover's local contrast, from 0
            (not at all) to 1 (textured regions carry eight times as much as flat ones).
        linear_path: whether the encoder of a strength other than "visibility" adds one
            learned pattern per bit to what its U-Net draws.
        strength: "scheduled" scales the residual to an exact PSNR; "learned" leaves
            the residual free, so that the image and message losses decide;
            "visibility" scales it to what the eye sees of it, with networks that are
            told the photo's scale (`models.banded_encoder`).
        psnr: PSNR in dB to which a "scheduled" residual is scaled by default.
        level: visibility in dB to which a "visibility" residual is scaled by default;
            44 is hardly seen on plain backgrounds, and 6 more is half as visible.
        strongest: strength in dB beyond which no tag is made by itself.
        weakest: strength in dB below which none is; see `tagging.promise`.
        informed_steps: steps by which a "visibility" residual is fitted to its cover
            while tagging (`models.informed`), 0 for none.
        attention: whether the decoder has a block of self-attention.
        outside: what a canvas shows where it reaches over the photo's border: "repeat"
            repeats the border's pixels, "black" is black.
        preset: name under which the weights are published; empty for a private run.
    """

    image_size: int = 128
    canvas_scale: float = 1.9
    face_region: float = 0.5
    message_bits: int = 64
    payload_bits: int = 32
    crc_bits: int = 4
    encoder_width: int = 32
    decoder_width: int = 64
    texture_mask: float = 0.0
    linear_path: bool = True
    strength: str = "scheduled"
    psnr: float = 41.0
    level: float = 44.0
    strongest: float = 36.0
    weakest: float = 48.0
    informed_steps: int = 0
    attention: bool = False
    outside: str = "repeat"
    preset: str = ""

    def __post_init__(self):
        for name in (
            "image_size",
            "message_bits",
            "payload_bits",
            "encoder_width",
            "decoder_width",
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"{name} must be a positive integer. Received: {value!r}."
                )
        if self.encoder_width % 4 or self.decoder_width % 4:
            raise ValueError(
                "encoder_width and decoder_width must be multiples of 4. "
                f"Received: {self.encoder_width} and {self.decoder_width}."
            )
        if self.image_size % 16 or not 32 <= self.image_size <= 1024:
            raise ValueError(
                "image_size must be a multiple of 16 from 32 to 1024. "
                f"Received: {self.image_size}."
            )
        if not 0 <= self.crc_bits <= 32:
            raise ValueError(
                f"crc_bits must be from 0 to 32. Received: {self.crc_bits!r}."
            )
        if self.payload_bits + self.crc_bits > self.message_bits:
            raise ValueError(
                "payload_bits + crc_bits must not exceed message_bits. Received: "
                f"{self.payload_bits} + {self.crc_bits} > {self.message_bits}."
            )
        if not 0 <= self.texture_mask <= 1:
            raise ValueError(
                f"texture_mask must be from 0 to 1. Received: {self.texture_mask!r}."
            )
        if self.strength not in STRENGTHS:
            raise ValueError(
                f"strength must be one of {', '.join(STRENGTHS)}. "
                f"Received: {self.strength!r}."
            )
        if not self.linear_path and self.strength == "visibility":
            raise ValueError(
                "The strength 'visibility' needs the linear path. "
                f"Received: linear_path={self.linear_path!r}."
            )
        if not 0 < self.face_region <= 1:
            raise ValueError(
                f"face_region must be in (0, 1]. Received: {self.face_region!r}."
            )
        if not 0.5 <= self.canvas_scale <= 8:
            raise ValueError(
                f"canvas_scale must be from 0.5 to 8. Received: {self.canvas_scale!r}."
            )
        for name in ("psnr", "level", "strongest", "weakest"):
            value = getattr(self, name)
            if not 10 <= value <= 80:
                raise ValueError(
                    f"{name} must be from 10 to 80 dB. Received: {value!r}."
                )
        if self.strongest > self.weakest:
            raise ValueError(
                "strongest must be at most weakest, both in dB. "
                f"Received: {self.strongest!r} and {self.weakest!r}."
            )
        if self.strength == "visibility" and self.image_size & (self.image_size - 1):
            raise ValueError(
                "image_size must be a power of two for the strength 'visibility'. "
                f"Received: {self.image_size}."
            )
        steps = self.informed_steps
        most = 16 if self.strength == "visibility" else 0
        if not isinstance(steps, int) or not 0 <= steps <= most:
            raise ValueError(
                f"informed_steps must be a whole number from 0 to {most} for the "
                f"strength {self.strength!r}. Received: {steps!r}."
            )
        if self.outside not in OUTSIDES:
            raise ValueError(
                f"outside must be one of {', '.join(OUTSIDES)}. "
                f"Received: {self.outside!r}."
            )

    @property
    def encoder_inputs(self) -> tuple[str, ...]:
        """Names of the encoder's inputs."""
        return STRENGTHS[self.strength]

    @property
    def strength_input(self) -> str | None:
        """Name of the input that takes the strength in dB; None if it is learned."""
        name = self.encoder_inputs[-1]
        return None if name == "message" else name

    @property
    def layout(self) -> dict:
        """What the file records beside the hyper-parameters, see the module."""
        code = MessageCode(self.payload_bits, self.message_bits, self.crc_bits)
        polynomial = code.crc_polynomial
        return {
            "format": FORMAT,
            "anchor": ANCHOR,
            "code": {
                "name": code.name,
                "bits": BIT_ORDER,
                "crc": f"{polynomial:#x}" if self.crc_bits else "none",
            },
        }

    def to_json(self) -> str:
        """Returns the configuration file's content."""
        return json.dumps(self.layout | dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def load(cls, path: str | os.PathLike) -> TaggerConfig:
        """Reads a configuration file written by `to_json`, of this or an older release.

        Raises:
            ValueError: the file cannot be read, has unknown or bad fields, or was
                written by a later release or for another anchor or message code.
        """
        fields, name = _read_json(path), os.fspath(path)
        version = fields.pop("format", 1)
        if type(version) is not int or not 1 <= version <= FORMAT:
            written = (
                "was written by a later release"
                if isinstance(version, int) and version > FORMAT
                else "has no valid format version"
            )
            raise ValueError(
                f"The configuration {name!r} {written} and cannot be read. "
                f"Received: format {version!r}. Accepted: "
                f"{'1' if FORMAT == 1 else f'1 to {FORMAT}'}."
            )
        recorded = {key: fields.pop(key) for key in ("anchor", "code") if key in fields}
        config = _make(cls, fields, name)
        for key, value in recorded.items():
            if value != config.layout[key]:
                raise ValueError(
                    f"The configuration {name!r} needs another {key} than this release "
                    f"has. Received: {json.dumps(value)}. Accepted: "
                    f"{json.dumps(config.layout[key])}."
                )
        return config
