"""The command that generates tasks refuses options that are wrong with one line, before it generates anything."""

import pytest

from codetool.benchmarks.task_generator import generate
from codetool.benchmarks.task_generator.options import create_parser, parse_options

GENERATED = "computing answers"
PAIR = "--train or --compositions goes with --out"
COUNT = "is no number of tasks; give a whole number, 1 or more"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compositions", "-3", "--out", "FILE"], f"argument --compositions: '-3' {COUNT}"),
        (["--compositions", "x", "--out", "FILE"], f"argument --compositions: 'x' {COUNT}"),
        (["--compositions", "0", "--out", "FILE"], f"argument --compositions: '0' {COUNT}"),
        (["--compositions", "200000", "--out", "FILE"], "further templates; ask for fewer"),
        (["--train", "-1", "--out", "FILE"], f"argument --train: '-1' {COUNT}"),
        (["--train", "1.5", "--out", "FILE"], f"argument --train: '1.5' {COUNT}"),
        (["--train", "3", "--out", "missing/tasks.jsonl"], "is not there; create it, or name another file"),
        (["--train", "3", "--out", "."], "'.' is a folder; name a file, such as tasks.jsonl"),
        (["--train", "3", "--out", ""], "'' is a folder; name a file, such as tasks.jsonl"),
        (["--train", "3"], PAIR),
        (["--compositions", "3"], PAIR),
        (["--out", "FILE"], PAIR),
    ],
)
def test_a_wrong_option_is_refused_with_its_value_and_what_is_allowed(words, message, tmp_path, monkeypatch, capsys):
    file = tmp_path / "tasks.jsonl"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["generate", *(str(file) if word == "FILE" else word for word in words)])
    with pytest.raises(SystemExit) as ended:
        generate.main()
    printed = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in printed.splitlines()[-1]
    assert GENERATED not in printed
    assert not file.exists()


def test_a_folder_without_write_permission_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(SystemExit):
        parse_options(create_parser(""), ["--train", "3", "--out", str(tmp_path / "tasks.jsonl")])
    assert "cannot be written; name a file in a folder that you may write to" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "most"), [(["--train", "4"], 2), (["--compositions", "4"], 3)])
def test_a_count_above_what_the_catalog_gives_is_refused_with_that_number(words, most, tmp_path, monkeypatch, capsys):
    file = tmp_path / "tasks.jsonl"
    monkeypatch.setattr(generate, "generate_train", lambda count: [{}] * min(count, 2))
    monkeypatch.setattr(generate, "generate_compositions", lambda: iter([{}] * 3))
    monkeypatch.setattr("sys.argv", ["generate", *words, "--out", str(file)])
    with pytest.raises(SystemExit, match="2"):
        generate.main()
    assert f"{' '.join(words)}: the catalog" in (last := capsys.readouterr().err.splitlines()[-1])
    assert str(most) in last
    assert not file.exists()


def test_a_disk_that_fails_is_one_line(tmp_path, monkeypatch, capsys):
    file = tmp_path / "tasks.jsonl"
    monkeypatch.setattr(generate, "generate_train", lambda count: [{}] * count)

    def fail(file, rows):
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(generate, "write_rows", fail)
    monkeypatch.setattr("sys.argv", ["generate", "--train", "1", "--out", str(file)])
    with pytest.raises(SystemExit, match="2"):
        generate.main()
    assert f"{file} cannot be written: No space left on device." in capsys.readouterr().err.splitlines()[-1]
