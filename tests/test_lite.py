"""The lite reader: photos to payloads without TensorFlow."""

import json
import math
import os

import numpy as np
import pytest
import skimage.data
import support

from export import tflite
from faketagger_tf import lite
from faketagger_tf.messages import MessageCode
from faketagger_tf.messages.presence import Presence, surprise
from faketagger_tf.models import build_decoder, build_encoder
from faketagger_tf.photos import write_image

CONFIG = support.SMALL


@pytest.fixture(scope="module")
def decoder():
    return build_decoder(CONFIG)


@pytest.fixture(scope="module")
def decoder_file(decoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("lite") / "decoder.tflite"
    tflite.write_model(str(path), tflite.convert_decoder(CONFIG, decoder))
    return path


def test_reads_a_photo_from_disk(decoder, decoder_file, tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / "photo.png"
    write_image(path, photo)
    result = lite.read_files(str(decoder_file), [str(path), str(tmp_path / "no.png")])
    logits = decoder(photo[None] / np.float32(255), training=False)
    expected = MessageCode(8, 16, 3).decode(np.asarray(logits))
    assert result[str(path)].payloads == expected.payloads
    assert "no.png" in result[str(tmp_path / "no.png")]


def test_a_canvas_is_read_without_tensorflow(decoder_file, tmp_path):
    photo = np.random.default_rng(1).integers(0, 256, (90, 70, 3), np.uint8)
    path = tmp_path / "photo.png"
    write_image(path, photo)
    expected = lite.read_files(str(decoder_file), [str(path)])[str(path)]
    program = "from faketagger_tf import lite; sys.exit(lite.main(sys.argv[1:]))"
    run = support.run_without(
        ("tensorflow", "keras", "h5py", "absl"),
        program,
        *(str(decoder_file), str(path), "--canvas"),
    )
    # A decoder that was never trained finds nothing.
    assert (run.returncode, run.stderr.count("Error")) == (1, 0), run.stderr
    p_value = lite.p_values(lite.load_description(str(decoder_file)), expected)[0]
    assert run.stdout == f"{path}  no tag  p {p_value:.2g}\n"


def test_arrays_need_only_numpy_and_litert(decoder, decoder_file, tmp_path):
    canvases = np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3), np.uint8)
    np.save(tmp_path / "canvases.npy", canvases)
    program = (
        "import numpy as np; from faketagger_tf import lite;"
        "read = lite.read_canvases(sys.argv[1], np.load(sys.argv[2]));"
        "print(read.code_bits.tolist())"
    )
    run = support.run_without(
        ("tensorflow", "keras", "h5py", "absl", "cv2"),
        program,
        str(decoder_file),
        str(tmp_path / "canvases.npy"),
    )
    assert run.returncode == 0, run.stderr
    logits = decoder(canvases / np.float32(255), training=False)
    expected = MessageCode(8, 16, 3).decode(np.asarray(logits))
    assert json.loads(run.stdout) == expected.code_bits.tolist()


def test_a_damaged_photo_with_an_odd_name_is_read(decoder_file, tmp_path, capsys):
    photo = np.random.default_rng(1).integers(0, 256, (120, 130, 3), np.uint8)
    path = tmp_path / "odd\n\x1b[2J.jpg"
    write_image(path, photo)
    path.write_bytes(path.read_bytes()[:-2])
    assert lite.main([str(decoder_file), str(path)]) == 1
    assert "odd\\n\\x1b[2J.jpg  no tag" in capsys.readouterr().out
    assert lite.main([str(decoder_file), str(path), "--canvas"]) == 2
    error = capsys.readouterr().err
    assert "is truncated" in error and "\x1b" not in error


def test_missing_opencv_is_named(decoder_file):
    program = "from faketagger_tf import lite; sys.exit(lite.main(sys.argv[1:]))"
    for mode in ([], ["--canvas"]):
        run = support.run_without(
            ("cv2", "tensorflow"), program, str(decoder_file), "photo.jpg", *mode
        )
        assert run.returncode == 2
        assert "Error: Opening photos needs a package that is missing" in run.stderr


