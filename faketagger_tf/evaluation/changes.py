"""What happens to whole photos that are published, with real codecs, uint8 in and out.

Every change is a function (photo, scene) -> photo; `CHANGES` names those that a tag is
measured against, in the order of a report.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import cv2
import keras
import numpy as np

from faketagger_tf.deepfake import (
    edit_faces,
    reenact_faces,
    swap_faces,
    swap_faces_by_graphics,
)
from faketagger_tf.manipulations.geometry import upscale
from faketagger_tf.manipulations.overlay import draw_caption, sticker_picture
from faketagger_tf.models import FaceswapConfig, regenerate_photo
from faketagger_tf.photos import decode_photo, encode_image
from faketagger_tf.photos.faces import Face, detect_faces

# Region of the canvas that a large swap redraws. `deepfake.swap_faces` exchanges an
# ellipse in it with a hard edge; at .67 that edge lies where the soft `large` mask of
# `manipulations.face` is one half, .26 and .32 of the canvas from the middle.
LARGE_SWAP = 0.67
EDIT_AMOUNT = 0.7  # How far attributes are edited.


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a change may need to know.

    Attributes:
        rng: draws its random numbers.
        faces: of the photo, largest first; may be empty.
        swap: a face-swap autoencoder's configuration and model, or None.
        latent: a latent autoencoder, or None.
        large_swap: one that was trained from hairline to chin; None stretches `swap`.
    """

    rng: np.random.Generator
    faces: tuple[Face, ...] = ()
    swap: tuple[FaceswapConfig, keras.Model] | None = None
    latent: keras.Model | None = None
    large_swap: tuple[FaceswapConfig, keras.Model] | None = None


Change = Callable[[np.ndarray, Scene], np.ndarray]


