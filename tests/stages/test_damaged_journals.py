"""Journals that something has damaged: undamaged work is kept, the rest is done again, and the damage is said once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer
from command_line import read_lines, strip_seconds
from in_process import evaluate_with_log, remove_seconds, scripted
from scripted_policy import scripted_server

Lines = list[bytes]
WORDS = ("search=beam", "search.n=2", "limit=3")
JOURNALS = ("results", "trees", "candidates", "tools")


def change_type(line: bytes) -> bytes:
    """The record with a value of another type, as deep in it as possible."""
    record = json.loads(line)
    deepest = record
    while nested := [value for value in deepest.values() if isinstance(value, dict) and value]:
        deepest = nested[0]
    deepest[next(iter(deepest))] = {"another": ["type"]}
    return json.dumps(record).encode() + b"\n"


KINDS: dict[str, Callable[[Lines], Lines]] = {
    "cut in the middle": lambda lines: [lines[0], lines[1][: len(lines[1]) // 2] + b"\n", *lines[2:]],
    "torn at the end": lambda lines: [*lines[:-1], lines[-1][: len(lines[-1]) // 2]],
    "30 times": lambda lines: [*[lines[0]] * 30, *lines[1:]],
    "swapped": lambda lines: lines[::-1],
    "a list": lambda lines: [b"[1, 2]\n", *lines[1:]],
    "a number": lambda lines: [*lines, b"12\n"],
    "null": lambda lines: [lines[0], b"null\n", *lines[2:]],
    "another type": lambda lines: [change_type(lines[0]), *lines[1:]],
    "NUL bytes": lambda lines: [lines[0], b"\0" * len(lines[1]) + b"\n", *lines[2:]],
    "a byte order mark": lambda lines: [b"\xef\xbb\xbf" + lines[0], *lines[1:]],
    "CRLF": lambda lines: [line.replace(b"\n", b"\r\n") for line in lines],
    "invalid UTF-8": lambda lines: [lines[0], lines[1].replace(b'"task_id":"', b'"task_id":"\xff\xfe'), *lines[2:]],
    "two in a line": lambda lines: [lines[0].rstrip() + lines[1], *lines[2:]],
    "another result": lambda lines: [lines[0].replace(b"1", b"2"), *lines],
    "empty": lambda lines: [],
    "of another run": lambda lines: [lines[0].replace(b'"task_id":"', b'"task_id":"other-'), *lines],
}
SILENT = {"torn at the end", "swapped", "CRLF", "a byte order mark", "of another run"}
"""Kinds that are no damage: nothing need be said."""


@pytest.fixture(scope="module")
def policy() -> Iterator[ChatServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, policy: ChatServer) -> Path:
    """The outputs of a finished run."""
    outputs = tmp_path_factory.mktemp("finished")
    evaluate_with_log(outputs, *scripted(policy), *WORDS)
    return outputs


def content(outputs: Path) -> dict[str, Any]:
    [folder] = outputs.glob("evaluate/*")
    metrics = remove_seconds(json.loads((folder / "metrics.json").read_text()))
    del metrics["code"]  # counts all results of the folder, also those of another run
    journals = {name: [json.dumps(line) for line in strip_seconds(read_lines(folder, name))] for name in JOURNALS}
    own = {name: {line for line in lines if '"other-' not in line} for name, lines in journals.items()}
    assert all(len(own[name]) == 3 for name in ("results", "trees"))
    return {"metrics": metrics, "results": own["results"], "trees": own["trees"]}


def damage(finished: Path, outputs: Path, name: str, kind: str) -> Path:
    shutil.copytree(finished, outputs)
    [file] = outputs.glob(f"evaluate/*/{name}.jsonl")
    file.write_bytes(b"".join(KINDS[kind](file.read_bytes().splitlines(keepends=True))))
    return file


def check_repair(finished: Path, outputs: Path, policy: ChatServer, name: str, kind: str) -> None:
    file = damage(finished, outputs, name, kind)
    _, said = evaluate_with_log(outputs, *scripted(policy), *WORDS)
    repaired, expected = content(outputs), content(finished)
    if name == "tools":  # the calls of finished tasks are not made again to be counted
        repaired["metrics"].pop("tools", None), expected["metrics"].pop("tools")
    assert repaired == expected, (name, kind)
    of_file = [line for line in said.splitlines() if f"{file.name}: " in line and "incomplete draws" not in line]
    assert len(of_file) <= 1 and "Traceback" not in said, said
    if name in ("results", "trees") and kind not in SILENT | {"empty"}:
        assert len(of_file) == 1 and ("line" in of_file[0]), said
    shutil.rmtree(outputs)


@pytest.mark.parametrize(
    ("name", "kind"), [("results", "two in a line"), ("trees", "another type"), ("candidates", "NUL bytes")]
)
def test_a_damaged_journal_is_repaired(
    finished: Path, tmp_path: Path, policy: ChatServer, name: str, kind: str
) -> None:
    check_repair(finished, tmp_path / "outputs", policy, name, kind)


@pytest.mark.slow
@pytest.mark.parametrize("name", JOURNALS)
def test_every_kind_of_damage_is_repaired(finished: Path, tmp_path: Path, policy: ChatServer, name: str) -> None:
    for kind in KINDS:
        check_repair(finished, tmp_path / kind.replace(" ", "-"), policy, name, kind)


def test_a_dry_run_tells_the_damage_and_repairs_nothing(finished: Path, tmp_path: Path, policy: ChatServer) -> None:
    file = damage(finished, tmp_path / "outputs", "results", "cut in the middle")
    before = file.read_bytes()
    _, said = evaluate_with_log(tmp_path / "outputs", *scripted(policy), *WORDS, "dry_run=true")
    assert f"{file}: 1 line is damaged: line 2 is no JSON object" in said and "done already: 2" in said
    assert file.read_bytes() == before


@pytest.mark.parametrize("text", ["", "[]", '{"result": 3}', '{"result": "a"', "\0\0"])
def test_a_damaged_provenance_is_set_aside(finished: Path, tmp_path: Path, policy: ChatServer, text: str) -> None:
    shutil.copytree(finished, tmp_path / "outputs")
    [file] = (tmp_path / "outputs").glob("evaluate/*/provenance.json")
    file.write_text(text)
    _, said = evaluate_with_log(tmp_path / "outputs", *scripted(policy), *WORDS)
    assert said.count("is damaged") == 1 and "provenance.json.damaged" in said
    assert file.with_name("provenance.json.damaged").read_text() == text
    assert content(tmp_path / "outputs")["results"] == content(finished)["results"]
