"""Who is drawn: the numbers that make one face, from a seed or by hand."""

from __future__ import annotations

import dataclasses

import numpy as np

HAIR_STYLES = ("bald", "short", "fringe", "long", "bob", "curly", "receding")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
CLOTHES = ("crew", "suit", "vneck")

# sRGB anchors, light to dark; an identity's number picks a point in between.
SKINS = np.array(
    [
        [246, 214, 194],
        [236, 188, 160],
        [214, 160, 124],
        [176, 120, 84],
        [128, 84, 58],
        [84, 56, 42],
    ]
)
HAIRS = {
    "black": (26, 22, 22),
    "dark brown": (58, 38, 28),
    "brown": (98, 66, 42),
    "blond": (196, 156, 98),
    "red": (150, 72, 36),
    "grey": (150, 148, 146),
    "white": (216, 212, 206),
}
IRISES = ((70, 44, 26), (104, 70, 36), (92, 104, 62), (88, 122, 152), (110, 120, 126))
FABRICS = (
    (38, 44, 62),
    (60, 60, 64),
    (150, 40, 44),
    (44, 90, 70),
    (190, 186, 176),
    (70, 96, 150),
    (120, 84, 130),
    (206, 150, 70),
)


@dataclasses.dataclass(frozen=True)
class Identity:
    """The features that make a drawn face recognisable; see `identity_from_seed`.

    Lengths are in half face boxes, `skin` and `age` run from 0 to 1 (light to dark,
    young to old), `texture` seeds freckles, wrinkles and hair ends.
    """

    skin: float = 0.3
    redness: float = 0.5
    age: float = 0.3
    freckles: float = 0.0
    face_width: float = 0.80
    jaw: float = 0.5
    chin: float = 1.0
    forehead: float = 1.12
    eye_spacing: float = 0.40
    eye_width: float = 0.17
    eye_height: float = 0.085
    eye_tilt: float = 0.0
    iris: int = 0
    brow_height: float = 0.22
    brow_thickness: float = 0.05
    brow_arch: float = 0.06
    nose_width: float = 0.14
    nose_length: float = 0.46
    nose_height: float = 0.26
    mouth_width: float = 0.32
    upper_lip: float = 0.055
    lower_lip: float = 0.08
    lip_colour: float = 0.3
    hair: str = "brown"
    hair_style: str = "short"
    hair_volume: float = 0.12
    hair_part: float = 0.2
    beard: str = "none"
    glasses: int = 0
    texture: int = 0


# The two identities of the demo, as unlike each other as the drawing allows.
DEFAULT_IDENTITIES = (
    Identity(
        skin=0.17,
        redness=0.7,
        age=0.25,
        freckles=0.5,
        face_width=0.76,
        jaw=0.25,
        chin=0.99,
        eye_height=0.095,
        eye_width=0.18,
        eye_tilt=0.05,
        iris=3,
        brow_thickness=0.035,
        brow_arch=0.08,
        nose_width=0.115,
        nose_height=0.22,
        mouth_width=0.31,
        upper_lip=0.065,
        lower_lip=0.09,
        lip_colour=0.8,
        hair="red",
        hair_style="long",
        hair_volume=0.16,
        texture=1,
    ),
    Identity(
        skin=0.72,
        redness=0.4,
        age=0.6,
        face_width=0.86,
        jaw=0.8,
        chin=1.05,
        eye_height=0.075,
        iris=0,
        brow_thickness=0.065,
        brow_arch=0.04,
        nose_width=0.18,
        nose_height=0.28,
        mouth_width=0.35,
        upper_lip=0.06,
        lower_lip=0.085,
        lip_colour=0.15,
        hair="black",
        hair_style="receding",
        hair_volume=0.05,
        beard="full",
        glasses=1,
        texture=2,
    ),
)


def identity_from_seed(seed: int) -> Identity:
    """Draws the features of an identity; the same seed gives the same identity."""
    rng = np.random.default_rng([seed, 7])
    uniform = rng.uniform
    skin = uniform()
    age = uniform()
    dark = ("black", "dark brown", "brown")
    hair = rng.choice(dark if skin > 0.45 else [*dark, "blond", "red"])
    if age > 0.65 and uniform() < 0.6:
        hair = rng.choice(["grey", "white"])
    style = rng.choice(HAIR_STYLES, p=(0.06, 0.28, 0.16, 0.16, 0.12, 0.12, 0.10))
    bearded = style in ("bald", "short", "receding", "curly") and uniform() < 0.55
    return Identity(
        skin=skin,
        redness=uniform(),
        age=age,
        freckles=uniform() ** 3 if skin < 0.4 else 0.0,
        face_width=uniform(0.74, 0.88),
        jaw=uniform(),
        chin=uniform(0.96, 1.07),
        forehead=uniform(1.06, 1.2),
        eye_spacing=uniform(0.37, 0.43),
        eye_width=uniform(0.155, 0.185),
        eye_height=uniform(0.065, 0.1),
        eye_tilt=uniform(-0.06, 0.1),
        iris=int(rng.integers(2 if skin > 0.5 else len(IRISES))),
        brow_height=uniform(0.19, 0.25),
        brow_thickness=uniform(0.03, 0.07),
        brow_arch=uniform(0.02, 0.09),
        nose_width=uniform(0.11, 0.18),
        nose_length=uniform(0.42, 0.5),
        nose_height=uniform(0.2, 0.32),
        mouth_width=uniform(0.27, 0.36),
        upper_lip=uniform(0.035, 0.07),
        lower_lip=uniform(0.06, 0.1),
        lip_colour=uniform(),
        hair=str(hair),
        hair_style=str(style),
        hair_volume=uniform(0.06, 0.2),
        hair_part=uniform(-0.4, 0.4),
        beard=str(rng.choice(BEARDS[1:])) if bearded else "none",
        glasses=int(rng.choice([0, 0, 0, 1, 2])),
        texture=int(rng.integers(2**31)),
    )


def default_identities(count: int = 2) -> dict[str, Identity]:
    """Returns `count` identities (1 to 26) named "A", "B", ..."""
    if not 1 <= count <= 26:
        raise ValueError(f"Identities must number from 1 to 26. Received: {count!r}.")
    more = [identity_from_seed(seed) for seed in range(2, count)]
    faces = [*DEFAULT_IDENTITIES, *more][:count]
    return {chr(ord("A") + n): face for n, face in enumerate(faces)}
