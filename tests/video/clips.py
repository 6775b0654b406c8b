"""Clips made on the fly: small ones, with real codecs."""

from fractions import Fraction

import av
import cv2
import numpy as np

from faketagger_tf.drawn import draw_photo, identity_from_seed

WIDTH, HEIGHT, COUNT, RATE = 320, 240, 20, 25


def flat(index):
    """Grey with a red corner, top left."""
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    pixels[:60, :80] = (230, 30, 20)
    return pixels


def moving_face(seed=3):
    """A drawn face that moves to the right and down, 2 and 1 pixels a frame."""
    rng = np.random.default_rng(seed)
    photo = draw_photo(identity_from_seed(seed), rng, HEIGHT)[0]

    def draw(index):
        matrix = np.array([[1.0, 0, 20 + 2 * index], [0, 1.0, -10 + index]])
        return cv2.warpAffine(
            photo, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101
        )

    return draw


def encode(path, draw=flat, count=COUNT, codec="libx264", **options):
    """Writes a clip by PyAV alone.

    Options: times (pts in 1/25 s), rotation (degrees), sound, subtitles, pix_fmt,
    colour (of ITU-T H.273: matrix and primaries), transfer, rate, title.
    """
    colour, pix_fmt = options.get("colour", 1), options.get("pix_fmt", "yuv420p")
    with av.open(str(path), "w") as output:
        picture = output.add_stream(codec, rate=RATE, options={"crf": "12"})
        shape = draw(0).shape
        picture.height, picture.width, picture.pix_fmt = *shape[:2], pix_fmt
        context = picture.codec_context
        context.colorspace = context.color_primaries = colour
        context.color_trc = options.get("transfer", colour)
        if options.get("rotation"):
            picture.set_display_rotation(options["rotation"])
        if "title" in options:
            output.metadata["title"] = options["title"]
        sound = output.add_stream("aac", rate=48000) if options.get("sound") else None
        for index in range(count):
            image = av.VideoFrame.from_ndarray(draw(index), format="rgb24")
            image = image.reformat(format=pix_fmt, dst_colorspace=colour)
            image.pts = options.get("times", range(count))[index]
            image.time_base = Fraction(1, RATE)
            output.mux(picture.encode(image))
            if sound:
                rng = np.random.default_rng(index)
                noise = rng.normal(0, 0.1, (1, 1920)).astype(np.float32)
                heard = av.AudioFrame.from_ndarray(noise, "fltp", "mono")
                heard.sample_rate, heard.pts = 48000, index * 1920
                output.mux(sound.encode(heard))
        output.mux(picture.encode(None))
        if sound:
            output.mux(sound.encode(None))
    return str(path)


def sound_packets(path):
    """The bytes of every packet of sound."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.audio
        return [bytes(p) for p in container.demux(stream) if p.size]
