"""Settings that a stage does not read are refused; what is said about them, and about values of another shape."""

import dataclasses

import pytest

from codetool.config.compose_run import compose_run
from codetool.config.config_sources import initialize_hydra, list_options, load_config_file
from codetool.config.overrides import check_grid, compose_all
from codetool.config.read_conditions import drop_other_model, find_unread_overrides
from codetool.config.run_config import validate
from codetool.config.setting_readers import READ_BY_ALL, map_names_to_readers, map_names_to_stages
from codetool.errors import ConfigError


def explain(*words: str) -> str:
    with pytest.raises(ConfigError) as error:
        validate(compose_all(words)[0])
    return str(error.value)


def test_every_common_setting_has_readers() -> None:
    with initialize_hydra():
        content = load_config_file("config")
        common = {str(name) for name in content or ()} - {"defaults", "hydra"}
        groups = {str(name) for entry in (content or {})["defaults"] if entry != "_self_" for name in entry}
        common |= {name for name in groups if " " not in name} - {"stage", "experiment"}
        readers, owners, stages = map_names_to_readers(), map_names_to_stages(), list_options("stage")
    assert common - READ_BY_ALL == readers.keys() - owners.keys()
    assert all(len(readers[name]) < len(stages) for name in common - READ_BY_ALL)
    assert readers["limit"] == ["collect", "evaluate", "evaluate_prm", "improve", "judge", "train"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stage=recheck search.n=8", "search.n=8: only stage=collect, evaluate and improve read it, and not recheck."),
        ("stage=recheck policy=openai", "policy=openai: only stage="),
        ("stage=compare limit=3", "limit=3: only stage="),
        ("stage=report seed=1", "and not report."),
        ("stage=dashboard figures=[pdf]", "and not dashboard."),
        ("stage=judge search=greedy", "only stage=collect, evaluate and improve read it, and not judge."),
        ("stage=serve_prm +tools.secrets.x.env=A", "+tools.secrets.x.env=A: only stage="),
        ("stage=serve_prm policy_prompt@policy.prompt=react", "and not serve_prm."),
    ],
)
def test_what_a_stage_does_not_read_is_refused(words: str, said: str) -> None:
    assert said in explain(*words.split())


def test_what_every_command_may_have_and_what_a_preset_sets_is_accepted() -> None:
    compose_all(["stage=report", "logger=none", "outputs=x", "dry_run=true", "report.folder=x"])
    compose_all(["stage=judge", "experiment=ablation_n", "judge_stage.folder=x"])


def test_a_sweep_of_stages_needs_one_that_reads_a_setting() -> None:
    with pytest.raises(ConfigError, match=r"run_budget.usd=1,2: only stage=.* and not judge, evaluate_prm"):
        check_grid(["stage=judge,evaluate_prm", "run_budget.usd=1,2"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train.target=policy train.soft_target=td", "train.soft_target=td: only train.target=prm reads it"),
        ("train.target=policy train.failed_negatives=0", "train.failed_negatives=0: only train.target=prm reads it"),
        ("train.target=policy prm=smollm2", "prm=smollm2: only train.target=prm reads it, and not policy."),
        ("train.target=policy prm_prompt@prm.prompt=compact", "prm_prompt@prm.prompt=compact: only train.target=prm"),
        ("policy=smollm2", "policy=smollm2: only train.target=policy reads it, and not prm."),
        ("train.labels=hard train.td_lambda=1", "train.td_lambda=1: only train.labels=soft reads it, and not hard."),
        ("train.td_spot=1", "train.td_spot=1: only train.soft_target=td or progress reads it, and not soft."),
        ("train.pairs_weight=1", "train.pairs_weight=1: only train.loss=pairs reads it, and not labels."),
    ],
)
def test_what_a_training_does_not_read_is_refused(words: str, said: str) -> None:
    assert said in explain("stage=train", *words.split())


def test_conditions_name_the_settings_without_effect_on_the_weights() -> None:
    for words in (
        "target=policy",
        "labels=hard",
        "soft_target=td",
        "soft_target=progress",
        "loss=pairs",
        "loss=labels",
    ):
        train = compose_run("stage=train", f"train.{words}").train
        values = {f"train.{name}": str(getattr(train, name)) for name in ("target", "labels", "soft_target", "loss")}
        names = [f"train.{field.name}" for field in dataclasses.fields(train)]
        unread = {line.split("=")[0] for line in find_unread_overrides([f"{name}=1" for name in names], [values])}
        irrelevant = {f"train.{name}" for name in train.irrelevant_settings()}
        if train.failed_negatives == 1 and train.target == "prm":
            irrelevant -= {"train.failed_negatives"}  # at the value at which it does nothing
        assert unread == irrelevant, words


def test_a_sweep_may_set_what_one_of_its_trainings_reads() -> None:
    check_grid(["stage=train", "train.loss=labels,pairs", "train.pairs_weight=0.2,0.5", "train.labels=soft,hard"])
    with pytest.raises(
        ConfigError, match=r"train.pairs_weight=0.2,0.5: only train.loss=pairs reads it, and not labels"
    ):
        check_grid(["stage=train", "train.loss=labels,vocabulary", "train.pairs_weight=0.2,0.5"])


def test_a_chain_gives_a_training_the_options_of_its_own_model() -> None:
    words = {"collect": ["policy=smollm2", "prm=smollm2"], "train": ["train.target=policy", "policy=smollm2"]}
    chain = {**words, "train": [*words["train"], "prm=smollm2", "prm.threads=2"]}
    assert drop_other_model(chain) == {**words, "train": [*words["train"], "prm.threads=2"]}
    assert drop_other_model(words) == words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("search=greedy search.width=3", "It goes with search=adaptive, beam."),
        ("search=mcts search.expnsion=1", "Did you mean search.exploration?"),
        ("export={a:1}", "export={a:1}: should be a list, export=[A,B], not a mapping"),
        ("budget=[1]", "budget=[1]: is a group of settings. Set one of them: budget.NAME=VALUE"),
        ("stage=collect export=[1]", "export[0]=1: should be a valid string"),
        ("ids=[a]", "ids=['a']: should be the path of a file or folder"),
        ("seed={a:1}", "seed: should be a valid integer, not a mapping"),
        ("prm=ensemble prm.members=3", "prm.members=3: should be a mapping, {NAME: VALUE}"),
    ],
)
def test_the_message_names_where_a_setting_belongs_and_what_shape_it_has(words: str, said: str) -> None:
    assert explain(*words.split()).endswith(said)
