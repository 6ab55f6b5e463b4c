"""Values that no setting can have and targets that no group can have: one line, before anything is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.config.setting_checks import find_wrong_targets, find_wrong_values
from codetool.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["seed=-1"], "seed=-1: "),
        (["seed=true"], "seed=True: "),
        (["seed=99999999999999999999"], "seed=99999999999999999999: is too large a number"),
        (["seed=[1]"], "seed=[1]: "),
        (["executor.timeout=inf"], "executor.timeout=inf: should be a finite number"),
        (["executor.timeout=nan"], "executor.timeout=nan: should be a finite number"),
        (["budget.seconds=-inf"], "budget.seconds=-inf: should be a finite number"),
        (["benchmark.max_observation_chars=-1"], "benchmark.max_observation_chars=-1: "),
        (
            ["policy_prompt@policy.prompt=stepwise", "policy.prompt.max_observation_chars=-1"],
            "policy.prompt.max_observation_chars=-1: ",
        ),
        (["policy.prompt.max_response_chars=-1"], "policy.prompt.max_response_chars=-1: "),
        (["benchmark.split=train", "benchmark.train=/dev/zero"], "benchmark.train='/dev/zero': is a device"),
        (["tools.recordings=[/dev/zero]"], "tools.recordings[0]='/dev/zero': is a device"),
        (["policy.model=''"], "policy.model='': is empty"),
        (["outputs=' '"], "outputs=' ': is empty"),
        (['policy.model="\x1b[31m"'], "policy.model='\\x1b[31m': holds characters"),
        (["policy.model=${x}"], "policy.model: Interpolation key 'x' not found"),
        (["policy.model=${oc.env:NOT_SET_ANYWHERE}"], "policy.model: "),
        (["policy.model=${foo:1}"], "policy.model: Unsupported interpolation type foo"),
        (["seed=${seed}"], "seed: Recursive interpolation"),
        (["tools=null"], "tools=None: is a group of settings"),
        (["vllm=3"], "vllm=3: is a group of settings"),
        (["~search.width"], "search.width: is missing"),
        (["~search"], "search: is missing"),
        (["search._target_=os.system"], "search._target_=os.system: is no class"),
        (["search={_target_: subprocess.Popen}"], "subprocess.Popen: is no SearchStrategy: it lacks depth"),
        (["search._target_=codetool.prm.none.NoPRM"], "is no SearchStrategy"),
        (["search._target_=nowhere.X"], "search._target_=nowhere.X: cannot be had (No module named"),
        (["policy.prompt._target_=os.system"], "policy.prompt._target_=os.system: is no class"),
        (["policy.prompt._target_=codetool.search.greedy.Greedy"], "is no Prompt: it lacks messages"),
        (["prm.prompt._target_=codetool.search.greedy.Greedy"], "is no PRMPrompt"),
        (["tools.replica._target_=subprocess.Popen"], "is no ToolSource: it lacks answer"),
        (["budget._target_=subprocess.Popen"], "is no class of settings"),
        (["+search._partial_=true"], "search._partial_: is not for CodeTool's settings"),
    ],
)
def test_a_value_that_cannot_be_is_one_line(words: list[str], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate(compose_all(words)[0])
    assert expected in str(error.value) and len(str(error.value).splitlines()) == 1


def test_nothing_of_a_refused_target_is_called(tmp_path: Path) -> None:
    mark = tmp_path / "made"
    config = compose_all([])[0]
    OmegaConf.update(config, "search", {"_target_": "pathlib.Path.touch", "self": str(mark)}, force_add=True)
    with pytest.raises(ConfigError, match="search._target_=pathlib.Path.touch"):
        validate(config)
    assert not mark.exists()


def test_ordinary_values_are_not_objected_to(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.touch()
    paths = [str(file), str(tmp_path), "nowhere"]
    good = {"a": 1, "b": -1.5, "c": None, "d": True, "e": paths, "prompt": {"system": ""}}
    assert not list(find_wrong_values(good, "x")) and not list(find_wrong_targets(good, "x"))
