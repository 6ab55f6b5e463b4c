import shlex
from pathlib import Path

import pytest

from codetool.config.overrides import compose_all, split_flags
from codetool.config.sweeper_params import read_sweeper
from codetool.errors import ConfigError


def test_hydras_own_flags_and_their_values_are_not_options() -> None:
    flags, words = split_flags(["-m", "search=beam", "--cfg", "job", "--config-dir", "x", "seed=1"])
    assert flags == ["-m", "--cfg", "job", "--config-dir", "x"]
    assert words == ["search=beam", "seed=1"]


def test_good_words_compose() -> None:
    [config] = compose_all(["benchmark=tmdb", "search=beam", "search.width=3"])
    assert config.search.width == 3


def test_each_value_of_a_comma_list_is_composed() -> None:
    widths = [config.search.width for config in compose_all(["search=beam,beam", "search.width=1,2,3"], multirun=True)]
    assert sorted(set(widths)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("search=bean", ["search=bean", "Allowed: adaptive, beam, best_of_n", "Did you mean beam?"]),
        ("search.widht=3", ["search.widht=3", "search has:", "Did you mean search.width?"]),
        ("serch=beam", ["serch=beam", "Did you mean search?"]),
        ("benchmark=", ["benchmark="]),
        ("beam", ["beam", "name=value"]),
        ("policy.model=${x", ["policy.model=${x", "is not closed"]),
        ("polcy.model=x", ["polcy.model=x", "Did you mean policy.model?"]),
        ("hydra/launcher=jblib", ["hydra/launcher=jblib"]),
        ("search.n=2,3", ["search.n=2,3", "add -m"]),
        ("cache@tools.recorded_answers=toolbench", ["Add it with +cache@tools.recorded_answers=toolbench"]),
        ("tool_proxy@tools.tool_proxy=toolbench", ["Add it with +tool_proxy@tools.tool_proxy=toolbench"]),
        (
            "hydra.sweeper.max_batch_siz=3",
            ["hydra.sweeper has: max_batch_size", "Did you mean hydra.sweeper.max_b"],
        ),
        ("hydra.launcher.n_jobs=3", ["hydra.launcher has no settings. Choose another one with hydra/launcher="]),
        ("hydra.job.num=x", ["hydra.job.num=x: Value 'x'", "could not be converted to Integer"]),
        ("costs.parameters={x: 5}", ["costs.parameters has no x.", "++costs.parameters={x: 5} adds it"]),
        ("budget={tokns: 5}", ["budget has no tokns. It has: executions, flops,", "tokens"]),
        ("~stage", ["~stage: a stage cannot be left out"]),
        ("~tuning=0", ["~tuning=0: "]),
        ("search.n=range(0,1000000000)", ["search.n=range(0,1000000000): is more than 10000 values"]),
        ("search.n=shuffle(range(0,1000000000))", ["is more than 10000 values"]),
        ("search.n=range(1,3,0)", ["search.n=range(1,3,0): has no values"]),
        ("~collect.estimator=\x1b[31m", ["~collect.estimator=\\x1b[31m: "]),
        ("search=a\nb", ["search=a\\nb: "]),
    ],
)
def test_a_wrong_word_is_named_with_what_is_allowed(word: str, expected: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        compose_all([word])
    for text in expected:
        assert text in str(error.value)
    assert "Traceback" not in str(error.value)


def test_all_wrong_words_come_at_once_and_right_ones_are_not_blamed() -> None:
    with pytest.raises(ConfigError) as error:
        compose_all(["search=bean", "policy=openai", "policy.modle=x", "seed=1", "polcy=openai"])
    lines = str(error.value).splitlines()
    assert sorted(line.split(":")[0] for line in lines) == ["polcy=openai", "policy.modle=x", "search=bean"]


def test_wrong_values_are_told_beside_wrong_words() -> None:
    with pytest.raises(ConfigError) as error:
        compose_all(["serach=2", "policy.temperature=hot", "limit=0"])
    for text in ("serach=2", "policy.temperature='hot'", "limit=0"):
        assert text in str(error.value)


def test_every_value_of_a_comma_list_is_checked() -> None:
    with pytest.raises(ConfigError, match="search=graedy.*Did you mean greedy"):
        compose_all(["search=beam,graedy"], multirun=True)


def test_a_word_that_only_another_option_knows_is_found_under_that_option() -> None:
    [config] = compose_all(["policy=openai", "policy.model=m"])
    assert config.policy.model == "m"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with a search strategy and a preset of the user's own."""
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "mine.yaml").write_text("defaults: [beam, _self_]\nwidth: 7   # paths kept\n")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "swept.yaml").write_text(
        "# @package _global_\nhydra:\n  sweeper:\n    params: {search.width: '1,2'}\n"
    )
    return tmp_path


