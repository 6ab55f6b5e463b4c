"""What is part of a result's identity: every setting that is not marked, options by name, paths by content."""

from __future__ import annotations

import functools
import os
import pydoc
import sys
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from composing import compose_config as composed_anew

from codetool.config.overrides import CONF
from codetool.config.run_config import RunConfig
from codetool.runs import identity as identity_module
from codetool.runs.identity import (
    TARGET_KEY,
    Identity,
    find_mark,
    find_marked_settings,
    is_hashed,
    read_field_hints,
    select_identity_settings,
)
from codetool.runs.operational import HashedAs, Mark, Operational
from codetool.stages.evaluate.run_identity import compute_identity

GOLDEN = Path(__file__).parent / "golden_identities.yaml"
"""The digest of the settings of each option;
`WRITE_GOLDEN_IDENTITIES=1 pytest tests/runs/test_identity.py` writes it."""
STAGES = {"judge": "stage=judge", "tuning": "stage=train", "trainer": "stage=train",
    "optimizer": "stage=train", "scheduler": "stage=train", "callback": "stage=train",
    "objective": "stage=train",
}  # fmt: skip
"""The stage that reads a group."""
GIVEN = {
    "prm=remote": ["prm.base_url=http://127.0.0.1:1", "prm.model=m"],
    "simulator": ["tools.mode=simulated"],
}
"""What an option, or every option of a group but `none`, needs beside it."""
PLACES = {
    "policy_prompt": "policy_prompt@policy.prompt",
    "prm_prompt": "prm_prompt@prm.prompt",
    "answer_prompt": "answer_prompt@answer.prompt",
}
"""How a group is written that is chosen inside another option."""
INNER = ("cache", "endpoint", "tool_proxy", "replica", "sampling", "experiment")
"""Groups whose options come with another option, or are no option."""
GROUPS = sorted(
    folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name not in {*INNER, "stage", "hydra"}
)
OPTIONS = [f"{group}={file.stem}" for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]


def words_of(option: str) -> list[str]:
    group, name = option.split("=")
    more = GIVEN.get(option, GIVEN.get(group, []) if name != "none" else [])
    if option == "prm_prompt=pairwise":
        more = ["prm.labels=[A,B]"]
    if group == "answer_prompt":
        more = ["answer=policy"]
    stage = [STAGES[group]] if group in STAGES else []
    return [*stage, f"{PLACES.get(group, group)}={name}", *more]


composed = functools.cache(composed_anew)


def settings_of(*words: str) -> dict[str, Any]:
    return select_identity_settings(*composed(*words))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_mark_stands_on_a_setting_and_every_option_is_hashed_by_name(option: str) -> None:
    config, choices = composed(*words_of(option))
    marks = find_marked_settings(config.settings, type(config))
    for name in marks:
        value: Any = config.settings
        for key in name.split("."):
            value = value[key]  # a mark of a setting that is not there raises KeyError
    hashed = select_identity_settings(config, choices)
    assert TARGET_KEY not in str(hashed) and "codetool." not in str(hashed)
    group, name = option.split("=")
    place = PLACES.get(group, group).rpartition("@")[2]
    if is_hashed(place, marks) and place.split(".")[0] in hashed:
        block: Any = hashed
        for key in place.split("."):
            block = block[key]
        if group == "callback":  # several options stand beside each other
            unhashed = ("none", "lr_monitor")
            assert set(block) == {name} - set(unhashed) and all(each["_class_"] for each in block.values())
        else:
            assert block["_option_"] == name


def test_no_identity_has_changed() -> None:
    """A rename keeps the identities with `HashedAs`; a change that changes results writes the golden file anew."""
    digests = {option: Identity(settings_of(*words_of(option)), {}, "golden").digest for option in OPTIONS}
    if os.environ.get("WRITE_GOLDEN_IDENTITIES"):
        head = "# Digests of the identity settings of every option, without checksums.\n"
        GOLDEN.write_text(head + yaml.safe_dump(digests))
    golden = yaml.safe_load(GOLDEN.read_text())
    assert {option: digests.get(option) for option in golden} == golden  # a new option has no earlier results


