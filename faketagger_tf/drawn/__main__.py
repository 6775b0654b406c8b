"""Writes a contact sheet of drawn faces, or folders of them; see the package."""

from __future__ import annotations

import sys

from absl import app, flags

from faketagger_tf.drawn import contact_sheet, write_drawn_folder
from faketagger_tf.photos import write_image


def main(_) -> None:
    values = flags.FLAGS
    if not values.output and not values.folder:
        sys.exit("Error: give --output=FILE for a contact sheet or --folder=DIR.")
    try:
        if values.folder:
            paths = write_drawn_folder(
                values.folder, values.identities, values.count, values.seed, values.size
            )
            print(f"Wrote {len(paths)} photos to {values.folder}")
        if values.output:
            sheet = contact_sheet(max(values.identities, 4), seed=values.seed)
            write_image(values.output, sheet)
            print(f"Wrote {values.output}")
    except ValueError as error:
        sys.exit(f"Error: {error}")


def _define_flags() -> None:
    flags.DEFINE_string("output", "", "Image file of a contact sheet.")
    flags.DEFINE_string("folder", "", "Folder that gets one sub-folder per identity.")
    flags.DEFINE_integer("identities", 2, "Number of identities.")
    flags.DEFINE_integer("count", 50, "Photos of each identity.")
    flags.DEFINE_integer("seed", 0, "Seed of the poses, lights and places.")
    flags.DEFINE_integer("size", 256, "Side of the photos in pixels.")


if __name__ == "__main__":
    _define_flags()
    app.run(main)
