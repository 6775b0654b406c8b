"""Writes docs/manipulations.md and its pictures, one a manipulation.

    python -m tools.manipulations

Each picture shows scikit-image's astronaut and a drawn face on their canvases, after
the real version of the manipulation; one more shows every attribute that is edited.
"""

from __future__ import annotations

import pathlib

import numpy as np
from skimage import data

from faketagger_tf.drawn import draw_canvases, identity_from_seed
from faketagger_tf.manipulations import (
    MANIPULATIONS,
    Context,
    describe_manipulations,
    parse_chain,
)
from faketagger_tf.manipulations.attributes import ATTRIBUTES
from faketagger_tf.photos import similarity_from_landmarks, warp_canvas, write_image
from faketagger_tf.photos.faces import detect_faces
from faketagger_tf.presets import load_latents, load_swaps

DOCS = pathlib.Path(__file__).parents[1] / "docs"
FOLDER = "manipulations"  # Of the pictures, in docs.
SIDE = 160
# What a picture shows where the defaults would show little.
SHOWN = {
    "jpeg": "jpeg(15)",
    "webp": "webp(5)",
    "gridjpeg": "gridjpeg(64,20)",
    "resize": "resize(0.25)",
    "superres": "superres(0.25)",
    "blur": "blur(2)",
    "denoise": "denoise(12)",
    "beauty": "beauty(0.3)",
    "sharpen": "sharpen(2)",
    "noise": "noise(0.1)",
    "affine": "affine(15,0.1,8)",
    "color": "color(0.5)",
    "overhang": "overhang(0.4)",
    "edge": "edge(0.4)",
    "faceswap": "faceswap(unseen_skips:A>B)",
    "autoencode": "autoencode(unseen_skips:A>B)",
    "graphicswap": "graphicswap(composite2)",
    "reenact": "reenact(0.8,0.6,0.6,0.3,0.4,0.5,0)",
    "edit": "edit(blond_hair,amount=1,model=unseen)",
    "regenerate": "regenerate(one,noise=0.1)",
    "facepaste": "facepaste(large)",
    "facewarp": "facewarp(0.1)",
}
HEAD = """# Manipulations

What can be done to a tagged canvas, in training (differentiable) and in evaluation
(real codecs). One spec string names a chain: `faceswap(A>B)|resize(0.5)|jpeg(35..90)`.
Arguments stand in order or as `name=value`; a range is drawn anew for every image. This
page is written by `python -m tools.manipulations`; its table is what
`faketagger_tf.manipulations.describe_manipulations()` returns.

FakeTagger's four kinds of deepfake are `faceswap` and `graphicswap` (identity swap, by
a model or by graphics), `reenact` (reenactment), `edit` (attribute editing) and
`regenerate` (entire synthesis). On whole photos the same are `faketagger deepfake
--method=swap|graphicswap|reenact|edit|regenerate` and rows of
`faketagger_tf.evaluation.changes`. Donors of graphics swaps are drawn, or the mean of
28 people each; nobody's own face is put onto another.

"""
ATTRIBUTES_FILE = "attributes.jpg"
TAIL = f"""## Attribute editing

![attributes]({FOLDER}/{ATTRIBUTES_FILE})

In each row the canvas as it was, then
{", ".join(f"`{a}`" for a in ATTRIBUTES)},
all with `amount=1`, redrawn by the latent model `unseen`. A smile is `reenact`'s.

The paper edits attributes with conditional GANs: one network takes a face and the
attributes wanted, and draws the whole face anew. **No conditional generator is trained
here.** `edit` does the two things that such a network does to a tag one after the
other. First it changes the attribute by rule: skin and hair are found by their place
and colour and recoloured in L\*a\*b\* with light and shade kept; age is coarser skin,
lines and grey hair; a beard and glasses are drawn at the landmarks. Then a latent
autoencoder draws every pixel of the face, and of what was edited beside it, anew, and
the result is blended back over a soft border, as the crops of attribute editors are;
`region=canvas` redraws the whole canvas instead. On whole photos this happens at 256
pixels a canvas, whatever the photo's size.

What that means:

- the redrawn pixels owe nothing to the photo's but what passes an eight times smaller
  map of 16 or so channels, which is what takes a tag away, and what a GAN does too;
- the autoencoder was trained to keep a picture, at about 30 dB, and has no adversary. A
  GAN may keep less (a narrow bottleneck) or more (connections around it), so that
  figures after `edit` are figures of this editor and no promise for another one;
- the edit itself is the same rule for everybody, made to change a tag as an edit does,
  not to deceive. It looks right on portraits before plain walls. It follows five
  landmarks and no pose, so that glasses sit askew on a turned head; it leaves hair
  alone that has the colour of the wall or of the skin, and on a cap, very short hair or
  a busy background it recolours what is no hair.
"""


def attributes(images: np.ndarray, context: Context) -> np.ndarray:
    """Every attribute on every canvas: uint8 `[rows, columns, 3]`."""
    columns = [images]
    for name in ATTRIBUTES:
        chain = parse_chain(f"edit({name},1,model=unseen)")
        columns.append(chain.apply_real(images, np.random.default_rng(4), context))
    return np.vstack([np.hstack(row) for row in zip(*columns, strict=True)])


def canvases() -> np.ndarray:
    """The two canvases that are shown: uint8 `[2, SIDE, SIDE, 3]`."""
    photo = data.astronaut()
    matrix = similarity_from_landmarks(detect_faces(photo)[0].landmarks, SIDE)
    drawn = draw_canvases(identity_from_seed(3), 1, seed=2, image_size=SIDE)[0]
    return np.stack([warp_canvas(photo, matrix, SIDE), drawn])


def main() -> None:
    """Writes the page and the pictures."""
    images = canvases()
    context = Context(
        swaps=load_swaps(["unseen_skips"]), latents=load_latents(["one", "unseen"])
    )
    text = HEAD + describe_manipulations() + "\n## Pictures\n\n"
    for name in MANIPULATIONS:
        spec = str(parse_chain(SHOWN.get(name, name)))
        changed = parse_chain(spec).apply_real(
            images, np.random.default_rng(4), context
        )
        write_image(DOCS / FOLDER / f"{name}.jpg", np.hstack(changed), quality=80)
        text += f"`{spec}`\n\n![{name}]({FOLDER}/{name}.jpg)\n\n"
    shown = attributes(images, context)
    write_image(DOCS / FOLDER / ATTRIBUTES_FILE, shown, quality=85)
    (DOCS / f"{FOLDER}.md").write_text(text + TAIL)


if __name__ == "__main__":
    main()
