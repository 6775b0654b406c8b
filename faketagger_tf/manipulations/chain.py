"""Spec strings such as `faceswap(A>B)|resize(0.5)|jpeg(35..90)` and what they name.

A chain is manipulations joined by `|`. Arguments stand in order or as `name=value`; a
numeric argument may be a range `low..high`, drawn uniformly for every image. The same
string drives training (`Chain.apply`, differentiable, on float images) and evaluation
(`Chain.apply_real`, real codecs, on uint8 images).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable

import numpy as np
from keras import ops

from faketagger_tf.manipulations import (
    attributes,
    codecs,
    face,
    geometry,
    graphics,
    overlay,
    photometric,
)
from faketagger_tf.manipulations.face import Context
from faketagger_tf.manipulations.random import StatelessSeed, uniform

_STEP = re.compile(r"\s*(\w+)\s*(?:\((.*)\)\s*)?", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Range:
    """A numeric argument drawn uniformly per image from [low, high]."""

    low: float
    high: float

    def __str__(self):
        return f"{_number(self.low)}..{_number(self.high)}"


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One argument of a manipulation.

    Attributes:
        name: its keyword.
        default: its value when left out; None is decided by the context.
        low, high: the bounds of a number, both included.
        integer: only whole numbers are drawn and accepted.
        ranged: a range is accepted.
        choices: the words accepted, for an argument that is a word.
        text: the argument is a free name.
        doc: what it means, with its unit.
    """

    name: str
    default: float | str | Range | None
    doc: str
    low: float = 0.0
    high: float = 0.0
    integer: bool = False
    ranged: bool = True
    choices: tuple[str, ...] = ()
    text: bool = False

    @property
    def accepted(self) -> str:
        """The values accepted, in words."""
        if self.text:
            return "a name"
        if self.choices:
            return " or ".join(self.choices)
        kind = "a whole number" if self.integer else "a number"
        also = " or a range low..high" if self.ranged else ""
        return f"{kind}{also} from {_number(self.low)} to {_number(self.high)}"

    def parse(self, text: str) -> float | str | Range:
        """Returns the value that `text` names; ValueError without a message if bad."""
        if self.text:
            if not text:
                raise ValueError
            return text
        if self.choices:
            if text not in self.choices:
                raise ValueError
            return text
        if ".." not in text:
            return self._parse_number(text)
        low, high = (self._parse_number(bound) for bound in text.split("..", 1))
        if not self.ranged or low > high:
            raise ValueError
        return Range(low, high) if low < high else low

    def _parse_number(self, text: str) -> float:
        value = float(text)
        if not self.low <= value <= self.high or (self.integer and value % 1):
            raise ValueError
        return int(value) if self.integer else value


@dataclasses.dataclass(frozen=True)
class Manipulation:
    """One entry of the registry.

    Attributes:
        name: as written in a spec string.
        differentiable: (images float [B, S, S, 3], seed, context, **arguments) ->
            images; a numeric argument is a float, or float32 [B] where drawn.
        real: (images uint8 [B, S, S, 3], rng, context, **arguments) -> images; a
            numeric argument that may be a range is float64 [B].
        doc: one line.
        parameters: in the order of the spec string.
    """

    name: str
    differentiable: Callable
    real: Callable
    doc: str
    parameters: tuple[Parameter, ...] = ()


_MASK = Parameter("mask", "feather", "blending mask", choices=face.MASKS)
_REGION = Parameter(
    name="region",
    default=None,
    doc="side of the face region, as a fraction of the canvas",
    low=0.05,
    high=1.0,
    ranged=False,
)
_CENTRE = Parameter(
    name="centre",
    default=0,
    doc="1 keeps the middle, 0 a random place",
    high=1,
    integer=True,
    ranged=False,
)
_QUALITY = Parameter("quality", 75, "the codec's quality", 1, 100, integer=True)
_PIXELS = Parameter("pixels", 32, "side it is reduced to", 2, 1024, integer=True)
_SWAP = Parameter("swap", "*", "name of a face swap, * for any of them", text=True)


_LATENT = Parameter("model", "*", "name of a latent model, * for any", text=True)
_EDITED = Parameter(
    name="attribute",
    default="*",
    doc="what is edited, * for any",
    choices=("*", *attributes.ATTRIBUTES),
)


