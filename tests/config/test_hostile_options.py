"""Option files of added folders cannot fill the memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from codetool.config.config_sources import MAX_OPTION_BYTES, initialize_hydra
from codetool.errors import ConfigError


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    return "\n".join(lines + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)])


def initialize(folder: Path, text: str, name: str = "experiment/mine.yaml") -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    with initialize_hydra([f"file://{folder}"]):
        pass


@pytest.mark.parametrize("text", ["seed: 1", "a: &a {x: 1}\nb: *a", laughs(3), "not: [yaml", "#" * MAX_OPTION_BYTES])
def test_ordinary_files_are_options(text: str, tmp_path: Path) -> None:
    initialize(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (laughs(9), "anchors stand for more than 100,000 values"),
        ("a: &a {b: *a}", "holds itself"),
        ("a: " + "[" * 20_000, "nested deeper"),
        ("#" * (MAX_OPTION_BYTES + 1), "larger than 1,000,000 bytes"),
    ],
    ids=["laughs", "recursive", "deep", "large"],
)
@pytest.mark.parametrize("name", ["experiment/mine.yaml", "mine.yaml"])
def test_files_that_would_fill_the_memory_are_refused_by_name(
    text: str, reason: str, name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"mine\.yaml cannot be read as options: .*{reason}"):
        initialize(tmp_path, text, name)
