"""Values that no setting can have and targets that no group can have: one line, before anything is made of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from codetool.config.overrides import compose_all
from codetool.config.run_config import escape_interpolations, validate
from codetool.config.setting_checks import find_wrong_targets, find_wrong_values
from codetool.errors import ConfigError
from codetool.interfaces import ExecutorOption


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
        (["tools.recordings=x/y"], "tools.recordings='x/y': should be a list: tools.recordings=[x/y]"),
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
        (["prm.prompt._target_=codetool.search.greedy.Greedy"], "is no ScoringPrompt or PairwisePRMPrompt"),
        (["tools.replica._target_=subprocess.Popen"], "is no ToolSource: it lacks answer"),
        (["budget._target_=subprocess.Popen"], "is no class of settings"),
        (["+search._partial_=true"], "search._partial_: is not for CodeTool's settings"),
        (["+search._args_=[1]"], "search._args_: is not for CodeTool's settings"),
        (["search._target_=builtins.eval"], "search._target_=builtins.eval: is no class"),
        (["search._target_=functools.partial"], "search._target_=functools.partial: is no SearchStrategy"),
        (["search._target_=hydra.utils.call"], "search._target_=hydra.utils.call: is no class"),
        (["search._target_=antigravity.X"], "is no class of settings, but a part of Python itself"),
        (["search._target_=pip.__main__.X"], "is no class of settings, but a part of Python itself"),
        (["search._target_=null"], "search._target_=None: should be the dotted name of a class"),
        (["search._target_=[a]"], "should be the dotted name of a class"),
        (["executor._target_=pathlib.Path"], "is no class of settings, but a part of Python itself"),
        (["executor._target_=zipfile.ZipFile"], "is no ExecutorOption: its open wants other arguments"),
        (
            ["budget._target_=codetool.search.greedy.Greedy"],
            "Greedy: is no Budget",
        ),
        (["vllm._target_=codetool.search.budget.Budget"], "is no VllmConfig"),
        (["stage=report", "report._target_=codetool.search.budget.Budget"], "is no ReportConfig"),
        (["stage=train", "train._target_=codetool.search.budget.Budget"], "is no TrainConfig"),
        (["stage=train", "trainer._target_=codetool.search.budget.Budget"], "is no Trainer"),
        (
            ["stage=evaluate_prm", "evaluate_prm.agentprocessbench.parts=[nope]"],
            "evaluate_prm.agentprocessbench.parts[0]='nope': should be 'hotpotqa'",
        ),
        (["policy.extra_body={a: {_target_: os.system}}"], "policy.extra_body.a._target_=os.system: is no class"),
        (["policy.extra_body={a: [{_target_: codetool.search.budget.Budget}]}"], "stands where no class can be chosen"),
        (["+search.more={_target_: codetool.search.greedy.Greedy, depth: 1}"], "stands where no class can be chosen"),
        (["tools.recordings=[{_target_: codetool.search.budget.Budget}]"], "stands where no class can be chosen"),
        (["tools.secrets.a._target_=codetool.search.budget.Budget"], "tools.secrets"),
        (["+hydra.callbacks.a._target_=os.system"], "hydra.callbacks: CodeTool uses no callbacks"),
        (["hydra.launcher._target_=os.system"], "hydra.launcher._target_=os.system: is no launcher"),
        (["+hydra.job.env_set.LD_PRELOAD=x"], "hydra.job.env_set: set variables before the command"),
        (["+hydra.job_logging.handlers.a.class=os.system"], "hydra.job_logging: names code"),
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


class Opened:
    """A plug-in's own sandbox settings: no dataclass, but all that the Protocol asks for."""

    def open(self) -> None:
        """As the Protocol says."""


class OpensFile:
    """Has a method of the right name that wants more."""

    def open(self, name: str) -> None:
        """A file."""


def test_a_class_of_ones_own_fits_by_its_methods_and_their_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plug_in", sys.modules[__name__])
    monkeypatch.setattr(Opened, "__module__", "plug_in")
    assert not list(find_wrong_targets({"_target_": "plug_in.Opened"}, "executor", ExecutorOption))
    [line] = find_wrong_targets({"_target_": "plug_in.OpensFile"}, "executor", ExecutorOption)
    assert line.endswith("is no ExecutorOption: its open wants other arguments")


@pytest.mark.parametrize("code", ["raise SystemExit(0)", "1/0", "import nowhere", "x ="])
def test_a_module_that_cannot_be_imported_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    (tmp_path / "hostile_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    [line] = find_wrong_targets({"_target_": "hostile_module.X"}, "search")
    assert line.startswith("search._target_=hostile_module.X: cannot be had (")


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "a ${seed} b", "\\${x}", "\\\\${x}", "$ {x} \\ plain", "${${x}}"])
def test_recorded_settings_name_nothing_of_this_machine(text: str) -> None:
    recorded = {"a": [text], "b": {"c": text}, "d": 1}
    assert OmegaConf.to_container(OmegaConf.create(escape_interpolations(recorded)), resolve=True) == recorded
