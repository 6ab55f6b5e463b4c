"""Every option of every group, found by its YAML, composes into the whole configuration and passes its validation."""

import dataclasses
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from codetool.config.config_sources import initialize_hydra, list_options, read_default_choices
from codetool.config.overrides import CONF, compose_all
from codetool.config.run_config import validate
from codetool.config.setting_readers import map_names_to_stages

NEEDED = {
    "prm=remote": ["prm.base_url=http://127.0.0.1:1", "prm.model=m"],
    "simulator=openai": ["tools.mode=simulated"],
    "simulator=mirrorapi": ["tools.mode=simulated"],
    "experiment=paper_stabletoolbench": ["judge.model=m"],
}
PLACES = {
    "policy_prompt": "policy_prompt@policy.prompt", "prm_prompt": "prm_prompt@prm.prompt",
    "answer_prompt": "answer_prompt@answer.prompt", "cache": "cache@tools.recorded_answers",
    "tool_proxy": "tool_proxy@tools.tool_proxy", "replica": "replica@tools.replica",
}  # fmt: skip
"""Where the options of groups that others choose belong."""
BESIDE = {
    "answer_prompt": ["answer=policy"], "cache": ["benchmark=stabletoolbench"],
    "tool_proxy": ["benchmark=stabletoolbench"], "prm_prompt": ["prm=qwen7b"],
}  # fmt: skip
UNNAMED = {"_target_", "_partial_", "_operational_", "defaults", "stage"}
GROUPS = sorted({file.parent.name for file in CONF.glob("*/*.yaml")})
OPTIONS = sorted(f"{file.parent.name}={file.stem}" for file in CONF.glob("*/*.yaml"))
PARTS = {"endpoint", "sampling"}
"""Groups that are no seam: their files are put into an option (`@_here_`)."""


def defaults_in_code(settings: Any, place: str = "") -> Iterator[str]:
    """The settings that the YAML leaves out, so that a default in the code decides."""
    if isinstance(settings, dict):
        if "_target_" in settings:
            module, _, name = settings["_target_"].rpartition(".")
            target_class = getattr(importlib.import_module(module), name)
            # Classes of Lightning and PyTorch have their own defaults, which are documented there.
            for each in dataclasses.fields(target_class) if dataclasses.is_dataclass(target_class) else ():
                if each.init and each.name not in settings:
                    yield f"{place}.{each.name}"
        for name, value in settings.items():
            yield from defaults_in_code(value, f"{place}.{name}" if place else name)


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.split("=")[0] not in PARTS])
def test_an_option_composes_and_validates(option: str) -> None:
    group, name = option.split("=")
    with initialize_hydra():
        stage = map_names_to_stages().get(group, ["evaluate"])[-1] if group != "judge" else "evaluate"
    chosen = [f"stage={name}"] if group == "stage" else [f"stage={stage}", f"{PLACES.get(group, group)}={name}"]
    if option == "prm_prompt=pairwise":
        chosen += ["prm.labels=[A,B]"]
    [config] = compose_all([*BESIDE.get(group, []), *chosen, *NEEDED.get(option, [])])
    settings = validate(config).settings
    assert [*defaults_in_code(settings)] == []
    if group in ("logger", "callback"):  # each option has a place of its own, so that several can be chosen
        assert settings[group].keys() == ({name} if name != "none" else set())
    elif group not in ("stage", "experiment"):
        place = PLACES.get(group, group).rpartition("@")[2].split(".")
        assert settings[place[0]][place[1]]["_target_"] if len(place) > 1 else settings[group]["_target_"]


def test_every_group_can_be_chosen_or_belongs_somewhere() -> None:
    with initialize_hydra():
        chosen = set(read_default_choices("config")) | set(map_names_to_stages())
        assert {*GROUPS} - chosen - set(PLACES) - PARTS == set()
        assert {f"{group}={option}" for group in GROUPS for option in list_options(group)} == {*OPTIONS}


def values(text: str) -> Iterator[tuple[str, str]]:
    """The lines of a YAML file that give a setting a value, at any depth, each with the line above it."""
    above, inside = "", None
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if inside is not None and (not line.strip() or depth > inside):
            continue
        inside = depth if re.search(r"[|>][-+]?$", line.split(" #")[0].rstrip()) else None
        match = re.match(r"\s*([\w.]+):\s*(\S.*)?$", line)
        if match and match[1] not in UNNAMED and match[2] and not match[2].startswith("#") and inside is None:
            yield line, above
        above = line


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: str(file.relative_to(CONF)))
def test_every_value_has_a_comment_with_its_meaning(file: Path) -> None:
    text = file.read_text().partition("\nhydra:")[0] if file.name == "config.yaml" else file.read_text()
    missing = [line.strip() for line, above in values(text) if "#" not in line and not above.lstrip().startswith("#")]
    assert not [line for line in missing if not line.startswith(("override ", "/"))], file.name


def test_the_values_of_every_depth_are_looked_at() -> None:
    found = [line for line, _ in values("a: 1\nb:\n  c: 2  # x\n  d:\n    e: 3\n  text: |\n    f: 4\ng: 5\n")]
    assert [line.split(":")[0].strip() for line in found] == ["a", "c", "e", "g"]


def test_no_debug_limit_is_shipped() -> None:
    assert yaml.safe_load((CONF / "config.yaml").read_text())["limit"] is None


def test_a_simulator_that_is_chosen_sets_the_mode_unless_it_is_set() -> None:
    words = ["simulator=openai", "simulator.model=m"]
    modes = [compose_all([*words, *more])[0].tools.mode for more in ([], ["tools.mode=live"])]
    assert modes == ["simulated", "live"] and compose_all([])[0].tools.mode == "offline"
