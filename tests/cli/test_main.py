import json
import os
import subprocess
import sys

import pytest


def test_dashes_flagfile_and_json(faketagger, tmp_path, photo, capsys):
    flagfile = tmp_path / "flags.cfg"
    flagfile.write_text("--random-payload\n--json\n".replace("-payload", "_payload"))
    tagged = tmp_path / "tagged.png"
    assert faketagger("tag", photo, tagged, f"--flagfile={flagfile}") == 0
    row = json.loads(capsys.readouterr().out)
    assert faketagger("trace", tagged, "--json") == 0
    reading = json.loads(capsys.readouterr().out)
    assert reading["payload"] == row["payload"] and reading["p_value"] < 1e-6
    assert len(reading["box"]) == 4
    assert faketagger("tag", photo, tagged, "--random-payload", "--overwrite") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["tag"],
        ["tag", "only-one"],
        ["tag", "missing.png", "out.png"],
        ["tag", "a", "b", "--no-such-flag=1"],
        ["tag", "a", "b", "--payload=1", "--random-payload"],
        ["trace"],
        ["trace", "x.png", "--fpr=2"],
        ["verify", "a"],
        ["deepfake", "a"],
        ["deepfake", "a.png", "b.png", "--model=missing"],
        ["tag", "a", "b", "c"],
        ["tag", "a", "b", "--quality=0"],
        ["tag", "a", "b", "--quality"],
        ["tag", "a", "b", "--refine=1.5"],
        ["tag", "a", "b", "--strength=loud"],
        ["tag", "a", "b", "--json=maybe"],
        ["tag", "a", "b", "--flagfile=no-such-file"],
        ["trace", "a", "--jobs=none"],
        ["trace", "a", "--fpr=nan"],
        ["verify", "a", "b", "--output="],
        ["--no-such-flag"],
        ["--tagger=x"],
    ],
)
def test_mistakes_are_one_line_and_code_2(faketagger, arguments, capsys):
    assert faketagger(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(("Error: ", "usage: "))
    if error.startswith("Error: "):
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["trcae", "a.png"], "'trace'"),
        (["tga", "a", "b"], "'tag'"),
        (["tag", "a", "b", "--ranodm_payload"], "'--random-payload'"),
        (["tag", "a", "b", "--nochek"], "'--no-check'"),
        (["trace", "a", "--anotate=x.png"], "'--annotate'"),
        (["trace", "a", "--key", "x"], "'--key-file'"),
    ],
)
def test_mistyped_words_are_answered_with_a_question(
    faketagger, arguments, meant, capsys
):
    assert faketagger(*arguments) == 2
    assert f"Did you mean {meant}?" in capsys.readouterr().err


def test_nothing_alike_is_not_asked_for(faketagger, capsys):
    assert faketagger("zebra") == 2
    assert "Did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_help(faketagger, capsys, flag):
    assert faketagger(flag) == 0
    assert "deepfake IN OUT" in capsys.readouterr().out
    assert faketagger("trace", flag) == 0
    shown = capsys.readouterr()
    assert "--fpr" in shown.out and "1e-06" in shown.out and "--refine" not in shown.out
    assert shown.err == ""
    assert faketagger("help") == 0


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["tag", "--help"], ["tga"], ["tag", "a", "b", "--no-such-flag"]],
)
def test_help_and_mistakes_load_nothing_heavy(arguments):
    """A guard of start-up time that does not depend on the machine's speed."""
    program = (
        "import sys; from faketagger_tf.cli.main import main;"
        "code = main(['faketagger', *sys.argv[1:]]);"
        "heavy = {'numpy', 'cv2', 'PIL', 'tensorflow', 'keras', 'tqdm'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True
    )
    assert "AssertionError" not in result.stderr
    assert result.returncode == (0 if "--help" in arguments else 2)


def test_flagfiles_may_hold_every_form(faketagger, tmp_path, photo, capsys):
    inner, outer = tmp_path / "inner.cfg", tmp_path / "outer.cfg"
    inner.write_text("# A comment.\n--nocheck\n--payload=1F\n")
    outer.write_text(f"--flagfile={inner}\n--json=true\n--noOverwrite\n".lower())
    target = tmp_path / "o.png"
    assert faketagger("tag", photo, "--flagfile", outer, target) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["payload"] == "0x0000001F" and row["unread_faces"] is None
    outer.write_text("--quality=101")
    assert faketagger("tag", photo, target, f"--flagfile={outer}") == 2
    assert "from 1 to 100" in capsys.readouterr().err


def test_flags_of_whoever_imports_us_are_not_ours(faketagger, capsys):
    from absl import flags

    flags.DEFINE_string("a_flag_of_a_host", "", "Not ours.")
    try:
        assert faketagger("trace", "--helpfull") == 0
        assert "a_flag_of_a_host" not in capsys.readouterr().out
        assert faketagger("trace", "a", "--a_flag_of_a_host=1") == 2
    finally:
        del flags.FLAGS.a_flag_of_a_host


def test_one_sentence_alone_on_standard_error(tmp_path):
    """As a process: no native library's lines around it."""
    command = [sys.executable, "-m", "faketagger_tf", "trace", str(tmp_path / "no.jpg")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: ")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("faketagger t", {"tag", "trace"}),
        ("faketagger tag --ran", {"--random-payload"}),
        ("faketagger verify a b --ou", {"--output"}),
    ],
)
def test_a_shell_is_told_how_to_go_on(line, offered, tmp_path):
    pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    result = subprocess.run(
        [sys.executable, "-c", "from faketagger_tf.cli.main import run; run()"],
        env={
            **os.environ,
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_IFS": "\n",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "COMP_TYPE": "9",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert {word.strip() for word in answer.read_text().split("\n")} == offered
