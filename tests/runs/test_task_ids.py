"""Files of task ids that cannot be read, and files that stand where a folder should be: one line that says so."""

from pathlib import Path

import pytest

from codetool.errors import ConfigError, WriteError
from codetool.runs.task_ids import load_task_ids
from codetool.runs.write_errors import explain_write_errors


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "it has no ids"),
        ("{}", "it has no ids"),
        ("3", "it holds int"),
        ("", "Expecting value"),
        (None, "folder"),
    ],
)
def test_what_is_no_file_of_ids_is_said(content: str | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "ids.json"
    if content is None:
        file.mkdir()
    else:
        file.write_text(content)
    with pytest.raises(ConfigError, match=f"no JSON file of task ids, a list or an object: .*{reason}") as error:
        load_task_ids("ids", file)
    assert "Errno" not in str(error.value)


@pytest.mark.parametrize("name", ["exports", "exports/verl", "exports/verl/train.jsonl"])
def test_a_file_in_the_place_of_a_folder_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "exports").touch()
    target = tmp_path / name
    with pytest.raises(WriteError) as error, explain_write_errors(target):
        target.mkdir()
    assert str(error.value) == (
        f"{target} cannot be written: {tmp_path / 'exports'} is a file. Remove it, or name another folder."
    )