@pytest.mark.parametrize("way", ["--config-dir", "--config-dir=", "-cd", "hydra.searchpath"])
def test_options_of_an_added_folder_are_known_as_ours_are(plugin: Path, way: str) -> None:
    flags = {"--config-dir=": [f"--config-dir={plugin}"], "hydra.searchpath": []}.get(way, [way, str(plugin)])
    words = [f"hydra.searchpath=[{plugin}]"] if way == "hydra.searchpath" else []
    [config] = compose_all([*words, "search=mine", "search.n=3"], flags=flags)
    assert (config.search.width, config.search.n) == (7, 3)
    with pytest.raises(ConfigError) as error:
        compose_all([*words, "search=mine", "serach.n=3"], flags=flags)
    assert str(error.value).startswith("serach.n=3: ") and len(str(error.value).splitlines()) == 1
    with pytest.raises(ConfigError, match="search=mne.*Allowed: adaptive, beam, .*mine.*Did you mean mine"):
        compose_all([*words, "search=mne"], flags=flags)


@pytest.mark.parametrize(
    ("words", "flags", "expected"),
    [
        (["hydra.searchpath=[pkg://nowhere.conf]"], [], "pkg://nowhere.conf is no folder of options: no package "),
        (["hydra.searchpath=[/nowhere]", "search=beam"], [], "/nowhere is no folder of options"),
        (["hydra.searchpath=x"], [], "hydra.searchpath=x: "),
        (["hydra.searchpath=\x1b[31m"], [], r"hydra.searchpath=\x1b[31m: "),
        ([], ["--config-dir", "/nowhere"], "--config-dir=/nowhere: there is no such folder"),
        ([], ["--config-dir"], "--config-dir=: there is no such folder"),
    ],
)
def test_an_added_folder_that_is_not_there_is_named(words: list[str], flags: list[str], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose_all(words, flags=flags)
    assert expected in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "word",
    [
        "search=null", "search=", "search=''", "search=[beam]", "search=[beam,greedy]", "search=[]", "search=3",
        "search=true", "policy=../prm/none", "policy=prm/none", "policy=/etc/passwd", "stage=null", "experiment=null",
        "policy_prompt@policy.prompt=null", "search=${x}", "search=b\u00e9am", "search=beam beam",
    ],
)  # fmt: skip
def test_a_group_takes_the_name_of_one_of_its_options(word: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose_all([word])
    assert "Allowed: " in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "value",
    [
        "https://x.example/d?api-version=2024-10-21", "{{ query }}", "it's", 'say "hi"', "a=b&c=d", "{a: }",
        "a\\", "(x", "50%", "#1", "[a", "x;y",
    ],
)  # fmt: skip
def test_a_value_that_the_grammar_wants_quoted_is_named_with_its_quotes(value: str) -> None:
    word = f"policy.model={value}"
    try:
        [config] = compose_all([word])
        assert config.policy._get_node("model")._value() == value
    except ConfigError as error:
        assert "Write " in str(error), error
        [quoted] = shlex.split(str(error).partition("Write ")[2])
        [config] = compose_all([quoted])
        assert config.policy._get_node("model")._value() == value


@pytest.mark.parametrize(
    "words",
    [
        ["++hydra.sweeper.params.search.width='1,2'"],
        ["hydra.sweeper.params={search.width: '1,2'}"],
        ["experiment=swept"],
    ],
)
def test_the_comma_lists_of_a_sweepers_parameters_count_and_the_command_line_goes_before(
    words: list[str], plugin: Path
) -> None:
    flags = ["--config-dir", str(plugin)]
    assert read_sweeper(words, flags) == ("grid", ["search.width=1,2", *words])
    assert read_sweeper([*words, "search.width=3"], flags) == ("grid", [*words, "search.width=3"])


@pytest.mark.parametrize("word", ["hydra.run.dir=x", "hydra.sweep.dir=x", "hydra.mode=MULTIRUN"])
def test_settings_of_hydra_that_mean_nothing_here_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=word.split("=")[0]):
        compose_all([word])


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        (["objective=sft"], 1e-3),
        (["objective=dpo"], 1e-5),
        (["objective=grpo", "tuning=qlora"], 1e-5),
        (["objective=grpo", "tuning=full"], 1e-6),
        (["objective=dpo", "optimizer.lr=0.5"], 0.5),
    ],
)
def test_the_learning_rate_of_an_adapter_is_that_of_its_objective(words: list[str], rate: float) -> None:
    [config] = compose_all(["stage=train", "train.target=policy", *words])
    assert config.optimizer.lr == rate