def _expression(name: str, doc: str, low: float = -1.0) -> Parameter:
    return Parameter(name, Range(low / 2, 0.5), doc, low, 1.0)


def _colour(default: int) -> Parameter:
    doc = "1 matches the face's colours to the target's"
    return Parameter("colour", default, doc, high=1, integer=True, ranged=False)


MANIPULATIONS: dict[str, Manipulation] = {
    entry.name: entry
    for entry in (
        Manipulation(
            "identity",
            photometric.identity,
            photometric.identity_real,
            "Nothing happens",
        ),
        Manipulation(
            "round",
            photometric.round_,
            photometric.round_real,
            "Clipping and rounding to 8 bits",
        ),
        Manipulation(
            "jpeg",
            codecs.jpeg,
            codecs.jpeg_real,
            "JPEG, 4:2:0",
            (_QUALITY,),
        ),
        Manipulation(
            "webp",
            codecs.webp,
            codecs.webp_real,
            "Lossy WebP; in training with the gradient of a JPEG of about the same "
            "PSNR, and with its values as well under XLA; on JAX by 4x4 transforms",
            (_QUALITY,),
        ),
        Manipulation(
            "gridjpeg",
            codecs.gridjpeg,
            codecs.gridjpeg_real,
            "JPEG on a photo's own grid: resampled to a number of pixels a side, JPEG "
            "there, and back",
            (dataclasses.replace(_PIXELS, default=96, ranged=False), _QUALITY),
        ),
        Manipulation(
            "resize",
            geometry.resize,
            geometry.resize_real,
            "Down by area averaging and back up bilinearly",
            (Parameter("scale", 0.5, "fraction of the side", 0.05, 1.0),),
        ),
        Manipulation(
            "downup",
            geometry.downup,
            geometry.downup_real,
            "Like resize, down to a number of pixels",
            (_PIXELS,),
        ),
        Manipulation(
            "superres",
            geometry.superres,
            geometry.superres_real,
            "Down by area averaging and up by iterated back-projection, as "
            "super-resolution does",
            (Parameter("scale", 0.5, "fraction of the side", 0.05, 1.0),),
        ),
        Manipulation(
            "crop",
            geometry.crop,
            geometry.crop_real,
            "Keep a square part and enlarge it to the full side",
            (Parameter("fraction", 0.8, "fraction of the side", 0.1, 1.0), _CENTRE),
        ),
        Manipulation(
            "overhang",
            geometry.overhang,
            geometry.overhang_real,
            "The canvas reaches over the photo: border pixels are repeated; each side "
            "loses, half of the time, up to its argument",
            (Parameter("fraction", 0.15, "fraction of the side", 0.0, 0.45),),
        ),
        Manipulation(
            "edge",
            geometry.edge,
            geometry.edge_real,
            "The photo's border crosses the canvas, black outside: each side loses, "
            "half of the time, up to a fraction",
            (
                Parameter("fraction", 0.2, "fraction of the side", 0.0, 0.49),
                Parameter("degrees", 10.0, "turn of the photo in degrees", 0.0, 45.0),
            ),
        ),
        Manipulation(
            "mirror",
            geometry.mirror,
            geometry.mirror_real,
            "Left and right change places",
        ),
        Manipulation(
            "affine",
            geometry.affine,
            geometry.affine_real,
            "Random turn, scale and shift, each uniform in +- its argument",
            (
                Parameter("degrees", 5.0, "turn in degrees", 0.0, 180.0),
                Parameter("scale", 0.05, "change of scale", 0.0, 0.5),
                Parameter("shift", 2.0, "shift in pixels", 0.0, 512.0),
            ),
        ),
        Manipulation(
            "blur",
            photometric.blur,
            photometric.blur_real,
            "Gaussian blur",
            (Parameter("sigma", 1.0, "standard deviation in pixels", 0.1, 10.0),),
        ),
        Manipulation(
            "denoise",
            photometric.denoise,
            photometric.denoise_real,
            "Non-local means; in training with the gradient of a Gaussian blur of "
            "about the same PSNR, and with its values as well under XLA; on JAX itself",
            (Parameter("strength", 5.0, "OpenCV's h", 1.0, 20.0),),
        ),
        Manipulation(
            "beauty",
            photometric.beauty,
            photometric.beauty_real,
            "Bilateral filter, as apps smooth skin",
            (Parameter("strength", 0.15, "range deviation, white being 1", 0.01, 1.0),),
        ),
        Manipulation(
            "sharpen",
            photometric.sharpen,
            photometric.sharpen_real,
            "Unsharp mask of one pixel",
            (Parameter("amount", 0.7, "share of the detail added", 0.0, 3.0),),
        ),
        Manipulation(
            "noise",
            photometric.noise,
            photometric.noise_real,
            "Gaussian noise",
            (Parameter("std", 0.03, "standard deviation, white being 1", 0.0, 0.5),),
        ),
        Manipulation(
            "fractal",
            photometric.fractal,
            photometric.fractal_real,
            "Not the photo any more but fractal noise, a cover of another kind",
            (Parameter("roughness", 1.0, "fall from octave to octave", 0.0, 3.0),),
        ),
        Manipulation(
            "color",
            photometric.color,
            photometric.color_real,
            "Random brightness, contrast, saturation and hue",
            (Parameter("strength", 0.2, "largest relative change", 0.0, 1.0),),
        ),
        Manipulation(
            "grey",
            photometric.grey,
            photometric.grey_real,
            "Luma alone",
        ),
        Manipulation(
            "gamma",
            photometric.gamma,
            photometric.gamma_real,
            "Values raised to a power",
            (Parameter("power", 1.6, "power", 0.2, 5.0),),
        ),
        Manipulation(
            "filter",
            photometric.filter_,
            photometric.filter_real,
            "A photo app's random curve, tint, saturation and vignette",
            (Parameter("strength", 1.0, "1 is as much as apps offer", 0.0, 1.5),),
        ),
        Manipulation(
            "caption",
            overlay.caption,
            overlay.caption_real,
            "White letters with a black edge across the lower or the upper part",
        ),
        Manipulation(
            "sticker",
            overlay.sticker,
            overlay.sticker_real,
            "An opaque round sticker at a random place",
            (Parameter("size", 0.25, "fraction of the side", 0.05, 1.0, ranged=False),),
        ),
        Manipulation(
            "letterbox",
            overlay.letterbox,
            overlay.letterbox_real,
            "Two black bars, above and below or on both sides, on a canvas that was "
            "shown smaller",
            (
                Parameter("fraction", 0.1, "of the side that a bar covers", 0.0, 0.45),
                Parameter("scale", 0.8, "fraction of the side shown", 0.05, 1.0),
            ),
        ),
        Manipulation(
            "faceswap",
            face.faceswap,
            face.faceswap_real,
            "The face region through a face-swap model, blended back",
            (_SWAP, _MASK, _REGION, _colour(1)),
        ),
        Manipulation(
            "autoencode",
            face.autoencode,
            face.autoencode_real,
            "The whole canvas through a face-swap model",
            (_SWAP,),
        ),
        Manipulation(
            "facepaste",
            face.facepaste,
            face.facepaste_real,
            "Another photo's face region pasted in",
            (_MASK, _REGION, _colour(0)),
        ),
        Manipulation(
            "graphicswap",
            graphics.graphicswap,
            graphics.graphicswap_real,
            "A drawn face or a composite of many people put on by computer graphics: "
            "warped to the landmarks, colours matched, Poisson blended",
            (Parameter("donor", "*", "name of a donor, * for any", text=True),),
        ),
        Manipulation(
            "reenact",
            graphics.reenact,
            graphics.reenact_real,
            "Another expression and turn of the head by a thin-plate warp of "
            "landmarks, the inside of an opened mouth painted in",
            (
                _expression("mouth", "how far it opens", 0.0),
                _expression("smile", "corners of the mouth up, or down"),
                _expression("brows", "up, or down"),
                _expression("eyes", "wider, or narrower"),
                _expression("gaze", "to the viewer's right, or left"),
                _expression("turn", "of the head to the viewer's right, or left"),
                _expression("nod", "of the head down, or up"),
            ),
        ),
        Manipulation(
            "edit",
            graphics.edit,
            graphics.edit_real,
            "An attribute edited by regions and landmarks; then the face and what was "
            "edited, or the whole canvas, drawn anew by a latent autoencoder",
            (
                _EDITED,
                Parameter("amount", 0.7, "1 is all the way", 0.0, 1.0),
                Parameter(
                    "region", "face", "what is redrawn", choices=attributes.REGIONS
                ),
                _LATENT,
            ),
        ),
        Manipulation(
            "regenerate",
            face.regenerate,
            face.regenerate_real,
            "The whole canvas through a latent autoencoder, as a diffusion editor does",
            (
                _LATENT,
                Parameter(
                    "noise", 0.0, "deviation added to the latents, theirs being 1", 0, 2
                ),
            ),
        ),
        Manipulation(
            "facewarp",
            face.facewarp,
            face.facewarp_real,
            "Elastic warp of the face region",
            (
                Parameter("strength", 0.05, "shift per side of the region", 0.0, 0.3),
                _MASK,
                _REGION,
            ),
        ),
        Manipulation(
            "faceblur",
            face.faceblur,
            face.faceblur_real,
            "Gaussian blur of the face region",
            (
                Parameter("sigma", 3.0, "standard deviation in pixels", 0.1, 10.0),
                _MASK,
                _REGION,
            ),
        ),
        Manipulation(
            "facedown",
            face.facedown,
            face.facedown_real,
            "The face region down to a number of pixels and back up",
            (dataclasses.replace(_PIXELS, default=16), _MASK, _REGION),
        ),
        Manipulation(
            "facecrop",
            face.facecrop,
            face.facecrop_real,
            "A tight crop: all but the middle square turns grey, or black",
            (
                Parameter("fraction", 0.625, "the side kept", 0.1, 1.0, ranged=False),
                Parameter("outside", "grey", "the rest", choices=tuple(face.OUTSIDE)),
            ),
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Step:
    """One manipulation with all of its arguments."""

    name: str
    arguments: tuple[float | str | Range | None, ...] = ()

    def __str__(self):
        parameters = MANIPULATIONS[self.name].parameters
        shown = [
            (f"{parameter.name}=" if i else "") + _number(value)
            for i, (parameter, value) in enumerate(
                zip(parameters, self.arguments, strict=True)
            )
            if i == 0 or value != parameter.default
        ]
        return f"{self.name}({','.join(shown)})" if shown else self.name


@dataclasses.dataclass(frozen=True)
class Chain:
    """Manipulations applied one after the other; `str` gives the canonical spec."""

    steps: tuple[Step, ...]

    def __str__(self):
        return "|".join(str(step) for step in self.steps)

    def swap_names(self) -> list[str]:
        """Returns the names of the face swaps that the chain runs, in order."""
        return self._names(_SWAP)

    def latent_names(self) -> list[str]:
        """Returns the names of the latent models that the chain runs, in order."""
        return self._names(_LATENT)

    def _names(self, wanted: Parameter) -> list[str]:
        return [
            value
            for step in self.steps
            for parameter, value in zip(
                MANIPULATIONS[step.name].parameters, step.arguments, strict=True
            )
            if parameter is wanted
        ]

    def apply(self, images, seed: StatelessSeed, context: Context | None = None):
        """Applies the differentiable versions.

        Args:
            images: float32 [B, S, S, 3] RGB, about [0, 1], of static shape.
            seed: draws the random numbers.
            context: face swaps and the face region; none by default.

        Returns:
            float32 [B, S, S, 3].

        Raises:
            ValueError: the shape is none of those, or a face swap is unknown.
        """
        _check_shape(images.shape)
        context = context or Context()
        for step in self.steps:
            entry = MANIPULATIONS[step.name]
            arguments = {
                parameter.name: _draw(parameter, value, seed, images.shape[0])
                for parameter, value in zip(
                    entry.parameters, step.arguments, strict=True
                )
            }
            images = entry.differentiable(images, seed, context, **arguments)
        return images

    def apply_real(
        self,
        images: np.ndarray,
        rng: np.random.Generator,
        context: Context | None = None,
    ) -> np.ndarray:
        """Applies the real codecs and OpenCV's operations.

        Args:
            images: uint8 [B, S, S, 3] RGB.
            rng: draws the random numbers; one seed gives one result.
            context: face swaps and the face region; none by default.

        Returns:
            uint8 [B, S, S, 3], a new array.

        Raises:
            ValueError: the images are none of those, or a face swap is unknown.
        """
        images = np.asarray(images)
        _check_shape(images.shape)
        if images.dtype != np.uint8:
            raise ValueError(f"The images must be uint8. Received: {images.dtype}.")
        context = context or Context()
        for step in self.steps:
            entry = MANIPULATIONS[step.name]
            arguments = {
                parameter.name: _draw_real(parameter, value, rng, len(images))
                for parameter, value in zip(
                    entry.parameters, step.arguments, strict=True
                )
            }
            images = entry.real(images, rng, context, **arguments)
        return images.copy() if not self.steps else images


def parse_chain(spec: str) -> Chain:
    """Reads a spec string such as "faceswap(A>B)|resize(0.5)|jpeg(35..90)".

    Raises:
        ValueError: an unknown manipulation or argument, too many arguments, or a value
            that is not accepted.
    """
    return Chain(tuple(_parse_step(text) for text in spec.split("|")))


def parse_chains(specs: Iterable[str]) -> list[Chain]:
    """Reads several spec strings."""
    return [parse_chain(spec) for spec in specs]


def describe_manipulations() -> str:
    """Returns a Markdown table of every manipulation and its arguments."""
    lines = ["| manipulation | what it does | arguments |", "|---|---|---|"]
    for entry in MANIPULATIONS.values():
        arguments = "; ".join(
            f"`{p.name}`{'' if p.default is None else f' = {_number(p.default)}'}: "
            f"{p.doc}, {p.accepted}"
            for p in entry.parameters
        )
        lines.append(f"| `{entry.name}` | {entry.doc} | {arguments} |")
    return "\n".join(lines) + "\n"


def _parse_step(text: str) -> Step:
    match = _STEP.fullmatch(text)
    if not match or match[1] not in MANIPULATIONS:
        raise ValueError(
            f"Unknown manipulation. Received: {text.strip()!r}. "
            f"Accepted: {', '.join(MANIPULATIONS)}."
        )
    entry = MANIPULATIONS[match[1]]
    values = {parameter.name: parameter.default for parameter in entry.parameters}
    words = match[2].split(",") if match[2] and match[2].strip() else []
    given = set()
    for position, word in enumerate(words):
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals:
            if position >= len(entry.parameters):
                raise ValueError(
                    f"{entry.name} takes at most {len(entry.parameters)} arguments. "
                    f"Received: {len(words)}, {match[2]!r}. Accepted: "
                    f"{', '.join(values) or 'no arguments'}."
                )
            name, value = entry.parameters[position].name, name
        parameter = next((p for p in entry.parameters if p.name == name), None)
        if parameter is None:
            raise ValueError(
                f"{entry.name} has no argument {name!r}. "
                f"Accepted: {', '.join(values) or 'no arguments'}."
            )
        if name in given:
            raise ValueError(
                f"{name} of {entry.name} is given twice. Received: {text.strip()!r}."
            )
        given.add(name)
        try:
            values[name] = parameter.parse(value)
        except ValueError:
            raise ValueError(
                f"{name} of {entry.name} must be {parameter.accepted}. "
                f"Received: {value!r}."
            ) from None
    return Step(entry.name, tuple(values.values()))


def _number(value) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _draw(parameter: Parameter, value, seed, batch: int):
    if not isinstance(value, Range):
        return value
    if parameter.integer:
        whole = ops.floor(uniform(seed, [batch], value.low, value.high + 1))
        return ops.minimum(whole, float(value.high))
    return uniform(seed, [batch], value.low, value.high)


def _draw_real(parameter: Parameter, value, rng, batch: int):
    if isinstance(value, Range):
        if parameter.integer:
            return rng.integers(value.low, value.high + 1, batch).astype(np.float64)
        return rng.uniform(value.low, value.high, batch)
    if parameter.text or parameter.choices or not parameter.ranged:
        return value
    return np.full(batch, value, np.float64)


def _check_shape(shape):
    if (
        len(shape) != 4
        or None in tuple(shape)
        or shape[0] < 1
        or shape[1] != shape[2]
        or shape[3] != 3
        or shape[1] < 16
    ):
        raise ValueError(
            "The images must be [B, S, S, 3] with a static B of at least 1 and S of at "
            f"least 16. Received: {list(shape)}."
        )
