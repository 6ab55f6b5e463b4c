"""The folder of the downloaded data: only tests marked `data` see it; one that lacks it skips, in CI it fails."""

import os
from pathlib import Path

import pytest

VARIABLE = "CODETOOL_DATA"
DATA = os.environ.get(VARIABLE)
_marked = False


def show_data_to(item: pytest.Item) -> None:
    """Set CODETOOL_DATA for a test marked `data` and unset it for any other, which then runs alike on every machine."""
    global _marked
    _marked = item.get_closest_marker("data") is not None
    if _marked and DATA is not None:
        os.environ[VARIABLE] = DATA
    else:
        os.environ.pop(VARIABLE, None)


def data_folder(part: str = ".") -> Path:
    """The folder that CODETOOL_DATA names, or a part of it."""
    if not _marked:
        pytest.fail("This test reads the data folder: mark it `data`.")
    if DATA is None or not (Path(DATA) / part).exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{VARIABLE}={DATA} holds no {part}")
    return Path(DATA) / part
