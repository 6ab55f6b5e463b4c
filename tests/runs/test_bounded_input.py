"""Files and JSON of any origin are read in bounded memory and time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codetool.errors import ConfigError
from codetool.runs import bounded_input, journal
from codetool.runs.bounded_input import iterate_lines, open_regular_file, parse_json, parse_yaml, read_bytes, read_text


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self"])
def test_devices_and_folders_are_not_read(path: str) -> None:
    with pytest.raises(OSError, match="no regular file|is a folder"):
        read_bytes(Path(path))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        open_regular_file(tmp_path / "pipe")


def test_a_file_at_the_limit_is_read_and_one_above_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_bytes(tmp_path / "a", 4)


def test_a_file_that_claims_to_be_empty_is_read_to_the_limit() -> None:
    assert "MemTotal" in read_text(Path("/proc/meminfo"))
    with pytest.raises(OSError, match="larger than 100 bytes"):
        read_text(Path("/proc/meminfo"), 100)


def test_a_huge_sparse_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="larger than 1,073,741,824 bytes"):
        read_bytes(tmp_path / "sparse")


def test_lines_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_input, "MAX_LINE_BYTES", 10)
    (tmp_path / "a").write_bytes(b"123456789\nab\n123456789a\n")
    lines = iterate_lines(tmp_path / "a")
    assert [next(lines), next(lines)] == [b"123456789\n", b"ab\n"]
    with pytest.raises(OSError, match="line 3 is longer than 10 bytes"):
        next(lines)


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


@pytest.mark.parametrize("text", [nested(100), nested(50, '{"a":[', "]}"), "[" + "[],{}," * 500 + "1]", '"[[[["'])
def test_json_up_to_the_depth_is_parsed(text: str) -> None:
    assert parse_json(text) == parse_json(text.encode())


@pytest.mark.parametrize(
    "text",
    [nested(101), nested(51, '{"a":[', "]}"), nested(100_000), nested(100_000, '{"a":', "}"), nested(900), "[" * 10**5],
    ids=len,
)
def test_deeper_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nested (deeper than 100 levels|too deeply)"):
        parse_json(text)


@pytest.mark.parametrize("text", ["9" * 5000, '{"a": ' + "9" * 5000 + "}", "[" + "1," * 4_000_000 + "1]"], ids=len)
def test_endless_numbers_and_lists_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="integer string|holds more than 4,000,000 values"):
        parse_json(text)


@pytest.mark.parametrize("line", [nested(100_000), "[" * 100_000, '{"task_id": ' + nested(500) + "}", "9" * 5000])
def test_a_hostile_journal_is_one_clear_error(tmp_path: Path, line: str) -> None:
    (tmp_path / "results.jsonl").write_text(f'{{"task_id": "a"}}\n{line}\n')
    with pytest.raises(ConfigError, match=r"results\.jsonl, line 2, is no JSON object"):
        list(journal.read_records(tmp_path / "results.jsonl"))


def test_a_journal_line_without_end_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_input, "MAX_LINE_BYTES", 1000)
    (tmp_path / "trees.jsonl").write_bytes(b'{"a": 1}\n{"text": "' + b"x" * 2000)
    with pytest.raises(ConfigError, match=r"trees\.jsonl cannot be read: line 2 is longer than 1,000 bytes"):
        list(journal.read_records(tmp_path / "trees.jsonl"))


def test_a_record_longer_than_a_line_may_be_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_LINE_BYTES", 20)
    with journal.Journal(tmp_path / "a") as file:
        file.append({"text": "12345678"})
        with pytest.raises(ValueError, match="record of 21 bytes is longer than a line may be"):
            file.append({"text": "123456789"})
    assert (tmp_path / "a").read_bytes() == b'{"text":"12345678"}\n'
    with pytest.raises(OSError, match="longer than 20 bytes"):
        journal.append_line(tmp_path / "a", "x" * 20)


def laughs(levels: int) -> str:
    """YAML whose last anchor stands for 10**levels values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_anchors_that_stand_for_few_values_are_read() -> None:
    assert parse_yaml("a: &a {x: [1, 2]}\nb: *a")["b"] == {"x": [1, 2]}
    assert len(parse_yaml(laughs(6))) == 6


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (laughs(9), "anchors stand for more than"),
        ("a: &a [*a]", "holds itself"),
        ("[" * 101 + "]" * 101, "nested deeper"),
        ("[" * 100_000, "nested deeper"),
        ("a: [", "expected the node content"),
    ],
    ids=["laughs", "recursive", "deep", "very deep", "malformed"],
)
def test_hostile_yaml_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_yaml(text)
