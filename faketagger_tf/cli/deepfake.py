"""`faketagger deepfake`: fakes the faces of a photo or a clip."""

from __future__ import annotations

import dataclasses
import itertools

from faketagger_tf.cli import common, video
from faketagger_tf.cli.parser import Parser
from faketagger_tf.names import one_line, printable

FORM = "deepfake IN OUT"
SUMMARY = "Fake the faces of a photo or a clip, to see what a tag survives."
# What each method takes beside the files, and how its result is told.
METHODS = {
    "swap": ("model", "identity"),
    "graphicswap": ("donor",),
    "reenact": ("expression",),
    "edit": ("attribute", "amount", "region", "latent"),
    "regenerate": ("latent", "noise"),
}
# The sharpest of the shipped ones, and one that no preset was trained against.
SWAP_MODEL, LATENT_MODEL = "unseen_skips", "unseen"
AMOUNT = 0.7  # Of an attribute's editing.


def define(parser: Parser) -> None:
    """Defines arguments and flags."""
    parser.add_argument("source", metavar="IN", help="A photo, or a clip.")
    parser.add_argument("target", metavar="OUT", help="A file.")
    common.add_quality_flag(parser)
    video.add_coding_flags(parser)
    common.add_overwrite_flag(parser)
    parser.add_argument(
        "--method",
        choices=tuple(METHODS),
        default="swap",
        help="swap: a face-swap model; graphicswap: a drawn or composite face by "
        "computer graphics; reenact: another expression; edit: hair, skin, age, beard "
        "or glasses, the face drawn anew by a latent model; regenerate: the whole "
        "photo through a latent model. Clips are swapped alone (%(default)s).",
    )
    parser.add_argument(
        "--model",
        help="Of swap: name of a shipped face-swap model, or a folder with one "
        f"({SWAP_MODEL}).",
    )
    parser.add_argument(
        "--identity",
        help="Of swap: identity that every face is swapped to; by default the model's "
        "last.",
    )
    parser.add_argument(
        "--donor", help="Of graphicswap: a donor's name; by default any of them."
    )
    parser.add_argument(
        "--expression",
        help='Of reenact: such as "mouth=0.8,smile=0.5,turn=-0.4"; by default a '
        "random one.",
    )
    parser.add_argument(
        "--attribute",
        help="Of edit: such as blond_hair, dark_skin, age, beard or glasses; by "
        "default any of them.",
    )
    parser.add_argument(
        "--amount",
        type=float,
        help=f"Of edit: how far it goes, from 0 to 1 ({AMOUNT}).",
    )
    parser.add_argument(
        "--region",
        help="Of edit: what is drawn anew, face or canvas, which has hair and "
        "surroundings too (face).",
    )
    parser.add_argument(
        "--latent",
        help="Of edit and regenerate: name of a shipped latent model, or a folder with "
        f"one ({LATENT_MODEL}).",
    )
    parser.add_argument(
        "--noise",
        type=float,
        help="Of regenerate: deviation of noise added to the latents, theirs being 1 "
        "(0).",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="Of what is drawn at random (%(default)s)."
    )


def run(values) -> int:
    """Fakes; returns the exit code."""
    _check_flags(values)
    if video.check_files([values.source]):
        if values.method != "swap":
            raise ValueError(
                "A clip's faces can be swapped alone. Received: "
                f"--method={values.method}. Accepted: --method=swap."
            )
        values.model = values.model or SWAP_MODEL
        return video.deepfake(values)
    video.refuse_coding_flags(values)
    from faketagger_tf.photos.photo_file import (
        WRITABLE,
        read_photo_file,
        write_photo_file,
    )

    common.check_extension("OUT", values.target, WRITABLE)
    common.check_free(values.target, values.overwrite)

    from faketagger_tf.presets import require_tensorflow

    require_tensorflow("Faking a photo")
    photo = read_photo_file(values.source)
    pixels, line = _fake(values, photo.pixels)
    photo = dataclasses.replace(photo, pixels=pixels)
    told = write_photo_file(values.target, photo, values.quality)
    lost = f"  lost: {'; '.join(told.lost)}" if told.lost else ""
    print(f"{printable(values.target)}  {one_line(line + lost)}")
    return 0


def _check_flags(values) -> None:
    """Raises a ValueError for another method's flag, or a bad amount of noise."""
    for name in dict.fromkeys(itertools.chain.from_iterable(METHODS.values())):
        methods = [m for m, names in METHODS.items() if name in names]
        if values.method not in methods and getattr(values, name) is not None:
            raise ValueError(
                f"--{name} is for --method={' or '.join(methods)}. "
                f"Received: --{name} with --method={values.method}."
            )
    if values.noise is not None and not 0 <= values.noise <= 2:
        raise ValueError(f"--noise must be from 0 to 2. Received: {values.noise!r}.")


def _fake(values, photo):
    """The faked photo, and what was done in words."""
    import numpy as np

    from faketagger_tf import deepfake
    from faketagger_tf.presets import load_faceswap, load_latent

    rng = np.random.default_rng(values.seed)
    if values.method == "graphicswap":
        donor = values.donor or "*"
        pixels, count = deepfake.swap_faces_by_graphics(photo, donor, rng)
        to = "a donor each" if donor == "*" else donor
        return pixels, f"{count} face(s) swapped to {to}"
    if values.method == "reenact":
        expression = deepfake.parse_expression(values.expression or "")
        pixels, count = deepfake.reenact_faces(photo, expression, rng)
        return pixels, f"{count} face(s) given another expression"
    if values.method == "edit":
        attribute = values.attribute or "*"
        amount = AMOUNT if values.amount is None else values.amount
        _, model = load_latent(values.latent or LATENT_MODEL)
        pixels, count = deepfake.edit_faces(
            photo, model, attribute, amount, values.region or "face", rng
        )
        what = "an attribute each" if attribute == "*" else attribute
        return pixels, f"{count} face(s) edited: {what} by {amount:g}"
    if values.method == "regenerate":
        from faketagger_tf.models import regenerate_photo

        name, noise = values.latent or LATENT_MODEL, values.noise or 0.0
        _, model = load_latent(name)
        pixels = regenerate_photo(model, photo, noise, rng)
        return pixels, f"regenerated by {name} with noise {noise:g}"
    config, model = load_faceswap(values.model or SWAP_MODEL)
    identity = values.identity or config.identities[-1]
    pixels, count = deepfake.swap_faces(photo, config, model, identity)
    return pixels, f"{count} face(s) swapped to {identity}"
