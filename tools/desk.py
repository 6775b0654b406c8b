"""The README's picture of the desk's page: a deepfake, its source and what differs.

    python -m tools.desk [PHOTO]

Tags a photo into a new registry, swaps its face, saves it as JPEG 75, traces that on
the page of a desk and writes `build/desk/desk.png`. Without a PHOTO it is
scikit-image's astronaut. Needs `npm ci` in web/ and Chromium, as the tests of the page.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
import threading

import skimage.data

from faketagger_tf.desk import make_app, make_listener
from faketagger_tf.desk.server import make_server
from faketagger_tf.photos import read_photo, write_image
from faketagger_tf.registry import init_registry
from faketagger_tf.registry.access import add_key
from faketagger_tf.registry.jobs import tag_into_registry
from faketagger_tf.tagging.tagger import Tagger
from tools.arguments import call

FOLDER = pathlib.Path("build/desk")
WIDTH, HEIGHT = 900, 960  # Of the picture, in pixels.
ABOUT = {"owner": "Newsroom", "note": "Crew portrait, front page"}


def main(photo: str = "") -> None:
    """Makes the picture; see the module's docstring."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    original, tagged, fake, picture = (
        FOLDER / name for name in ("photo.png", "tagged.png", "fake.jpg", "desk.png")
    )
    write_image(original, read_photo(photo) if photo else skimage.data.astronaut())
    tagger = Tagger.load("face128")
    with init_registry(f"sqlite:///{FOLDER}/tags.db") as registry:
        row = tag_into_registry(tagger, registry, original, tagged, **ABOUT)
        print(f"Tagged with {row['payload']}.", flush=True)
        command = [sys.executable, "-m", "faketagger_tf", "deepfake"]
        command += [str(tagged), str(fake), "--quality=75"]
        subprocess.run(command, check=True)
        key = add_key(registry, "desk", ["admin"])
        listener = make_listener("127.0.0.1", 0)
        host, port = listener.getsockname()
        server = make_server(make_app(tagger, registry))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            job = {
                "url": f"http://{host}:{port}/",
                "key": key,
                "width": WIDTH,
                "height": HEIGHT,
                "photos": [str(fake)],
                "screenshot": str(picture),
            }
            (FOLDER / "job.json").write_text(json.dumps(job))
            command = ["node", "web/drive-desk.mjs", str(FOLDER / "job.json")]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        finally:
            server.should_exit = True
            thread.join()
    said = json.loads(done.stdout)
    print(said["photos"][str(fake)]["text"])
    print(f"Wrote {picture}")


if __name__ == "__main__":
    call(main)
