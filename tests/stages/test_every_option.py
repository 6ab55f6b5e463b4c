"""Every option of every group, found by its YAML, composes into the whole configuration and passes its validation."""

from pathlib import Path

import pytest
import yaml

from codetool.config import validate
from codetool.stages.words import CONF, check

NEEDED = {"prm=remote": ["prm.base_url=http://127.0.0.1:1", "prm.model=m"]}
CHOSEN = ("benchmark", "judge", "logger", "policy", "prm", "reward", "search", "trainer", "tuning")
OPTIONS = sorted(f"{file.parent.name}={file.stem}" for group in CHOSEN for file in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_composes_and_validates(option: str) -> None:
    group = option.split("=")[0]
    stage = ["stage=train"] if group in ("tuning", "trainer") else []
    [config] = check([option, *stage, *NEEDED.get(option, [])])
    settings = validate(config).settings
    assert settings[group]["_target_"].startswith("codetool.")


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: str(file.relative_to(CONF)))
def test_every_value_has_a_comment_with_its_meaning(file: Path) -> None:
    explained = file.read_text().splitlines()
    for line in explained:
        name, separator, value = line.partition(":")
        plain = separator and name.isidentifier() and value.strip() and not value.strip().startswith("|")
        assert not plain or "#" in line or name in {"_target_", "defaults"}, f"{file.name}: {line}"


def test_no_default_of_a_run_stands_in_code() -> None:
    root = yaml.safe_load((CONF / "config.yaml").read_text())
    assert root["limit"] is None  # no debug limit is shipped
