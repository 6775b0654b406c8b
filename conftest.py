"""What the docstrings' examples find: a photo, a tagger, and a folder of their own."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _example(request, doctest_namespace, tmp_path, monkeypatch):
    """`photo`, also as photo.jpg in the current folder, and `tagger`.

    For what is about clips it stands still in clip.mp4 for six frames.
    """
    if not isinstance(request.node, pytest.DoctestItem):
        return
    from faketagger_tf.drawn import draw_photo, identity_from_seed
    from faketagger_tf.photos import write_image
    from faketagger_tf.tagging.tagger import Tagger

    monkeypatch.chdir(tmp_path)
    photo = draw_photo(identity_from_seed(3), np.random.default_rng(3), 256)[0]
    write_image("photo.jpg", photo)
    doctest_namespace |= {"photo": photo, "tagger": Tagger.load("face128")}
    if "faketagger_tf/video/" in request.node.path.as_posix():
        _write_clip("clip.mp4", photo)


def _write_clip(path, photo):
    import av

    with av.open(path, "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.height, stream.width = photo.shape[:2]
        for _ in range(6):
            image = av.VideoFrame.from_ndarray(photo, format="rgb24")
            output.mux(stream.encode(image.reformat(format="yuv420p")))
        output.mux(stream.encode(None))
