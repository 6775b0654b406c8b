"""What tags can be promised to survive: the copies that each promise names.

Standard library alone, so that the command shows them without loading what tags.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Copy:
    """One way in which a photo is passed on.

    Attributes:
        name: what a row calls it.
        pasted: another face is pasted over the face.
        grey: luma alone is kept.
        scale: by which the photo is resized, after that.
        qualities: of the JPEGs as which it is then saved, colour at half resolution.
    """

    name: str
    pasted: bool = False
    grey: bool = False
    scale: float = 1.0
    qualities: tuple[int, ...] = ()


# The hardest come first, which decides most at the first look (see `promise._choose`).
_WEB = (
    Copy("grey, JPEG 75", grey=True, qualities=(75,)),
    Copy("JPEG 40", qualities=(40,)),
    Copy("pasted face, JPEG 75", pasted=True, qualities=(75,)),
    Copy("0.7x, JPEG 75", scale=0.7, qualities=(75,)),
    Copy("half size", scale=0.5),
    Copy("0.6x, JPEG 60, JPEG 70", scale=0.6, qualities=(60, 70)),
)
PROMISES: dict[str, tuple[Copy, ...]] = {
    "archive": (
        Copy("JPEG 75", qualities=(75,)),
        Copy("0.7x", scale=0.7),
        Copy("grey", grey=True),
        Copy("pasted face", pasted=True),
    ),
    "web": _WEB,
    "strict": (
        *_WEB,
        Copy("JPEG 30", qualities=(30,)),
        Copy("half size, JPEG 75", scale=0.5, qualities=(75,)),
        Copy("pasted face, JPEG 50", pasted=True, qualities=(50,)),
    ),
}