def test_what_is_wrong_is_named(decoder_file, tmp_path):
    with pytest.raises(ValueError, match="no decoder file"):
        lite.load_decoder(str(tmp_path / "absent.tflite"))
    with pytest.raises(ValueError, match="no decoder file"):
        lite.load_description(str(tmp_path / "absent.tflite"))
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="is no TFLite file"):
        lite.load_decoder(str(bad))
    content = decoder_file.read_bytes()
    for damaged in (b"", b"not a model", b"\xff\xff\xff\x7fTFL3", content[:2000]):
        bad.write_bytes(damaged)
        with pytest.raises(ValueError, match="holds no metadata"):
            lite.load_description(str(bad))
    with pytest.raises(ValueError, match=r"must have the shapes.*64, 64, 3"):
        lite.load_decoder(str(decoder_file))(np.zeros((1, 32, 32, 3)))
    assert lite.main([str(decoder_file)]) == 2


def decoded(code, payload, noise, flipped_checksum=False):
    """What is read from a code word's logits, evenly noisy."""
    bits = code.encode([payload])
    if flipped_checksum:
        message = bits[:, : code.k]
        message[:, -1] ^= 1
        bits = message @ code.layout.generator_matrix() % 2
    logits = 2.0 * bits - 1 + noise * np.resize([1.0, -1.0], bits.shape)
    return code.decode(logits)


@pytest.fixture
def read_as(monkeypatch, decoder_file):
    """(readings by photo, arguments) -> exit code of the command that read those."""

    def run(readings, *arguments):
        monkeypatch.setattr(lite, "read_files", lambda decoder, photos: readings)
        return lite.main([str(decoder_file), *readings, "--canvas", *arguments])

    return run


def test_what_counts_as_found(read_as, decoder_file, capsys):
    code = MessageCode(8, 16, 3)
    about = lite.load_description(str(decoder_file))
    clear, faint = decoded(code, 0xC3, 0.1), decoded(code, 0xC3, 0.6)
    wrong = decoded(code, 0xC3, 0.0, flipped_checksum=True)
    assert not wrong.crc_ok[0]
    (p_clear,), (p_faint,) = lite.p_values(about, clear), lite.p_values(about, faint)
    assert p_clear < 1e-6 < 1e-4 < p_faint < 0.1
    assert read_as({"a": clear, "b": faint}) == 0
    assert capsys.readouterr() == (
        f"a  payload 0xC3  p {p_clear:.2g}  0 bits corrected\n"
        f"b  no tag  p {p_faint:.2g}\n",
        "",
    )
    assert read_as({"b": faint, "w": wrong}) == 1
    assert read_as({"b": faint}, "--fpr=0.1") == 0
    assert read_as({"w": wrong}, "--fpr=0.999") == 1
    assert read_as({"a": clear, "x": "It is damaged."}) == 2
    assert "x: It is damaged." in capsys.readouterr().err


def test_too_short_a_code_is_judged_by_its_checksum(read_as, capsys):
    code = MessageCode(8, 16, 3)
    assert read_as({"b": decoded(code, 0xC3, 0.6)}, "--fpr=1e-60") == 0
    said = capsys.readouterr()
    assert "payload 0xC3" in said.out
    assert said.err.startswith("Note: 16 bits for a payload of 8 are too few for p-val")
    wrong = decoded(code, 0xC3, 0.0, flipped_checksum=True)
    assert read_as({"w": wrong}, "--fpr=1e-60") == 1


def test_p_values_are_the_taggers_calibration(decoder, tmp_path):
    presence = Presence(threshold=3.0, rate=0.1, scale=1.5, faces=200, largest=7.0)
    path = tmp_path / "decoder.tflite"
    content = tflite.convert_decoder(CONFIG, decoder, presence=presence)
    tflite.write_model(str(path), content)
    about = lite.load_description(str(path))
    assert about["presence"] == {"threshold": 3.0, "rate": 0.1, "scale": 1.5}
    assert json.loads((tmp_path / "decoder.tflite.json").read_text())["presence"]
    read = decoded(MessageCode(8, 16, 3), 0x5A, 0.3)
    x = float(surprise(read.score, 16, 11)[0])
    expected = 0.1 * math.exp(-(x - 3.0) / 1.5) / 8
    assert lite.p_values(about, read) == [pytest.approx(expected)]
    # A file written before there was a calibration in it.
    del about["presence"]
    assert lite.p_values(about, read) == [pytest.approx(math.exp(-x) / 8)]