@pytest.mark.slow
def test_every_option_has_a_golden_identity() -> None:
    assert set(yaml.safe_load(GOLDEN.read_text())) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_no_path_is_hashed_by_its_text(option: str) -> None:
    """A setting of type Path is marked, or is nothing yet; the identity reads the content of any other."""
    config, choices = composed(*words_of(option))
    marks = find_marked_settings(config.settings, type(config))

    def look(value: Any, hints: typing.Mapping[str, Any], prefix: str) -> None:
        for key, each in value.items():
            name = f"{prefix}{key}"
            if isinstance(each, dict):
                target = pydoc.locate(each[TARGET_KEY]) if TARGET_KEY in each else None
                look(each, read_field_hints(target) if target else {}, f"{name}.")
            elif "pathlib" in str(hints.get(key)):
                parents = [name.rsplit(".", depth)[0] for depth in range(name.count(".") + 1)]
                assert any(parent in marks for parent in parents), f"{name} is a path and has no mark"

    look(config.settings, read_field_hints(RunConfig), "")


def test_no_mark_is_hidden_where_nobody_looks() -> None:
    """A mark inside a container, `list[Annotated[str, Operational]]`, would mark nothing."""
    for option in OPTIONS:
        config, _ = composed(*words_of(option))
        for target in {RunConfig, *map(pydoc.locate, targets_in(config.settings))}:
            for name, hint in read_field_hints(target).items():
                assert ("OPERATIONAL" in str(hint) or "CHECKSUMMED" in str(hint)) == (find_mark(hint) is not None), name


def targets_in(settings: Any) -> set[str]:
    if not isinstance(settings, dict):
        return set()
    own = {settings[TARGET_KEY]} if TARGET_KEY in settings else set()
    return own.union(*map(targets_in, settings.values()))


