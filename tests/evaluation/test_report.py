import json

from faketagger_tf.evaluation.report import markdown_table, write_report


def test_cells_are_rounded_escaped_and_never_empty():
    text = markdown_table(["chain", "x"], [["a|b", 0.123456], ["c", None], ["d", 7]])
    assert text.splitlines() == [
        "| chain | x |",
        "|---|---|",
        "| a\\|b | 0.1235 |",
        "| c | - |",
        "| d | 7 |",
    ]


def test_report_is_two_files(tmp_path):
    write_report(tmp_path / "run" / "table", {"x": 1}, "| x |\n")
    assert json.loads((tmp_path / "run" / "table.json").read_text()) == {"x": 1}
    assert (tmp_path / "run" / "table.md").read_text() == "| x |\n"
