"""The lite reader: photos to payloads without TensorFlow."""

import json
import subprocess
import sys

import numpy as np
import pytest

from export import tflite
from faketagger_tf import lite
from faketagger_tf.config import TaggerConfig
from faketagger_tf.data import write_image
from faketagger_tf.messages import MessageCode
from faketagger_tf.models import build_decoder

CONFIG = TaggerConfig(
    image_size=64,
    message_bits=16,
    payload_bits=8,
    crc_bits=3,
    encoder_width=8,
    decoder_width=16,
)
# Makes `import` of the named packages fail, as where they are not installed.
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="module")
def decoder():
    return build_decoder(CONFIG)


@pytest.fixture(scope="module")
def decoder_file(decoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("lite") / "decoder.tflite"
    tflite.write_model(str(path), tflite.convert_decoder(CONFIG, decoder))
    return path


def run_without(blocked, program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", BLOCKER.format(blocked=blocked) + program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_reads_a_photo_from_disk(decoder, decoder_file, tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / "photo.png"
    write_image(path, photo)
    result = lite.read_files(str(decoder_file), [str(path), str(tmp_path / "no.png")])
    logits = decoder(photo[None] / np.float32(255), training=False)
    expected = MessageCode(8, 16, 3).decode(np.asarray(logits))
    assert result[str(path)].payloads == expected.payloads
    assert "no.png" in result[str(tmp_path / "no.png")]


def test_command_runs_without_tensorflow(decoder_file, tmp_path):
    photo = np.random.default_rng(1).integers(0, 256, (90, 70, 3), np.uint8)
    path = tmp_path / "photo.png"
    write_image(path, photo)
    expected = lite.read_files(str(decoder_file), [str(path)])[str(path)]
    program = "from faketagger_tf import lite; sys.exit(lite.main(sys.argv[1:]))"
    run = run_without(
        ("tensorflow", "keras", "h5py", "absl"), program, str(decoder_file), str(path)
    )
    assert run.returncode == 0, run.stderr
    assert f"payload 0x{expected.payloads[0]:02X}, checksum" in run.stdout


def test_arrays_need_only_numpy_and_litert(decoder, decoder_file, tmp_path):
    canvases = np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3), np.uint8)
    np.save(tmp_path / "canvases.npy", canvases)
    program = (
        "import numpy as np; from faketagger_tf import lite;"
        "read = lite.read_canvases(sys.argv[1], np.load(sys.argv[2]));"
        "print(read.code_bits.tolist())"
    )
    run = run_without(
        ("tensorflow", "keras", "h5py", "absl", "cv2"),
        program,
        str(decoder_file),
        str(tmp_path / "canvases.npy"),
    )
    assert run.returncode == 0, run.stderr
    logits = decoder(canvases / np.float32(255), training=False)
    expected = MessageCode(8, 16, 3).decode(np.asarray(logits))
    assert json.loads(run.stdout) == expected.code_bits.tolist()


def test_missing_opencv_is_named(decoder_file):
    program = "from faketagger_tf import lite; sys.exit(lite.main(sys.argv[1:]))"
    run = run_without(("cv2", "tensorflow"), program, str(decoder_file), "photo.jpg")
    assert run.returncode == 2
    assert run.stderr.startswith("Error: Opening photos needs a package that is missi")


def test_what_is_wrong_is_named(decoder_file, tmp_path):
    with pytest.raises(ValueError, match="no decoder file"):
        lite.load_decoder(str(tmp_path / "absent.tflite"))
    with pytest.raises(ValueError, match="no decoder file"):
        lite.load_description(str(tmp_path / "absent.tflite"))
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="is no TFLite decoder"):
        lite.load_decoder(str(bad))
    content = decoder_file.read_bytes()
    for damaged in (b"", b"not a model", b"\xff\xff\xff\x7fTFL3", content[:2000]):
        bad.write_bytes(damaged)
        with pytest.raises(ValueError, match="holds no metadata"):
            lite.load_description(str(bad))
    with pytest.raises(ValueError, match="Canvases must have the shape"):
        lite.load_decoder(str(decoder_file))(np.zeros((1, 32, 32, 3)))
    assert lite.main([str(decoder_file)]) == 2


def test_exchanged_file_is_noticed(decoder_file, tmp_path):
    path = tmp_path / "decoder.tflite"
    path.write_bytes(decoder_file.read_bytes())
    assert lite.load_description(str(path))["payload_bits"] == 8
    (tmp_path / "decoder.tflite.json").write_text('{"sha256": "00"}')
    with pytest.raises(ValueError, match="is not the file that"):
        lite.load_description(str(path))
    (tmp_path / "decoder.tflite.json").write_text("[]")
    with pytest.raises(ValueError, match="is damaged"):
        lite.load_description(str(path))
