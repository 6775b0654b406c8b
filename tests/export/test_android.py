"""The Android files name what the exported files really hold."""

import json
import pathlib
import re

import numpy as np
import pytest

from export import tflite
from faketagger_tf.photos import faces
from faketagger_tf.photos.canvas import LANDMARKS

FOLDER = pathlib.Path(tflite.__file__).parent / "android"
PAGE = FOLDER / "README.md"


def kotlin(name):
    return (FOLDER / f"{name}.kt").read_text("utf-8")


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


def test_reader_uses_the_sidecars_names(config):
    reader = kotlin("TagReader")
    about = tflite.description(config, "decoder")
    (source,), (target,) = about["inputs"], about["outputs"]
    assert f'mapOf("{source["name"]}" to image)' in reader
    assert f'mapOf("{target["name"]}" to FloatBuffer' in reader
    assert f'"{about["signature"]}"\n' in reader
    keys = set(re.findall(r'about\.\w+\("(\w+)"', reader))
    assert keys == {"image_size", "message_bits", "canvas_scale", "outside"}
    assert keys <= set(about)
    assert source["range"] == [0.0, 1.0]
    assert "(level / 255)" in kotlin("Canvas")
    assert source["shape"][0] == target["shape"][0] == 1


@pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
def test_reader_uses_the_face_networks_names(name):
    reader = kotlin("TagReader")
    assert f'"{name}.tflite"' in reader
    network = faces.load_interpreter(model_path=str(faces.FOLDER / f"{name}.tflite"))
    for signature, about in network.get_signature_list().items():
        called = re.sub(r"_\d+$", "_$side", signature)
        assert f'"{called}"' in reader
        assert about["inputs"] == ["image"]
        for output in about["outputs"]:
            assert f'"{output}"' in reader
        if name == "pnet":
            side = int(signature.split("_")[1])
            runner = network.get_signature_runner(signature)
            shape = runner.get_output_details()["probability"]["shape"]
            assert "val edge = (side - 1) / 2 - 4" in reader
            assert shape[1] == shape[2] == (side - 1) // 2 - 4


def test_detector_has_the_cascades_numbers():
    about = json.loads((faces.FOLDER / "faces.json").read_text())
    detector = kotlin("FaceDetector")

    def constant(name):
        return numbers(re.search(rf"val {name} = ((?:.|\n)*?\n)    pri", detector)[1])

    sides = re.search(r"val sides = intArrayOf\((.*)\)", detector)[1]
    assert numbers(sides) == about["sides"]
    assert constant("jitter") == np.ravel(about["jitter"]).tolist()
    mirrored = re.search(r"val mirrored = intArrayOf\((.*)\)", detector)[1]
    assert numbers(mirrored) == about["mirrored"]
    assert f"val fineLevels = {about['fine_levels']}\n" in detector
    for line in (
        f"= {about['detection_size']:.1f} / max(",
        f" {about['pyramid']}.pow(number)",
        f"val large = {about['large_face']} *",
        f"probability[at] <= {about['thresholds'][0]}f)",
        f"proposed, 24, {about['thresholds'][1]}f,",
        f"kept, 48, {about['thresholds'][2]}f,",
        f"suppress(here, {about['overlaps'][0]}, ::ofUnion)",
        f"suppress(all, {about['overlaps'][1]}, ::ofUnion)"
        f".take({about['max_proposals']})",
        f"suppress(refined, {about['overlaps'][2]}, ::ofUnion)",
        f"suppress(found, {about['overlaps'][3]}, ::ofSmaller)",
        "- {0:.0f}) / ({1:.0f} - {0:.0f})".format(*about["tilts"]),
        f">= {about['largest_rest']:.0f}) return first",
        f"{about['upright_weight']} * share",
        f"* scale < {about['cell']}) continue",
        f"{about['stride']:.1f} * (if (it % 2 == 0) x else y)",
    ):
        assert line in detector, line


def test_canvas_has_the_template():
    template = re.search(r"LANDMARKS = arrayOf\(((?:.|\n)*?)\n\)", kotlin("Canvas"))[1]
    assert numbers(template) == LANDMARKS.ravel().tolist()


def test_prose_names_what_is_there(config):
    prose = " ".join(PAGE.read_text("utf-8").split("```")[-1].split())
    about = tflite.description(config, "encoder")
    names = [tensor["name"] for tensor in about["inputs"] + about["outputs"]]
    for name in [about["signature"], *names, "generator", "payload_generator"]:
        assert f"`{name}`" in prose
    assert {"generator", "payload_generator"} <= set(about)
    web = PAGE.parents[2] / "web"
    named = re.findall(r"((?:`\w+`(?:,| and)? )+)of `web/(\w+\.js)`", prose)
    assert {file for _, file in named} == {"codec.js", "search.js", "canvas.js"}
    for functions, file in named:
        source = (web / file).read_text("utf-8")
        for function in re.findall(r"`(\w+)`", functions):
            assert re.search(rf"export (async )?function {function}\(", source)