def untouched(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """The photo as it was tagged."""
    return photo


def jpeg(photo: np.ndarray, scene: Scene, quality: int) -> np.ndarray:
    """Saves as JPEG and opens it again."""
    return decode_photo(encode_image(photo, ".jpg", quality))


def webp(photo: np.ndarray, scene: Scene, quality: int) -> np.ndarray:
    """Saves as lossy WebP and opens it again."""
    return decode_photo(encode_image(photo, ".webp", quality))


def resize(photo: np.ndarray, scene: Scene, factor: float) -> np.ndarray:
    """Resizes by area when smaller, cubic when larger."""
    return scale(photo, factor)


def scale(photo: np.ndarray, factor: float) -> np.ndarray:
    """Resizes a photo by a factor: area when smaller, cubic when larger."""
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    height, width = (max(1, round(factor * side)) for side in photo.shape[:2])
    return cv2.resize(photo, (width, height), interpolation=method)


def grey(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """Keeps luma alone."""
    return cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def mirror(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """Exchanges left and right."""
    return np.ascontiguousarray(photo[:, ::-1])


def gamma(photo: np.ndarray, scene: Scene, exponent: float) -> np.ndarray:
    """Brightens (below 1) or darkens (above 1) the middle tones."""
    table = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return cv2.LUT(photo, table)


def warm_filter(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """A photo app's filter: warmer, more contrast, faded black, a dark border."""
    x = photo.astype(np.float32) / 255
    x = x + 0.35 * (x * x * (3 - 2 * x) - x)  # An S curve, in part.
    x = (0.05 + 0.93 * x) * np.array([1.07, 1.0, 0.88], np.float32)
    height, width = photo.shape[:2]
    row, column = np.mgrid[:height, :width].astype(np.float32)
    far = (2 * row / height - 1) ** 2 + (2 * column / width - 1) ** 2
    x = x * (1 - 0.12 * far)[..., None]
    return np.clip(np.rint(255 * x), 0, 255).astype(np.uint8)


def caption(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """Writes large white letters with a black edge across the photo's lower part."""
    return draw_caption(photo)


def sticker(photo: np.ndarray, scene: Scene, size: float) -> np.ndarray:
    """Lays an opaque round sticker over the photo; `size` is its share of the width."""
    height, width = photo.shape[:2]
    side = max(8, min(round(size * width), height))
    top = scene.rng.integers(height - side + 1)
    left = scene.rng.integers(width - side + 1)
    picture, photo = sticker_picture(side), photo.copy()
    part = photo[top : top + side, left : left + side]
    weights = picture[..., 3:]
    part[:] = np.rint(part * (1 - weights) + 255 * picture[..., :3] * weights)
    return photo


def superres(photo: np.ndarray, scene: Scene, factor: float) -> np.ndarray:
    """Reduces by area and enlarges by classical super-resolution."""
    return upscale(scale(photo, factor), *photo.shape[:2])


def sharpen(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """Unsharp mask: radius 1.5 pixels, 80%."""
    soft = cv2.GaussianBlur(photo, (0, 0), 1.5)
    return cv2.addWeighted(photo, 1.8, soft, -0.8, 0)


def rotate(photo: np.ndarray, scene: Scene, degrees: float) -> np.ndarray:
    """Turns either way about the middle; the corners that come in are black."""
    height, width = photo.shape[:2]
    turn = degrees * scene.rng.choice([-1, 1])
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, 1.0)
    return cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_CUBIC)


def crop(photo: np.ndarray, scene: Scene, share: float) -> np.ndarray:
    """Cuts half to one and a half of `share` off each side, as far as the face allows.

    The face's box stays whole; call it before the photo is turned or resized.
    """
    height, width = photo.shape[:2]
    box = scene.faces[0].box if scene.faces else (0, 0, width, height)
    left, top, box_width, box_height = box
    limits = left, top, width - left - box_width, height - top - box_height
    sides = [
        int(max(0, min(part * length, limit)))
        for part, length, limit in zip(
            share * scene.rng.uniform(0.5, 1.5, 4),
            (width, height) * 2,
            limits,
            strict=True,
        )
    ]
    kept = photo[sides[1] : height - sides[3], sides[0] : width - sides[2]]
    return np.ascontiguousarray(kept)


def letterbox(photo: np.ndarray, scene: Scene, factor: float) -> np.ndarray:
    """A screenshot: the photo at a smaller scale between black bars and a white one."""
    small = scale(photo, factor)
    top, bottom = round(0.25 * len(small)), round(0.2 * len(small))
    screen = cv2.copyMakeBorder(small, top, bottom, 0, 0, cv2.BORDER_CONSTANT)
    screen[: top // 3] = 245
    return screen


def denoise(photo: np.ndarray, scene: Scene, strength: float) -> np.ndarray:
    """OpenCV's non-local means in colour, windows of 5 and 15 pixels."""
    bgr = np.ascontiguousarray(photo[..., ::-1])
    clean = cv2.fastNlMeansDenoisingColored(bgr, None, strength, strength, 5, 15)
    return np.ascontiguousarray(clean[..., ::-1])


def bilateral(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """Skin smoothing: OpenCV's bilateral filter, 7 pixels, sigmas 40 and 3."""
    return cv2.bilateralFilter(photo, 7, 40, 3)


def swap(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """Deepfakes every face with the scene's model.

    Raises:
        ValueError: the scene has no model, or no face could be swapped.
    """
    return _swap(photo, scene.swap)


def large_swap(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """Deepfakes every face from hairline to chin; errors as for `swap`.

    A model that was trained on less leaves blurs that no detector takes for a face when
    it is stretched so far: where the scene has one for the whole face, it is taken.
    """
    return _swap(photo, scene.large_swap or scene.swap, LARGE_SWAP)


def _swap(photo: np.ndarray, model, region: float | None = None) -> np.ndarray:
    """Swaps by (configuration, model); `region` None redraws what it was trained on."""
    if model is None:
        raise ValueError("A swap needs a face-swap model. Received: none.")
    config, network = model
    if region:
        config = dataclasses.replace(config, face_region=region)
    return swap_faces(photo, config, network, config.identities[-1])[0]


def graphics_swap(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """Puts a drawn face or a composite onto every face; errors as for `swap`."""
    return swap_faces_by_graphics(photo, rng=scene.rng)[0]


def reenact(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """Gives every face a random expression; errors as for `swap`."""
    return reenact_faces(photo, rng=scene.rng)[0]


def edit(photo: np.ndarray, scene: Scene, region: str = "face") -> np.ndarray:
    """Edits a random attribute of every face, redrawn by the scene's latent model.

    Args:
        photo, scene: as in every change.
        region: what is redrawn, as for `deepfake.edit_faces`.

    Raises:
        ValueError: the scene has no model, or no face could be changed.
    """
    if scene.latent is None:
        raise ValueError("Editing an attribute needs a latent model. Received: none.")
    edited, _ = edit_faces(
        photo, scene.latent, amount=EDIT_AMOUNT, region=region, rng=scene.rng
    )
    return edited


def regenerate(photo: np.ndarray, scene: Scene, noise: float = 0.0) -> np.ndarray:
    """Runs the whole photo through the scene's latent model.

    Raises:
        ValueError: the scene has no model.
    """
    if scene.latent is None:
        raise ValueError("Regenerating needs a latent model. Received: none.")
    return regenerate_photo(scene.latent, photo, noise, scene.rng)


def face_alone(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """Crops to the largest face's box, which leaves out hair and surroundings.

    Raises:
        ValueError: no face is found.
    """
    faces = detect_faces(photo)
    if not faces:
        raise ValueError("A face crop needs a face. Received: a photo without any.")
    left, top, width, height = faces[0].box
    rows = slice(max(0, round(top)), round(top + height))
    columns = slice(max(0, round(left)), round(left + width))
    return np.ascontiguousarray(photo[rows, columns])


def chain(*changes: Change) -> Change:
    """Returns the change that applies several, one after the other."""

    def apply(photo: np.ndarray, scene: Scene) -> np.ndarray:
        for change in changes:
            photo = change(photo, scene)
        return photo

    return apply


def _with(change, **options) -> Change:
    return functools.partial(change, **options)


_JPEG75 = _with(jpeg, quality=75)

CHANGES: dict[str, Change] = {
    "untouched": untouched,
    "JPEG 75": _JPEG75,
    "JPEG 50": _with(jpeg, quality=50),
    "JPEG 30": _with(jpeg, quality=30),
    "WebP 50": _with(webp, quality=50),
    "half size": _with(resize, factor=0.5),
    "0.7x, JPEG 75": chain(_with(resize, factor=0.7), _JPEG75),
    "0.6x, JPEG 60, JPEG 70": chain(
        _with(resize, factor=0.6), _with(jpeg, quality=60), _with(jpeg, quality=70)
    ),
    "grey, JPEG 75": chain(grey, _JPEG75),
    "mirrored": mirror,
    "gamma 0.6": _with(gamma, exponent=0.6),
    "gamma 1.6": _with(gamma, exponent=1.6),
    "filter, JPEG 75": chain(warm_filter, _JPEG75),
    "caption, JPEG 75": chain(caption, _JPEG75),
    "sharpened": sharpen,
    "cropped 10%, rotated 10 degrees, JPEG 75": chain(
        _with(crop, share=0.1), _with(rotate, degrees=10), _JPEG75
    ),
    "letterboxed screenshot 0.8x, JPEG 75": chain(
        _with(letterbox, factor=0.8), _JPEG75
    ),
    "non-local means 7": _with(denoise, strength=7),
    "bilateral": bilateral,
    "deepfake, JPEG 75": chain(swap, _JPEG75),
    "large deepfake, JPEG 75": chain(large_swap, _JPEG75),
    "graphics swap, JPEG 75": chain(graphics_swap, _JPEG75),
    "reenacted, JPEG 75": chain(reenact, _JPEG75),
    "reenacted, face alone, JPEG 75": chain(reenact, face_alone, _JPEG75),
    "edited, JPEG 75": chain(edit, _JPEG75),
    "edited whole canvas, JPEG 75": chain(_with(edit, region="canvas"), _JPEG75),
    "regenerated, JPEG 75": chain(regenerate, _JPEG75),
    "regenerated with noise 0.1, JPEG 75": chain(_with(regenerate, noise=0.1), _JPEG75),
    "super-resolution 0.5, JPEG 75": chain(_with(superres, factor=0.5), _JPEG75),
    "sticker, JPEG 75": chain(_with(sticker, size=0.2), _JPEG75),
}


def select_changes(names: Sequence[str]) -> dict[str, Change]:
    """Returns the named ones of `CHANGES`, or all of them where none is named.

    Raises:
        ValueError: there is no such change.
    """
    unknown = [name for name in names if name not in CHANGES]
    if unknown:
        raise ValueError(
            f"There is no change {unknown[0]!r}. Accepted: {'; '.join(CHANGES)}."
        )
    return {name: CHANGES[name] for name in names} or dict(CHANGES)
