"""Writes a contact sheet of drawn faces, or folders of them; see the package."""

from __future__ import annotations

from absl import flags

from faketagger_tf.command import run_main
from faketagger_tf.drawn import contact_sheet, write_drawn_folder
from faketagger_tf.photos import write_image


def main(argv: list[str]) -> None:
    """Draws; see the package."""
    del argv
    values = flags.FLAGS
    if not values.output and not values.folder:
        raise ValueError(
            "There is nothing to do. Accepted: --output=FILE for a contact sheet, "
            "--folder=DIR, or both."
        )
    if values.folder:
        paths = write_drawn_folder(
            values.folder, values.identities, values.count, values.seed, values.size
        )
        print(f"Wrote {len(paths)} photos to {values.folder}")
    if values.output:
        sheet = contact_sheet(max(values.identities, 4), seed=values.seed)
        write_image(values.output, sheet)
        print(f"Wrote {values.output}")


def _define_flags() -> None:
    flags.DEFINE_string("output", "", "Image file of a contact sheet.")
    flags.DEFINE_string("folder", "", "Folder that gets one sub-folder per identity.")
    flags.DEFINE_integer("identities", 2, "Number of identities.")
    flags.DEFINE_integer("count", 50, "Photos of each identity.")
    flags.DEFINE_integer("seed", 0, "Seed of the poses, lights and places.")
    flags.DEFINE_integer("size", 256, "Side of the photos in pixels.")


if __name__ == "__main__":
    _define_flags()
    run_main(main)
