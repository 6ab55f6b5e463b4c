"""The options of `logger=`: how they are chosen, and what CSV and TensorBoard hold after a run."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import yaml
from provenances import write_provenance
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_jobs import config, job, lines, process_file

from codetool.config.overrides import compose_all, validate_all
from codetool.errors import ConfigError
from codetool.tracking.run_config_values import read_run_config
from codetool.tracking.run_content import RunContent, RunInfo
from codetool.tracking.run_loggers import RunLoggers, start_run_loggers
from codetool.training.run_training import run_training

WITHOUT_MODEL = ("policy=openai", "policy.model=m")


def choose(*words: str) -> Mapping[str, Any]:
    """The loggers that words choose, by name."""
    [config] = validate_all(compose_all([*WITHOUT_MODEL, *words]))
    return config.logger


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["wandb"]),
        (("logger=none",), []),
        (("logger=[]",), []),
        (("logger=csv",), ["csv"]),
        (("logger=[wandb,csv]",), ["csv", "wandb"]),
        (("stage=train", "train.target=policy", "logger=[csv,tensorboard]"), ["csv", "tensorboard"]),
    ],
)
def test_one_word_or_a_list_chooses_loggers_in_every_stage(words: tuple[str, ...], names: list[str]) -> None:
    assert sorted(choose(*words)) == names


def test_each_logger_has_settings_of_its_own() -> None:
    assert choose("logger=[csv,wandb]", "logger.wandb.project=mine")["wandb"].project == "mine"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("logger=nope", "logger has no option 'nope'. Allowed: csv, none, tensorboard, wandb."),
        ("logger=[csv,nope]", "logger has no option 'nope'. Allowed: csv, none, tensorboard, wandb."),
        ("logger=[csv,csv]", "names csv more than once"),
        ("logger=[none,csv]", "none stands alone"),
        ("logger.project=mine", "no such option. Did you mean logger.wandb.project?"),
        ("+logger.project=mine", "Did you mean logger.wandb.project?"),
        ("logger.csv.flush_logs_every_n_steps=2", "csv is not chosen. Choose it with logger=csv or logger=[csv,…]."),
    ],
)
def test_a_wrong_choice_is_one_line(word: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        choose(word)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_tensorboard_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codetool.tracking.tensorboard_events.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'codetool\[tensorboard\]'"):
        choose("logger=tensorboard")


def read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def read_events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def test_a_training_logs_every_update_and_validation_with_lightnings_loggers(tmp_path: Path) -> None:
    tiny_models.save("llama", tmp_path / "model")
    data = process_file(tmp_path / "process.jsonl")
    settings = config(tmp_path / "model", data, tmp_path, "logger=[csv,tensorboard]")
    training = job(settings, tmp_path / "run")
    with start_run_loggers(settings.logger, RunInfo(training.folder, None, "train", [])) as loggers:
        run_training(training, Ignore(), None, loggers.to_lightning())

    rows = read_csv(training.folder / "csv" / "version_0" / "metrics.csv")
    updates = [row for row in rows if row["train/loss"]]
    assert [int(row["step"]) for row in updates] == list(range(1, len(lines(training.folder / "losses.jsonl")) + 1))
    assert all(float(row["train/grad_norm"]) > 0 and float(row["train/tokens_per_second"]) > 0 for row in updates)
    events = read_events(training.folder / "tensorboard")
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [(int(row["step"]), pytest.approx(float(row["train/loss"]))) for row in updates]
    assert len(events.Scalars("validation/validation_loss")) == 1


class Ignore:
    """An observer of a training that ignores everything."""

    def updated(self, line: Mapping[str, float]) -> None: ...

    def validated(self, line: Mapping[str, float]) -> None: ...

    def stopping(self) -> None: ...


def test_other_stages_log_their_points_and_a_resumed_run_adds_to_them(tmp_path: Path) -> None:
    options = choose("logger=[csv,tensorboard]")
    for points in ([{"a": 1.0}, {"a": 2.0, "b": 3.0}], [{"b": 4.0}]):
        with start_run_loggers(options, RunInfo(tmp_path, None, "evaluate", [])) as loggers:
            for step, point in enumerate(points):
                loggers.log(point, step)
            loggers.finish(RunContent({}, {}))
    assert read_csv(tmp_path / "csv" / "version_0" / "metrics.csv") == [
        {"a": "1.0", "b": "", "step": "0"},
        {"a": "2.0", "b": "3.0", "step": "1"},
    ]
    assert read_csv(tmp_path / "csv" / "version_1" / "metrics.csv") == [{"b": "4.0", "step": "0"}]
    assert set(read_events(tmp_path / "tensorboard").Tags()["tensors"]) == {"a", "b"}


def test_a_lightning_logger_of_the_users_own_serves_every_stage(tmp_path: Path) -> None:
    option = tmp_path / "conf" / "logger" / "mine.yaml"
    option.parent.mkdir(parents=True)
    target = "_target_: pytorch_lightning.loggers.CSVLogger"
    option.write_text(f"# @package logger.mine\n{target}\nsave_dir: {tmp_path}\nname: mine\nversion: '1'\n")
    words = [*WITHOUT_MODEL, "logger=[csv,mine]"]
    [settings] = validate_all(compose_all(words, flags=["--config-dir", str(tmp_path / "conf")]))
    run = RunInfo(tmp_path, None, "evaluate", [], config={"search": "beam"})
    with start_run_loggers(settings.logger, run) as loggers:
        loggers.log({"success": 0.5}, 3)
        loggers.finish(RunContent({"success": 0.75}))
    rows = read_csv(tmp_path / "mine" / "1" / "metrics.csv")
    assert [(row["step"], row["success"]) for row in rows] == [("3", "0.5"), ("3", "0.75")]
    assert (tmp_path / "mine" / "1" / "hparams.yaml").read_text() == "search: beam\n"


def test_a_logger_that_fails_is_left_out_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def log(self, values: Mapping[str, float], step: int) -> None:
            raise OSError("no space left")

    class Working:
        def __init__(self) -> None:
            self.points: list[int] = []

        def log(self, values: Mapping[str, float], step: int) -> None:
            self.points.append(step)

    working = Working()
    loggers = RunLoggers({"broken": Broken(), "working": working})  # type: ignore[dict-item]
    loggers.log({}, 1)
    loggers.log({}, 2)
    assert working.points == [1, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "logger=broken: logs nothing more (OSError: no space left)."
    ]


def test_a_logger_that_cannot_start_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Unable:
        def start(self, run: RunInfo) -> None:
            raise RuntimeError("no network")

    with start_run_loggers({"unable": Unable()}, RunInfo(tmp_path, None, "evaluate", [])) as loggers:
        loggers.log({}, 1)
    assert [record.getMessage() for record in caplog.records] == [
        "logger=unable: logs nothing (RuntimeError: no network)."
    ]


def test_the_configuration_of_a_run_is_flat_and_names_the_chosen_options(tmp_path: Path) -> None:
    settings = {
        "seed": 3,
        "search": {"_target_": "x.Beam", "width": 2},
        "prm": {"_target_": "x.NoPRM"},
        "policy": {"temperature": 0.5, "prompt": {"text": "a"}},
        "callback": {"checkpoint": {"mode": "min"}, "mine": {"n": 1}},
        "logger": {"csv": {}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    write_provenance(tmp_path, {"prm": "ab12"})
    choices = {
        "search": "beam", "prm": "none", "policy": "openai", "sampling@policy": "nucleus", "callback": "None",
        "policy_prompt@policy.prompt": "react", "logger": "csv", "hydra/launcher": "basic", "judge": "none",
    }  # fmt: skip
    config = read_run_config(tmp_path, choices)
    assert config.pop("code") and config.pop("codetool")
    assert config == {
        "sha256/prm": "ab12", "seed": 3, "search": "beam", "search/width": 2, "prm": "none", "policy": "openai",
        "policy/temperature": 0.5, "policy/prompt": "react", "policy/prompt/text": "a",
        "callback": ["checkpoint", "mine"], "callback/checkpoint/mode": "min", "callback/mine/n": 1,
    }  # fmt: skip
