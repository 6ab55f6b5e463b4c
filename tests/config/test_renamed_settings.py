"""A former name of a group or a setting is answered with the current one, wherever it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose

from codetool.config.config_sources import initialize_hydra, is_group
from codetool.config.help import format_help
from codetool.config.overrides import compose_all, validate_all
from codetool.config.renamed_settings import RENAMED_GROUPS, RENAMED_SETTINGS, find_current_name
from codetool.errors import ConfigError

CHOICES = {
    "answer.prompt.max_response_chars": None, "collect.prompt.max_response_chars": None,
    "prm.prompt.max_response_chars": None, "serve_tools": "stage=serve_tools",
    "answer": "answer=policy", "benchmark": "benchmark=stabletoolbench", "collect": "stage=collect",
    "evaluate_prm": "stage=evaluate_prm", "judge": "judge=openai", "judge_stage": "stage=judge",
    "policy": "policy=qwen7b", "prm.backoff": "prm=remote", "prm.prompt.steps": "prm=pairwise", "prm": "prm=qwen7b",
    "simulator": "simulator=openai", "tools": "benchmark=stabletoolbench", "train": "stage=train",
    "tuning": "stage=train", "vllm": "seed=0", "executor": "seed=0", "logger": "logger=wandb",
    "trainer": "stage=train", "optimizer": "stage=train", "scheduler": "stage=train",
    "callback": "stage=train callback=[checkpoint,early_stopping]",
}  # fmt: skip
"""The word that makes the settings below a name exist; None where only a prompt of one's own has them."""


def owner_of(name: str) -> str:
    """The longest name in CHOICES that the setting stands below."""
    return max((owner for owner in CHOICES if name == owner or name.startswith(f"{owner}.")), key=len)


def by_choice() -> dict[str | None, list[str]]:
    """The former names by the word that makes their current ones exist."""
    found: dict[str | None, list[str]] = {}
    for old in RENAMED_SETTINGS:
        found.setdefault(CHOICES[owner_of(find_current_name(old) or "")], []).append(old)
    return found


@pytest.mark.parametrize(("word", "names"), by_choice().items())
def test_a_former_setting_is_unknown_and_its_current_name_exists(word: str | None, names: list[str]) -> None:
    with initialize_hydra():
        composed = compose("config", word.split() if word else [])
    for new in map(find_current_name, names if word else []):
        assert new is not None and find_current_name(new) is None
        settings = composed
        for part in new.split("."):
            assert part in settings, f"{word} has no {new}"
            settings = settings[part]
    with pytest.raises(ConfigError) as error:
        compose_all([*(word.split() if word else []), f"{names[0]}=1"])
    assert f"{names[0]}=1: no such option. Did you mean {find_current_name(names[0])}?" in str(error.value)


@pytest.mark.parametrize("old", sorted(RENAMED_GROUPS))
def test_a_former_group_is_none_and_its_current_name_is_one(old: str) -> None:
    with initialize_hydra():
        assert not is_group(old) and is_group(RENAMED_GROUPS[old].partition("@")[0])
    with pytest.raises(ConfigError, match=f"Did you mean {RENAMED_GROUPS[old]}"):
        compose_all([f"{old}=compact"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("judging@prm.prompt=compact", "prm_prompt@prm.prompt"),
        ("judging@collect.prompt=compact", "prm_prompt@collect.prompt"),
        ("prompt@policy.prompt=react", "policy_prompt@policy.prompt"),
        ("answering@answer.prompt=composed", "answer_prompt@answer.prompt"),
        ("live@tools.live=toolbench", "tool_proxy@tools.tool_proxy"),
        ("cache@tools.cache=toolbench", "cache@tools.recorded_answers"),
        ("tools.cache.memory=9", "tools.recorded_answers.memory_mib"),
        ("tools.live.url=http://a", "tools.tool_proxy.url"),
        ("data.tau=sum", "collect.length_term"),
        ("judged.folder=x", "judge_stage.folder"),
        ("serve.port=1", "serve_tools.port"),
    ],
)
def test_the_current_name_keeps_the_place_and_what_stands_below(old: str, new: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose_all(["benchmark=stabletoolbench", old])
    assert f"{old}: no such option. Did you mean {new}?" in str(error.value)


def test_an_added_setting_with_a_former_name_is_told_too() -> None:
    with pytest.raises(ConfigError, match=r"policy\.rows=3: .*Did you mean policy\.max_batch_size\?"):
        validate_all(compose_all(["policy=qwen7b", "+policy.rows=3"]))


@pytest.mark.parametrize(
    ("group", "text", "expected"),
    [
        ("experiment", "defaults:\n  - override /prompt@policy.prompt: react\n", "policy_prompt@policy.prompt"),
        ("policy", "defaults:\n  - /prompt@prompt: stepwise\n  - _self_\n", "policy_prompt"),
        ("prm", "defaults:\n  - qwen7b\n  - _self_\nbatch_tokens: 9\n", "prm.max_batch_tokens"),
    ],
)
def test_a_file_of_the_users_own_with_a_former_name_is_told(
    tmp_path: Path, group: str, text: str, expected: str
) -> None:
    (tmp_path / group).mkdir()
    (tmp_path / group / "mine.yaml").write_text("# @package _global_\n" * (group == "experiment") + text)
    with pytest.raises(ConfigError) as error:
        validate_all(compose_all([f"{group}=mine"], flags=["--config-dir", str(tmp_path)]))
    assert f"Did you mean {expected}" in str(error.value)


def test_help_on_a_former_group_names_the_current_one() -> None:
    with pytest.raises(ConfigError, match="Did you mean prm_prompt"):
        format_help(["judging"])
