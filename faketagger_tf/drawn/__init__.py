"""Drawn faces: an endless, seeded supply of portraits that show nobody.

Every face is drawn from formulas, so that demos and tests need no photo of a person
and nothing is downloaded. A face is a texture and a height field in a frontal frame;
it is lit from the normals of the field, and turned by moving each point along the
field's depth. Hair, neck, clothes, glasses and background are layers around it.

    python -m faketagger_tf.drawn --output=docs/drawn-faces.png
    python -m faketagger_tf.drawn --folder=drawn --identities=2 --count=50

The first command writes a contact sheet, the second photos in one folder per identity.

The frontal frame: u to the viewer's right, v down, z to the viewer, in units of half a
face box, so that the box is [-1, 1] x [-1, 1] and the landmarks lie where
`canvas.LANDMARKS` has them.
"""

from faketagger_tf.drawn.identity import (
    BEARDS,
    CLOTHES,
    DEFAULT_IDENTITIES,
    HAIR_STYLES,
    Identity,
    default_identities,
    identity_from_seed,
)
from faketagger_tf.drawn.photo import (
    contact_sheet,
    draw_canvases,
    draw_photo,
    write_drawn_folder,
)

__all__ = [
    "BEARDS",
    "CLOTHES",
    "DEFAULT_IDENTITIES",
    "HAIR_STYLES",
    "Identity",
    "contact_sheet",
    "default_identities",
    "draw_canvases",
    "draw_photo",
    "identity_from_seed",
    "write_drawn_folder",
]
