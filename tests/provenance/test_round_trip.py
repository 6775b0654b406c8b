"""From a signed photo through a deepfake back to its manifest, with what is shipped."""

import io
import json

import c2pa
import fastapi
import skimage.data
from test_resolution import API, matches, post, serving

from faketagger_tf.deepfake import swap_faces
from faketagger_tf.photos import encode_image, read_photo
from faketagger_tf.photos.parts import C2PA
from faketagger_tf.photos.photo_file import decode_photo_file
from faketagger_tf.presets import load_faceswap
from faketagger_tf.provenance.claims import check_photo, read_claim
from faketagger_tf.provenance.resolution import resolution_router
from faketagger_tf.provenance.signing import PhotoSigner
from faketagger_tf.registry import init_registry
from faketagger_tf.registry.jobs import tag_into_registry
from faketagger_tf.registry.reader import RegisteredReader
from faketagger_tf.tagging.tagger import Tagger

NAME = "com.newsroom.faketagger.face128"


def test_sign_strip_deepfake_recompress_recover(credentials, tmp_path):
    source, output = tmp_path / "photo.png", tmp_path / "tagged.jpg"
    source.write_bytes(encode_image(skimage.data.astronaut(), ".png"))
    tagger = Tagger.load("face128")
    with init_registry(f"sqlite:///{tmp_path}/tags.db") as registry:
        signer = PhotoSigner(credentials, "com.newsroom")
        row = tag_into_registry(tagger, registry, source, output, signer=signer)
        signed = output.read_bytes()
        claim = check_photo(signed, "image/jpeg")
        assert claim.sound and claim.algorithm == NAME
        assert registry.show(row["payload"]).size == len(signed)

        # Decoding and coding anew strips what is not pixels, as platforms do.
        stripped = read_photo(output)
        config, model = load_faceswap("unseen_skips")
        fake, count = swap_faces(stripped, config, model, config.identities[1])
        assert count == 1
        suspect = encode_image(fake, ".jpg", 75)
        assert all(p.label != C2PA for p in decode_photo_file(suspect).parts)
        assert check_photo(suspect, "image/jpeg") is None

        reader = RegisteredReader(tagger, registry)
        with serving(lambda: reader) as call:
            (found,) = matches(
                post(call, f"{API}/matches/byContent", suspect, "image/jpeg")
            )
            status, _, store = call(f"{API}/manifests/{found['manifestId']}")
        assert status == 200 and found["manifestId"] == claim.manifest_id

    # What came back is what was signed: C2PA's own reader says so, given the photo.
    with c2pa.Reader("image/jpeg", io.BytesIO(signed), store) as own:
        assert own.get_validation_state() == "Valid"
        assert json.loads(own.json())["active_manifest"] == claim.manifest_id
    recovered = read_claim(store)
    assert recovered.sound and recovered.problems == claim.problems
    assert int.from_bytes(recovered.value, "big") == int(row["payload"], 16)
    # And it is not the suspect's own: that is another file, with other pixels.
    with c2pa.Reader("image/jpeg", io.BytesIO(suspect), store) as other:
        assert other.get_validation_state() == "Invalid"


def test_the_router_goes_into_an_application_with_routes_of_its_own():
    app = fastapi.FastAPI()
    app.include_router(resolution_router(lambda: None, prefix="/other"))
    paths = set(app.openapi()["paths"])
    assert paths == {
        "/.well-known/c2pa-soft-binding-resolution",
        "/other/manifests/{activeManifestId}",
        "/other/matches/byBinding",
        "/other/matches/byContent",
        "/other/services/capabilities",
        "/other/services/status",
        "/other/services/supportedAlgorithms",
    }
    described = app.openapi()["paths"]
    content = described["/other/matches/byContent"]["post"]
    assert list(content["requestBody"]["content"]) == ["image/*"]
    assert {"400", "403", "413", "415"} <= set(content["responses"])
