from pathlib import Path
from typing import Any

import pytest

from codetool.identity import identity

SETTINGS: dict[str, Any] = {
    "seed": 0,
    "limit": None,
    "outputs": "outputs",
    "policy": {"model": "m", "base_url": "http://a", "temperature": 0.9},
    "search": {"width": 2},
    "prm": {"model": "m", "base_url": "http://a", "device": "auto", "wheel": None},
    "executor": {"timeout": 10.0, "max_live": 100},
}
SUMS = {"benchmark": "abc"}


def changed(name: str, value: object) -> dict[str, Any]:
    group, _, key = name.rpartition(".")
    return SETTINGS | ({group: SETTINGS[group] | {key: value}} if group else {key: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 1),
        ("policy.model", "n"),
        ("policy.temperature", 0.8),
        ("search.width", 3),
        ("executor.timeout", 5.0),
        ("prm.model", "n"),
    ],
)
def test_what_determines_a_result_changes_its_identity(name: str, value: object) -> None:
    assert identity(changed(name, value), SUMS) != identity(SETTINGS, SUMS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", 5),
        ("outputs", "/tmp"),
        ("policy.base_url", "http://b"),
        ("executor.max_live", 9),
        ("prm.device", "cuda:1"),
        ("prm.wheel", "/a.whl"),
    ],
)
def test_what_does_not_determine_a_result_leaves_its_identity(name: str, value: object) -> None:
    assert identity(changed(name, value), SUMS) == identity(SETTINGS, SUMS)


def test_other_data_is_another_result() -> None:
    assert identity(SETTINGS, {"benchmark": "abd"}) != identity(SETTINGS, SUMS)


def test_another_version_of_this_package_is_another_result(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(SETTINGS, SUMS)
    monkeypatch.setattr("codetool.identity.version", lambda package: f"{package} 99")
    assert identity(SETTINGS, SUMS) != before


def test_the_order_of_settings_does_not_matter() -> None:
    assert identity(dict(reversed(SETTINGS.items())), SUMS) == identity(SETTINGS, SUMS)


def test_a_replayed_run_is_known_by_its_checksum_not_its_place() -> None:
    here, there = ({"policy": {"source": [path]}} for path in ("/a/run-1", "/b/run-2"))
    assert identity(here, SUMS | {"policy": "1"}) == identity(there, SUMS | {"policy": "1"})
    assert identity(here, SUMS | {"policy": "1"}) != identity(here, SUMS | {"policy": "2"})


def test_a_model_in_a_folder_is_known_by_its_checksum_and_a_servers_by_its_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    for group in ("policy", "prm"):
        here, there = ({group: {"model": str(tmp_path / name), "base_url": None}} for name in ("a", "b"))
        assert identity(here, SUMS | {group: "1"}) == identity(there, SUMS | {group: "1"})
        assert identity(here, SUMS | {group: "1"}) != identity(here, SUMS | {group: "2"})
        one, two = ({group: {"model": str(tmp_path / name), "base_url": "http://h"}} for name in ("a", "b"))
        assert identity(one, SUMS | {group: "1"}) != identity(two, SUMS | {group: "1"})


JUDGED = SETTINGS | {
    "stage": "evaluate",
    "judge": {"_target_": "J", "model": "j", "votes": 3, "prompt": "p", "base_url": "a"},
}


@pytest.mark.parametrize(("name", "value"), [("model", "k"), ("votes", 1), ("prompt", "q"), ("second_look", "q")])
def test_the_judge_of_an_evaluation_determines_its_result(name: str, value: object) -> None:
    assert identity(JUDGED | {"judge": JUDGED["judge"] | {name: value}}, SUMS) != identity(JUDGED, SUMS)


@pytest.mark.parametrize("name", ["base_url", "key_env", "concurrency", "timeout", "retries", "backoff", "comparison"])
def test_where_and_how_hard_a_judge_is_asked_does_not(name: str) -> None:
    assert identity(JUDGED | {"judge": JUDGED["judge"] | {name: "b"}}, SUMS) == identity(JUDGED, SUMS)


def test_no_judge_adds_nothing_to_an_evaluation() -> None:
    bare = {name: value for name, value in JUDGED.items() if name != "judge"}
    assert identity(bare | {"judge": {"_target_": "NoJudge"}, "judged": {"folder": "x"}}, SUMS) == identity(bare, SUMS)


def test_rollouts_are_the_same_whoever_judges_their_leaves() -> None:
    bare = {name: value for name, value in JUDGED.items() if name != "judge"}
    assert identity(JUDGED | {"stage": "collect"}, SUMS) == identity(bare | {"stage": "collect"}, SUMS)
