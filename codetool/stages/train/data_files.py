"""Data files of stage=train: which file a training reads, and whether the files that the user names are of its kind."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError, MissingError
from codetool.process_data import examples as process_examples
from codetool.process_data import policy_steps, transcripts
from codetool.runs.bounded_input import iterate_lines, parse_json

READERS = {
    process_examples.PROCESS_FILE: process_examples.load_examples,
    transcripts.TRANSCRIPTS_FILE: transcripts.load_transcripts,
    policy_steps.POLICY_STEPS_FILE: policy_steps.load_policy_steps,
}
"""Function that reads each kind of data file, by the file's name."""
DATA_KINDS = {
    policy_steps.POLICY_STEPS_FILE: (
        "steps", "drawn steps, which a policy learns (train.target=policy objective=dpo or grpo)",
    ),
    process_examples.PROCESS_FILE: ("prefix", "judged steps, which a PRM learns (train.target=prm)"),
    transcripts.TRANSCRIPTS_FILE: (
        "messages", "transcripts, which a policy learns (train.target=policy objective=sft)",
    ),
}  # fmt: skip
"""By the name of a data file, a field that tells its lines from those of the files below, and what they are."""


@dataclass(frozen=True)
class DataFile:
    """A file of training or validation data."""

    use: str
    """`data` or `validation_data`."""
    path: Path
    sha256: str
    lines: int


def name_data_file(config: RunConfig) -> str:
    """Return the name of the file of stage=collect that the training reads."""
    return process_examples.PROCESS_FILE if config.train.target == "prm" else config.objective.data_file


def check_sources(config: RunConfig) -> list[DataFile]:
    """The files of data. Raises MissingError for one that is not there, ConfigError for one of the other kind."""
    name = name_data_file(config)
    if not config.train.files:
        raise ConfigError(
            f"train.files is not set. Name folders of stage=collect or files {name}: train.files=[outputs/collect/NAME]"
        )
    return [_source(use, path, name) for use in ("files", "val_files") for path in getattr(config.train, use)]


def _source(use: str, path: Path, name: str) -> DataFile:
    file = path / name if path.is_dir() else path
    if not file.is_file():
        what = f"holds no {name}" if path.is_dir() else "is not there"
        is_older = name == policy_steps.POLICY_STEPS_FILE and (path / transcripts.TRANSCRIPTS_FILE).is_file()
        hint = " The command of stage=collect that wrote the folder adds it, without a model." if is_older else ""
        raise MissingError(f"train.{use}: {path} {what}. Name a folder of stage=collect, or a {name}.{hint}")
    digest, lines = hashlib.sha256(), 0
    try:
        for line in iterate_lines(file):
            digest.update(line)
            lines += bool(line.strip())
            if lines == 1:
                _refuse_other_kind(use, file, line, name)
    except OSError as error:
        raise ConfigError(f"train.{use}: {file} cannot be read: {error.strerror}.") from error
    return DataFile(use, path, digest.hexdigest(), lines)


def _refuse_other_kind(use: str, file: Path, line: bytes, name: str) -> None:
    try:
        fields = parse_json(line)
    except ValueError:
        return  # the reader reports what is wrong with the line
    kind = next((kind for kind, (field, _) in DATA_KINDS.items() if isinstance(fields, dict) and field in fields), name)
    if kind != name:
        raise ConfigError(f"train.{use}: {file} holds {DATA_KINDS[kind][1]}. Choose that, or name a {name}.")
