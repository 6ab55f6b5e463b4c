"""Presets: they say only what differs, what the user types wins over them, and the paper's is the paper's."""

import os
from functools import cache
from pathlib import Path

import pytest
import yaml
from chat_server import ChatServer
from command_line import CommandLine
from omegaconf import DictConfig, OmegaConf
from wandb_files import read

from codetool.config.overrides import CONF, compose_all
from codetool.config.run_config import validate

PRESETS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))
NEEDED = {"prm=remote": ["prm.base_url=http://127.0.0.1:1", "prm.model=m"]}


@cache
def composed(*words: str) -> DictConfig:
    """The configuration of a command line; to be read only."""
    [config] = compose_all(words)
    return config


def own(preset: str) -> tuple[dict[str, str], dict[str, object]]:
    """The options that a preset chooses by their groups, and the values that it sets by their dotted names."""
    text = (CONF / "experiment" / f"{preset}.yaml").read_text()
    content = yaml.safe_load(text) or {}
    chosen = {}
    for choice in content.pop("defaults", ()):
        [(name, option)] = choice.items()
        chosen[name.removeprefix("override /")] = option
    return chosen, dict(leaves(content))


def leaves(content, above=""):
    for name, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def touched(preset: str) -> list[tuple[str, str]]:
    """The preset with every option of each group that it chooses from or sets values in."""
    choices, values = own(preset)
    groups = {*choices, *(name.split(".")[0] for name in values)}
    return [(preset, f"{group}={file.stem}") for group in sorted(groups) for file in (CONF / group).glob("*.yaml")]


TOUCHED = [pair for preset in PRESETS for pair in touched(preset)]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_says_only_what_differs(preset: str) -> None:
    choices, values = own(preset)
    defaults = dict(
        next(iter(entry.items())) for entry in yaml.safe_load((CONF / "config.yaml").read_text())["defaults"][1:]
    )
    assert not choices.items() & defaults.items()
    without = composed(*(f"{group}={option}" for group, option in choices.items()))
    assert not [name for name, value in values.items() if OmegaConf.select(without, name) == value]


@pytest.mark.parametrize(("preset", "option"), TOUCHED)
def test_an_option_that_the_user_chooses_wins_over_the_preset(preset: str, option: str) -> None:
    group = option.split("=")[0]
    config = validate(composed(option, *NEEDED.get(option, []), f"experiment={preset}"))
    alone = composed(option, *NEEDED.get(option, []))
    assert config.settings[group]["_target_"] == alone[group]._target_


@pytest.mark.parametrize("word", ["limit=1", "search.depth=7", "policy.temperature=0.1"])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_value_that_the_user_sets_wins_over_the_preset(preset: str, word: str) -> None:
    name, value = word.split("=")
    assert OmegaConf.select(composed(word, f"experiment={preset}"), name) == yaml.safe_load(value)


def test_the_papers_preset_has_the_papers_numbers() -> None:
    """arXiv 2503.20840: Qwen2.5-Coder-7B, the better of two candidates at each of at most five steps."""
    config = composed("experiment=paper_tmdb")
    policy, search = config.policy, config.search
    assert (config.benchmark._target_, policy.model) == (
        "codetool.benchmarks.tmdb.RestBenchTMDB",
        "Qwen/Qwen2.5-Coder-7B-Instruct",
    )
    assert (policy.temperature, policy.top_p, policy.max_tokens) == (0.9, 0.95, 2048)
    assert (search._target_, search.n, search.depth) == ("codetool.search.greedy.Greedy", 2, 5)
    assert (config.benchmark.max_observation_chars, config.prm.prompt.max_observation_chars) == (1500, 2000)
    assert config.prm.model == "Qwen/Qwen2.5-7B-Instruct"
    assert (config.reward.spot, config.reward.latent, config.reward.aggregate) == (1.0, 1.0, "sum")


def test_a_run_says_which_preset_it_follows(run: CommandLine) -> None:
    done = run("experiment=tour", "dry_run=true")
    assert done.stderr.startswith("experiment=tour benchmark=tmdb_verified search=beam policy=smollm2 prm=smollm2")
    assert done.returncode == 0


def test_a_sweep_is_named_after_its_preset(run: CommandLine) -> None:
    done = run("-m", "experiment=tour", "seed=1,2", "dry_run=true")
    assert done.stderr.startswith("sweep tour: 2 cells")


def test_the_wandb_group_is_the_preset(
    run: CommandLine, policy: ChatServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))
    endpoint = ("policy=openai", "policy.model=m", f"policy.base_url={policy.url}")
    assert run("experiment=tour", "prm=none", *endpoint, "limit=1").returncode == 0
    [offline] = run.folder("tmdb_verified").glob("wandb/offline-run-*")
    assert read(offline).group == "tour"


def test_help_tells_what_a_preset_is_for(run: CommandLine) -> None:
    text = run("--help", "experiment").stdout
    for preset in PRESETS:
        assert f"experiment={preset}\n" in text
    assert "reward=codetool,without_spot,without_latent" in text
