import contextlib
import json
import sqlite3
import stat

import pytest
import support

pytest.importorskip("c2pa", reason="pip install -r requirements-c2pa.txt")

from faketagger_tf.photos import read_photo, write_image
from faketagger_tf.provenance.claims import check_photo, read_claim


@pytest.fixture
def flags(faketagger, tmp_path, capsys):
    """Flags that sign, with a certificate of the command's own."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    pair = f"--certificate={chain}", f"--private-key={key}"
    assert faketagger("registry", "dev-certificate", *pair, "--name=Zoë") == 0
    assert "for tests only" in capsys.readouterr().out
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    return ("--sign", *pair)


def test_sign_strip_and_recover(faketagger, tmp_path, photo, flags, capsys):
    database = f"--registry=sqlite:///{tmp_path}/tags.db"
    tagged, bare = tmp_path / "tagged.png", tmp_path / "bare.png"
    assert faketagger("registry", "init", database) == 0
    assert faketagger("tag", photo, tagged, database, "--domain=com.news", *flags) == 0
    claim = check_photo(tagged.read_bytes(), "image/png")
    assert claim.sound and claim.algorithm == "com.news.faketagger.unpublished"
    write_image(bare, read_photo(tagged))  # Pixels alone.
    assert check_photo(bare.read_bytes(), "image/png") is None

    capsys.readouterr()
    assert faketagger("trace", bare, database) == 0
    told = capsys.readouterr().out
    assert claim.manifest_id in told and "Zoë" in told and "nobody has checked" in told
    assert faketagger("trace", bare, database, "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["manifest"] == claim.manifest_id and row["manifest_state"] == "unchecked"

    store = tmp_path / "store.c2pa"
    show = "registry", "show", row["payload"], database
    assert faketagger(*show, f"--manifest={store}") == 0
    assert claim.manifest_id in capsys.readouterr().out
    assert read_claim(store.read_bytes()).manifest_id == claim.manifest_id
    assert faketagger(*show, f"--manifest={store}") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert faketagger(*show, f"--manifest={tmp_path}/store.jpg") == 2
    assert ".c2pa" in capsys.readouterr().err
    assert faketagger("registry", "revoke", row["payload"], database) == 0
    capsys.readouterr()
    assert faketagger(*show, f"--manifest={tmp_path}/again.c2pa") == 2
    assert "no manifest to give out" in capsys.readouterr().err
    assert not (tmp_path / "again.c2pa").exists()


def test_a_trust_list_says_whose_claim_is_trusted(
    faketagger, tmp_path, photo, flags, capsys
):
    database = f"--registry=sqlite:///{tmp_path}/tags.db"
    tagged = tmp_path / "tagged.png"
    assert faketagger("registry", "init", database) == 0
    assert faketagger("tag", photo, tagged, database, *flags) == 0
    own, other, key = (tmp_path / n for n in ("chain.pem", "other.pem", "other-key"))
    pair = f"--certificate={other}", f"--private-key={key}"
    assert faketagger("registry", "dev-certificate", *pair) == 0
    capsys.readouterr()
    for anchors, state, words in (
        (own, "trusted", "(trusted: signed by "),
        (other, "not trusted", "(not trusted: claimed by "),
    ):
        assert faketagger("trace", tagged, database, f"--trust={anchors}") == 0
        told = capsys.readouterr().out
        assert words in told and "Zoë" in told and "nobody" not in told
        assert (
            faketagger("trace", tagged, database, f"--trust={anchors}", "--json") == 0
        )
        row = json.loads(capsys.readouterr().out)
        assert row["manifest_state"] == state and row["manifest_problems"] == []
    assert faketagger("trace", tagged, database, f"--trust={key}") == 2
    assert "must be a PEM file of certificates" in capsys.readouterr().err
    assert faketagger("trace", tagged, f"--trust={own}") == 2
    assert "--trust=" in capsys.readouterr().err


def test_a_tampered_manifest_is_told_and_the_tag_all_the_same(
    faketagger, tmp_path, photo, flags, capsys
):
    url = f"sqlite:///{tmp_path}/tags.db"
    tagged = tmp_path / "tagged.png"
    assert faketagger("registry", "init", f"--registry={url}") == 0
    assert faketagger("tag", photo, tagged, f"--registry={url}", *flags) == 0
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "tags.db")) as database,
        database,
    ):
        ((store,),) = database.execute("select store from manifests")
        changed = store.replace(b"watermarked.bound", b"watermarked.found")
        assert changed != store
        database.execute("update manifests set store = ?", [changed])
    capsys.readouterr()
    assert faketagger("trace", tagged, f"--registry={url}") == 0
    told = capsys.readouterr().out
    assert "same photo" in told and "(invalid, do not rely on it: " in told
    assert "assertion.hashedURI.mismatch" in told and "claimed by" not in told


def test_signing_needs_no_registry(faketagger, tmp_path, photo, flags):
    tagged = tmp_path / "tagged.png"
    assert faketagger("tag", photo, tagged, "--payload=1F2E3D4C", *flags) == 0
    assert check_photo(tagged.read_bytes(), "image/png").value.hex() == "1f2e3d4c"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (["--sign"], "needs --certificate and --private-key. Received: None and None"),
        (["--certificate=a.pem"], "--certificate is for --sign"),
        (["--private-key=a.pem"], "--private-key is for --sign"),
        (["--tsa=http://127.0.0.1:9"], "--tsa is for --sign"),
        (["--domain=com.news"], "--domain is for --sign"),
        (["--sign", "--certificate=no", "--private-key=no"], "Cannot read the certif"),
    ],
)
def test_flags_that_do_not_fit(faketagger, tmp_path, photo, capsys, wanted, words):
    assert faketagger("tag", photo, tmp_path / "out.png", *wanted) == 2
    captured = capsys.readouterr()
    assert words in captured.err and not captured.out
    assert not (tmp_path / "out.png").exists()


def test_a_domain_that_is_none_is_refused_at_once(
    faketagger, tmp_path, photo, flags, capsys
):
    tag = "tag", photo, tmp_path / "out.png", *flags
    assert faketagger(*tag, "--domain=newsroom") == 2
    assert "must be reversed" in capsys.readouterr().err
    assert faketagger(*tag, "--domain=") == 2


def test_a_photo_that_cannot_be_signed_leaves_no_record(
    faketagger, tmp_path, photo, flags, capsys
):
    database = f"--registry=sqlite:///{tmp_path}/tags.db"
    assert faketagger("registry", "init", database) == 0
    assert faketagger("tag", photo, tmp_path / "out.bmp", database, *flags) == 2
    assert "cannot be put into such a file" in capsys.readouterr().err
    assert not (tmp_path / "out.bmp").exists()
    assert faketagger("registry", "list", database) == 0
    assert "abandoned" in capsys.readouterr().out


def test_certificates_are_not_written_over(faketagger, tmp_path, flags, capsys):
    before = (tmp_path / "key.pem").read_bytes()
    assert faketagger("registry", "dev-certificate", *flags[1:]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "key.pem").read_bytes() == before
    assert faketagger("registry", "dev-certificate", *flags[1:], "--overwrite") == 0
    assert (tmp_path / "key.pem").read_bytes() != before


def test_what_is_missing_is_named():
    text = """
import sys
from faketagger_tf.cli.main import main
sys.exit(main(["faketagger", "registry", "dev-certificate"]))
"""
    done = support.run_without(("c2pa",), text)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1 and "faketagger-tf[c2pa]" in done.stderr
