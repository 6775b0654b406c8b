"""Other watermarks for photos, run in an environment of their own; see `compare`.

    python rivals.py embed rivagan IN OUT BITS.json
    python rivals.py read rivagan IN BITS.json

`embed` marks every PNG of the folder IN with 32 bits, the text of 0 and 1 that
BITS.json has under the file's name, and writes it to OUT. `read` writes the bits it
reads to BITS.json. Both print the mean seconds a photo as JSON. Needs
requirements-rivals.txt and, without their dependencies, invisible-watermark and
blind-watermark; nothing of this project, so that it runs as a file on its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import pathlib
import sys
import time

import cv2
import numpy as np

BITS = 32


def _package_folder(name: str) -> pathlib.Path:
    # Found, not imported: invisible-watermark itself imports PyTorch.
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise SystemExit(f"Error: the package {name} is not installed.")
    return pathlib.Path(spec.submodule_search_locations[0])


class RivaGan:
    """RivaGAN (Zhang et al. 2019) with invisible-watermark's weights and scaling."""

    THRESHOLD = 0.52  # The package's own.

    def __init__(self):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        folder = _package_folder("imwatermark")
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(
                str(folder / f"rivagan_{part}.onnx"),
                options,
                providers=["CPUExecutionProvider"],
            )
            for part in ("encoder", "decoder")
        )

    def embed(self, photo: np.ndarray, bits: np.ndarray) -> np.ndarray:
        """Marks BGR uint8 [H, W, 3] with bits [32]."""
        data = {"frame": self._frame(photo), "data": bits[None].astype(np.float32)}
        marked = np.clip(self._encoder.run(None, data)[0][0, :, 0], -1, 1)
        return ((marked.transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8)

    def read(self, photo: np.ndarray) -> np.ndarray:
        """Reads bits [32]."""
        soft = self._decoder.run(None, {"frame": self._frame(photo)})[0][0]
        return soft > self.THRESHOLD

    @staticmethod
    def _frame(photo):
        frame = photo.astype(np.float32) / 127.5 - 1.0
        return frame.transpose(2, 0, 1)[None, :, None]


class DwtDctSvd:
    """invisible-watermark's dwtDctSvd, its own code."""

    def __init__(self):
        path = _package_folder("imwatermark") / "dwtDctSvd.py"
        spec = importlib.util.spec_from_file_location("dwt_dct_svd", path)
        self._module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._module)

    def embed(self, photo: np.ndarray, bits: np.ndarray) -> np.ndarray:
        """Marks BGR uint8 [H, W, 3] with bits [32]."""
        marks = [int(bit) for bit in bits]
        return self._module.EmbedDwtDctSvd(marks, wmLen=BITS).encode(photo.copy())

    def read(self, photo: np.ndarray) -> np.ndarray:
        """Reads bits [32]."""
        bits = self._module.EmbedDwtDctSvd([], wmLen=BITS).decode(photo)
        return np.asarray(bits, bool)


class BlindWatermark:
    """blind-watermark with its default passwords and blocks."""

    def __init__(self):
        # The package greets on the first use.
        with contextlib.redirect_stdout(io.StringIO()):
            from blind_watermark import WaterMark

            self._make = WaterMark
            self._make()

    def embed(self, photo: np.ndarray, bits: np.ndarray) -> np.ndarray:
        """Marks BGR uint8 [H, W, 3] with bits [32]."""
        with contextlib.redirect_stdout(io.StringIO()):
            mark = self._make()
            mark.read_img(img=photo)
            mark.read_wm(bits.astype(bool), mode="bit")
            marked = mark.embed()
        return np.clip(np.rint(marked), 0, 255).astype(np.uint8)

    def read(self, photo: np.ndarray) -> np.ndarray:
        """Reads bits [32]."""
        with contextlib.redirect_stdout(io.StringIO()):
            bits = self._make().extract(embed_img=photo, wm_shape=BITS, mode="bit")
        return np.asarray(bits) >= 0.5


METHODS = {
    "rivagan": RivaGan,
    "dwtDctSvd": DwtDctSvd,
    "blind-watermark": BlindWatermark,
}


def main(arguments: list[str]) -> None:
    """Runs the command; see the module's docstring."""
    cv2.setNumThreads(1)
    action, name, source, *rest = arguments
    method, seconds = METHODS[name](), []
    wanted = json.loads(pathlib.Path(rest[1]).read_text()) if action == "embed" else {}
    read = {}
    for path in sorted(pathlib.Path(source).glob("*.png")):
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
        start = time.perf_counter()
        try:
            if action == "embed":
                bits = np.array([int(bit) for bit in wanted[path.stem]])
                marked = method.embed(photo, bits)
                cv2.imwrite(str(pathlib.Path(rest[0]) / path.name), marked)
            else:
                bits = method.read(photo)
                read[path.stem] = "".join(str(int(bit)) for bit in bits)
        except Exception as error:
            # A rival may refuse a size: that photo is not read, or not marked.
            reason = str(error).strip().splitlines() or [type(error).__name__]
            print(f"{path.name}: {reason[0]}", file=sys.stderr)
        seconds.append(time.perf_counter() - start)
    if action == "read":
        pathlib.Path(rest[0]).write_text(json.dumps(read))
    print(json.dumps({"seconds": sum(seconds) / max(len(seconds), 1)}))


if __name__ == "__main__":
    main(sys.argv[1:])
