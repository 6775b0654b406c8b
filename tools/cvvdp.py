"""ColorVideoVDP's quality of the pairs that `make visibility` wrote, in JOD.

    .venv-cvvdp/bin/python tools/cvvdp.py build/pairs build/visibility-cvvdp.md

Runs in an environment of its own (requirements-cvvdp.txt), because it needs torch. Its
own command would fetch a library for reading images; these are PNG files of 8 bits,
which Pillow reads. 10 is no difference; a photo 0.25 JOD below is told from another by
some 55% of viewers instead of 50% (Mantiuk et al. 2024).
"""

import pathlib
import sys

import numpy as np
import pycvvdp
from PIL import Image


def main(folder: str, output: str) -> None:
    """Measures every pair and writes mean, least and each photo's quality."""
    metric = pycvvdp.cvvdp(display_name="standard_fhd", quiet=True)
    rows = []
    for cover in sorted(pathlib.Path(folder).glob("*_cover.png")):
        tagged = cover.with_name(cover.name.replace("_cover", "_tagged"))
        pair = [np.asarray(Image.open(path)) for path in (tagged, cover)]
        quality = float(metric.predict(*pair, dim_order="HWC")[0])
        rows.append((cover.stem.removesuffix("_cover"), quality))
        print(f"{rows[-1][0]}: {quality:.3f}", flush=True)
    if not rows:
        sys.exit(f"There must be pairs *_cover.png, *_tagged.png. Received: {folder}.")
    jods = [quality for _, quality in rows]
    lines = [
        f"{len(jods)} photos: mean {np.mean(jods):.3f} JOD, least {min(jods):.3f}.",
        "",
        "| photo | JOD |",
        "|---|---|",
        *(f"| {name} | {quality:.3f} |" for name, quality in rows),
    ]
    pathlib.Path(output).write_text("\n".join(lines) + "\n")
    print(lines[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