def test_an_encoder_is_called_one(tmp_path, capsys):
    path = tmp_path / "encoder.tflite"
    content = tflite.convert_encoder(CONFIG, build_encoder(CONFIG))
    tflite.write_model(str(path), content)
    assert lite.main([str(path), "photo.png"]) == 2
    assert "is an encoder. Received: the signature 'tag'" in capsys.readouterr().err


def test_pipes_and_devices_are_refused(decoder_file, tmp_path, capsys):
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    assert lite.main([str(decoder_file), pipe, "/dev/zero"]) == 2
    assert capsys.readouterr().err.count("is not a regular file") == 2
    assert lite.main([pipe, "photo.png"]) == 2
    assert "is not a regular file" in capsys.readouterr().err


def test_help_and_wrong_arguments(decoder_file, capsys):
    with pytest.raises(SystemExit) as stopped:
        lite.main(["--help"])
    assert stopped.value.code == 0
    assert "Exit codes: 0" in capsys.readouterr().out
    for arguments, message in (
        ([], "required: decoder, photo"),
        (["--fpr=1"], "must be a rate. Received: 1.0"),
        (["--fpr=0"], "must be a rate. Received: 0.0"),
        (["--fpr=nan"], "must be a rate. Received: nan"),
        (["--fpr=low"], "'low'"),
        (["--what"], "unrecognized arguments: --what"),
    ):
        files = [str(decoder_file), "photo.png"] if arguments else []
        assert lite.main([*files, *arguments]) == 2
        said = capsys.readouterr().err
        assert said.startswith("Error: ") and message in said.replace("U", "u")


def test_a_file_of_a_later_release_is_refused(decoder_file, tmp_path):
    path = tmp_path / "decoder.tflite"
    content = decoder_file.read_bytes()
    assert content.count(b"faketagger decoder 1") == 1
    path.write_bytes(content.replace(b"faketagger decoder 1", b"faketagger decoder 2"))
    with pytest.raises(ValueError, match=r"later release.*decoder 2'.*up to 1"):
        lite.load_description(str(path))


@pytest.fixture(scope="module")
def correlation_file(tmp_path_factory):
    """A decoder that reads, of real photos."""
    tagger = support.correlation_tagger()
    path = tmp_path_factory.mktemp("lite") / "decoder.tflite"
    decoder = tagger.networks.keras_decoder()
    content = tflite.convert_decoder(tagger.config, decoder)
    tflite.write_model(str(path), content)
    return tagger, str(path)


def test_finds_what_the_tagger_finds(correlation_file, tmp_path, capsys):
    tagger, decoder = correlation_file
    photo = skimage.data.astronaut()
    # The face is far from the photo's middle, where a canvas reader would look.
    tagged = tagger.embed(photo, 0x1F2E3D4C, strength=30.0)
    files = [tmp_path / name for name in ("tagged.png", "mirrored.png", "plain.png")]
    for path, pixels in zip(files, (tagged, tagged[:, ::-1], photo), strict=True):
        write_image(path, np.ascontiguousarray(pixels))
    assert lite.main([decoder, *map(str, files), str(tmp_path / "absent.png")]) == 2
    said = capsys.readouterr()
    first, second, third = said.out.splitlines()
    assert "tagged.png  payload 0x1F2E3D4C" in first and "mirrored" not in first
    assert "payload 0x1F2E3D4C" in second and second.endswith("  mirrored")
    assert "plain.png  no tag" in third
    assert "absent.png" in said.err
    (reading,) = lite.read_photos(decoder, [str(files[0])])[str(files[0])]
    (expected,) = tagger.examine(tagged)
    assert reading.payload == expected.payload
    # The same canvas through two runtimes: float32 sums in another order.
    assert reading.score == pytest.approx(expected.score, abs=1e-4)
    np.testing.assert_array_equal(reading.corners, expected.corners)
    assert lite.main([decoder, str(files[0]), "--canvas"]) == 1


def test_a_photo_cannot_be_tagged_with_a_decoder(correlation_file):
    tagger = lite.load_tagger(correlation_file[1])
    with pytest.raises(ValueError, match=r"needs an encoder.*Tagger\.load"):
        tagger.embed(skimage.data.astronaut(), 1)


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
