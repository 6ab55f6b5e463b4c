"""The record of the script that makes the embedded adapters: what it holds, and that finished steps are left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from step_record import StepRecord, Values

CODE = (
    "import sys, pathlib; log = pathlib.Path(sys.argv[1]); log.open('a').write('x'); "
    "folder = log.parent / 'made'; folder.mkdir(exist_ok=True); (folder / 'weights').write_text('w'); "
    "print('made:', folder)"
)


def run(folder: Path, *words: str, code: str = CODE) -> Values:
    """Run a step that writes a file into a folder and names the folder; each run adds a letter to `runs`."""

    def read(lines: Sequence[str]) -> Values:
        return {"folder": next(line for line in lines if line.startswith("made: ")).removeprefix("made: ").strip()}

    record = StepRecord(folder / "make.json", {"command": "make"})
    arguments = ("-c", code, str(folder / "runs"), *words)
    return record.run("first", arguments, read, lambda values: [Path(values["folder"])])


def test_a_step_is_recorded_with_its_seconds_seed_and_checksums_and_runs_once(tmp_path: Path) -> None:
    for _ in range(2):
        assert run(tmp_path, "seed=3") == {"folder": str(tmp_path / "made")}
    assert (tmp_path / "runs").read_text() == "x"
    content = json.loads((tmp_path / "make.json").read_text())
    step = content["steps"]["first"]
    assert (step["seed"], step["values"], content["command"]) == (3, {"folder": "OUT/made"}, "make")
    assert step["sha256"] == {"OUT/made/weights": hashlib.sha256(b"w").hexdigest()}
    assert 0 < step["seconds"] == content["seconds"] and str(tmp_path) not in (tmp_path / "make.json").read_text()


def test_a_step_runs_again_with_another_command_or_if_what_it_made_has_changed(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "made" / "weights").write_text("damaged")
    run(tmp_path)
    run(tmp_path, "more")
    assert (tmp_path / "runs").read_text() == "xxx"


def test_a_failed_step_ends_the_script_by_its_code_and_its_seconds_are_added_up(tmp_path: Path) -> None:
    failing = "import sys; sys.exit(7)"
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            run(tmp_path, code=failing)
        assert ended.value.code == 7
    step = json.loads((tmp_path / "make.json").read_text())["steps"]["first"]
    assert "sha256" not in step and step["seconds"] > 0
    run(tmp_path)
    assert "sha256" in json.loads((tmp_path / "make.json").read_text())["steps"]["first"]


def test_a_signal_to_end_is_passed_on_to_the_command(tmp_path: Path) -> None:
    stopping = (
        "import os, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); "
        "os.kill(os.getppid(), signal.SIGTERM); time.sleep(30)"
    )
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, code=stopping)
    assert ended.value.code == 9
