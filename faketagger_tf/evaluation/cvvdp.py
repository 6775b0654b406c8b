"""ColorVideoVDP's quality of pairs of photos in JOD, in an environment of its own.

    python cvvdp.py PAIRS OUTPUT

measures every pair *_cover.png and *_tagged.png of the folder PAIRS, such as `make
visibility` writes, and writes a table to OUTPUT, or each pair's quality as JSON where
it ends in .json. Needs requirements-cvvdp.txt, which brings torch, and nothing of this
project, so that it runs as a file on its own. ColorVideoVDP's own command would fetch a
library for reading images; these are PNG files of 8 bits, which Pillow reads. 10 is no
difference; a photo 0.25 JOD below is told from another by some 55% of viewers instead
of 50% (Mantiuk et al. 2024).
"""

import json
import pathlib
import sys

import numpy as np


def measure(folder: str) -> dict[str, float]:
    """Measures every pair of a folder: name -> JOD."""
    # Not above, because `compare`, which runs this file, has no torch.
    import pycvvdp
    from PIL import Image

    metric = pycvvdp.cvvdp(display_name="standard_fhd", quiet=True)
    found = {}
    for cover in sorted(pathlib.Path(folder).glob("*_cover.png")):
        name = cover.stem.removesuffix("_cover")
        tagged = cover.with_name(f"{name}_tagged.png")
        if not tagged.is_file():
            sys.exit(f"Error: {tagged} is missing beside {cover.name}.")
        pair = [np.asarray(Image.open(path)) for path in (tagged, cover)]
        found[name] = float(metric.predict(*pair, dim_order="HWC")[0])
        print(f"{name}: {found[name]:.3f}", file=sys.stderr, flush=True)
    return found


def table(found: dict[str, float]) -> str:
    """Mean, least and each photo's quality as Markdown."""
    jods = list(found.values())
    lines = [
        f"{len(jods)} photos: mean {np.mean(jods):.3f} JOD, least {min(jods):.3f}.",
        "",
        "| photo | JOD |",
        "|---|---|",
        *(f"| {name} | {quality:.3f} |" for name, quality in found.items()),
    ]
    return "\n".join(lines) + "\n"


def main(folder: str, output: str) -> None:
    """Measures, and writes what was found."""
    if not pathlib.Path(output).parent.is_dir():
        sys.exit(f"Error: OUTPUT must lie in a folder that exists. Received: {output}.")
    found = measure(folder)
    if not found:
        sys.exit(f"Error: PAIRS must hold files *_cover.png. Received: {folder}.")
    text = table(found)
    written = json.dumps(found) if output.endswith(".json") else text
    pathlib.Path(output).write_text(written)
    print(text.splitlines()[0])


if __name__ == "__main__":
    # This folder's html.py is not the standard library's, which torch imports.
    folder = str(pathlib.Path(__file__).resolve().parent)
    sys.path = [path for path in sys.path if path != folder]
    if len(sys.argv) != 3:
        sys.exit("Usage: python cvvdp.py PAIRS OUTPUT")
    main(*sys.argv[1:])