@pytest.mark.parametrize("option", ["search=dfs", "prm=smollm2", "policy=openai", "benchmark=stabletoolbench"])
def test_moving_a_module_changes_no_identity(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, choices = composed_anew(*words_of(option))
    before = Identity(select_identity_settings(config, choices), {}).digest

    def moved(settings: Any) -> Any:
        if not isinstance(settings, dict):
            return settings
        found = {name: moved(value) for name, value in settings.items()}
        if TARGET_KEY in found:
            module, _, name = found[TARGET_KEY].rpartition(".")
            place = f"codetool.elsewhere_{module.replace('.', '_')}"
            monkeypatch.setitem(sys.modules, place, types.ModuleType(place))
            setattr(sys.modules[place], name, pydoc.locate(found[TARGET_KEY]))
            monkeypatch.setattr("codetool." + place.split(".")[1], sys.modules[place], raising=False)
            found[TARGET_KEY] = f"{place}.{name}"
        return found

    new = moved(config.settings)
    assert str(new).count("codetool.elsewhere_") > 5
    object.__setattr__(config, "settings", new)
    assert Identity(select_identity_settings(config, choices), {}).digest == before


def test_a_class_given_by_hand_is_another_result() -> None:
    beam = settings_of("search=beam")
    words = ("search._target_=codetool.search.greedy.Greedy", "~search.width", "~search.lookahead")
    other = settings_of("search=beam", *words)
    assert beam["search"]["_option_"] == other["search"]["_option_"] == "beam"
    assert other["search"]["_class_"] == "Greedy"


@pytest.mark.parametrize(
    "word",
    [
        "seed=1", "search.width=3", "search=greedy", "policy.model=n", "policy.temperature=0.8", "executor.timeout=5",
        "prm=oracle", "reward=without_spot", "budget.tokens=9", "tools.allowed_hosts=[a.test]", "tools.max_calls=3",
        "tools.mode=strict", "policy.prompt.max_response_chars=5", "benchmark=tmdb", "answer=policy",
    ],
)  # fmt: skip
def test_what_determines_a_result_changes_its_identity(word: str) -> None:
    base = ("policy=openai", "policy.model=m", "prm=none")
    assert settings_of(*base, word) != settings_of(*base)


@pytest.mark.parametrize(
    "word",
    [
        "limit=5", "outputs=/tmp", "fresh=true", "concurrency=3", "policy.base_url=http://b", "policy.timeout=3",
        "policy.key_env=K", "executor.max_live_processes=9", "executor.total_memory=4096",
        "executor.isolation=required", "tools.retries=9", "logger=none",
        "export=reference", "policy.usd_per_million_in=3", "policy.temperature=0.90", "search.width=2",
    ],
)  # fmt: skip
def test_what_does_not_determine_a_result_leaves_its_identity(word: str) -> None:
    base = ("policy=openai", "policy.model=m", "prm=none")
    assert settings_of(*base, word) == settings_of(*base)


def test_other_data_or_another_version_is_another_result() -> None:
    digests = {
        Identity({}, {"benchmark": data}, version).digest for data in ("a", "b") for version in ("0.1.0", "0.2.0")
    }
    assert len(digests) == 4


def test_the_order_of_settings_does_not_matter() -> None:
    settings = settings_of()
    assert Identity(dict(reversed(settings.items())), {}).digest == Identity(settings, {}).digest


def test_servers_of_the_run_count_where_one_runs() -> None:
    none, own = ("policy=openai", "policy.model=m", "prm=none"), ("policy=smollm2", "policy.backend=vllm", "prm=none")
    for words, counts in ((none, False), (own, True)):
        one, two = (compute_identity(*composed(*words, f"vllm.max_model_len={size}")).settings for size in (512, 1024))
        assert (one != two) == counts, words
        assert ("vllm" in one) == counts


def test_the_place_of_a_local_model_does_not_count_and_a_servers_name_does(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    for group in ("policy", "prm"):
        here = [settings_of(f"{group}=qwen7b", f"{group}.model={tmp_path / name}")[group] for name in ("a", "b")]
        assert here[0] == here[1]
        server = (f"{group}=qwen7b", f"{group}.backend=endpoint", f"{group}.base_url=http://h/v1")
        there = [settings_of(*server, f"{group}.model={tmp_path / name}")[group] for name in ("a", "b")]
        assert there[0] != there[1]


JUDGED = ("judge=openai", "judge.model=j", "policy=openai", "policy.model=m", "prm=none")


def test_the_judge_of_an_evaluation_counts_and_where_it_listens_does_not() -> None:
    base = compute_identity(*composed(*JUDGED)).settings
    for word in ("judge.votes=3", "judge.model=k", "judge.prompt=q", "judge.second_look=q"):
        assert compute_identity(*composed(*JUDGED, word)).settings != base, word
    for word in ("judge.base_url=http://b", "judge.timeout=1", "judge.concurrency=1", "judge.pairwise=q"):
        assert compute_identity(*composed(*JUDGED, word)).settings == base, word
    assert "judge" not in compute_identity(*composed(*JUDGED[2:])).settings


def test_rollouts_are_the_same_whoever_judges_their_leaves() -> None:
    one, two = (
        compute_identity(*composed("stage=collect", *JUDGED[2:], *words)).settings for words in ((), JUDGED[:2])
    )
    assert one == two


@dataclass(frozen=True, kw_only=True)
class Rules:
    """A plug-in's settings, nested in others."""

    strict: bool
    where: Annotated[str, Operational]


@dataclass(frozen=True, kw_only=True)
class Mine:
    """A plug-in's settings."""

    file: Path
    files: tuple[Path, ...]
    rules: Rules | None
    by_name: dict[str, Rules]
    speed: Annotated[int | None, Operational]


@dataclass(frozen=True, kw_only=True)
class Composed:
    mine: Mine | None = None
    settings: dict[str, Any]


def hashed(**mine: Any) -> Any:
    settings = {"mine": {TARGET_KEY: f"{__name__}.Mine", **mine}}
    annotated = dataclass(frozen=True, kw_only=True)(type("All", (Composed,), {}))
    return select_identity_settings(annotated(settings=settings), {"mine": "own"})["mine"]


def test_a_plugins_option_is_hashed_by_its_name_and_its_paths_by_content(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder / "deep").mkdir(parents=True)
        (tmp_path / folder / "deep" / "file.txt").write_text("rules")
    files = [tmp_path / folder / "deep" / "file.txt" for folder in ("x", "y")]
    assert hashed(file=str(files[0])) == hashed(file=str(files[1])) != hashed(file="nowhere")
    assert hashed(files=[str(tmp_path / "x")]) == hashed(files=[str(tmp_path / "y")])
    files[1].write_text("other rules")
    assert hashed(file=str(files[0])) != hashed(file=str(files[1]))
    assert hashed(files=[str(tmp_path / "x")]) != hashed(files=[str(tmp_path / "y")])
    assert hashed(file="nowhere") == {"file": "nowhere", "_option_": "own", "_class_": "Mine"}


@dataclass(frozen=True, kw_only=True)
class Before:
    """A plug-in's settings before a rename."""

    clip: float
    rules: tuple[Rules, ...]


@dataclass(frozen=True, kw_only=True)
class After:
    """The same settings after it."""

    max_norm: Annotated[float, HashedAs("clip")]
    checks: Annotated[tuple[Rules, ...], HashedAs("rules")]

    def irrelevant_settings(self) -> frozenset[str]:
        return frozenset({"checks"})


@dataclass(frozen=True, kw_only=True)
class ComposedAfter:
    newer: Annotated[Any, HashedAs("mine")] = None
    settings: dict[str, Any]


def test_a_renamed_setting_is_hashed_under_its_former_name() -> None:
    rules = [{"strict": True, "where": "a"}]
    before = Composed(settings={"mine": {TARGET_KEY: f"{__name__}.Before", "clip": 1.0, "rules": rules}})
    settings = {"newer": {TARGET_KEY: f"{__name__}.After", "max_norm": 1.0, "checks": rules}}
    former = select_identity_settings(before, {})["mine"]
    current = select_identity_settings(ComposedAfter(settings=settings), {})["mine"]
    assert former.pop("_class_") == "Before" and current.pop("_class_") == "After"
    assert former == current == {"clip": 1.0, "rules": [{"strict": True}]}
    live = ComposedAfter(newer=After(max_norm=1.0, checks=()), settings=settings)
    assert "rules" not in select_identity_settings(live, {})["mine"]


def test_marks_of_nested_settings_count_wherever_they_stand() -> None:
    rules = {"strict": True, "where": "a"}
    found = hashed(speed=3, rules=rules, by_name={"one": rules})
    assert found == {
        "rules": {"strict": True},
        "by_name": {"one": {"strict": True}},
        "_option_": "own",
        "_class_": "Mine",
    }


def test_a_librarys_settings_are_marked_beside_its_target() -> None:
    settings = {"mine": {TARGET_KEY: "fractions.Fraction", "numerator": 1, "denominator": 2}}
    listed = {"mine": settings["mine"] | {"_operational_": ["denominator"]}}
    plain, marked = (select_identity_settings(Composed(settings=each), {}) for each in (settings, listed))
    assert plain["mine"] == {"numerator": 1, "denominator": 2, "_class_": "Fraction"}
    assert marked["mine"] == {"numerator": 1, "_class_": "Fraction"}
    assert find_marked_settings(listed, Composed) == {"mine.denominator": Mark.OPERATIONAL}


def test_lists_of_unhashed_settings_do_not_reach_the_class() -> None:
    config, choices = composed("++search._operational_=[depth]", "search=beam")
    assert config.search.depth == 5
    assert "depth" not in select_identity_settings(config, choices)["search"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("reward=without_latent",), ("reward.latent=0",)),
        (("reward=without_latent", "reward.spot=2"), ("reward.latent=0.0", "reward.spot=2.0")),
        (("reward=without_spot",), ("reward.spot=0",)),
        (("reward=without_latent", "reward.latent=1"), ()),
        (("reward=without_spot", "reward.spot=1", "reward.aggregate=min"), ("reward.aggregate=min",)),
        (("reward=without_spot", "reward.spot=1", "reward.latent=0"), ("reward=without_latent",)),
    ],
)
def test_a_reward_of_equal_weights_is_one_result_in_whatever_words(first: Sequence[str], second: Sequence[str]) -> None:
    one, two = compute_identity(*composed(*first)), compute_identity(*composed(*second))
    assert one.settings["reward"] == two.settings["reward"]
    assert one.digest == two.digest


def test_rewards_of_other_weights_are_other_results() -> None:
    words = ((), ("reward.latent=0",), ("reward.spot=0",), ("reward.latent=0.5",), ("reward.aggregate=min",))
    assert len({compute_identity(*composed(*more)).digest for more in words}) == len(words)


def test_numbers_are_the_same_however_they_are_written() -> None:
    one, two = (Identity(settings_of(f"executor.timeout={number}"), {}).digest for number in ("10", "10.0"))
    assert one == two


def test_large_files_are_hashed_by_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_module, "WHOLE_FILE_BYTES", 100)
    monkeypatch.setattr(identity_module, "BLOCK_BYTES", 10)
    file = tmp_path / "weights.bin"
    sums = []
    for number, place in enumerate((None, 5, 50)):
        content = bytearray(200)
        if place is not None:
            content[place] = number
        file.write_bytes(content)
        sums.append(identity_module.hash_path(file))
    assert sums[0] != sums[1] and sums[0] == sums[2]
