"""Read and write `provenance.json` of a run folder: what determined the result, and which code ran when and where.

    identity: digest, version and hashed settings; checksums: hex sha256 by name; result: an id of this folder's result
    models: model name, requested revision and commit of each model of a hub, by group; absent without any
    sessions: a list of the commands that worked on the folder, each with command, code, host, packages, sandbox,
        sandbox_events (what was not the doing of a step: restarts, interrupted steps by cause; absent before),
        done (number of results when it started), started and ended (null while it runs, and if it was killed)

A command adds itself when it starts and its end time when it ends. The file is replaced as a whole, so a kill leaves
the old file or the new one. It holds no secret.
"""

from __future__ import annotations

import json
import logging
import shlex
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codetool.credentials.masking import mask_command
from codetool.credentials.settings_secrets import find_key_variables
from codetool.errors import ConfigError, WriteError
from codetool.runs import damaged_lines, journal
from codetool.runs.bounded_input import parse_json, read_text
from codetool.runs.code_version import CodeVersion, read_code_version
from codetool.runs.host import describe_host, read_package_versions
from codetool.runs.identity import Identity
from codetool.runs.record_shape import Shape, find_mismatch
from codetool.runs.write_errors import explain_write_errors

PROVENANCE_FILE = "provenance.json"
SHAPE: Shape = {
    "result": str,
    "identity": {"digest": str, "version": str, "settings": dict},
    "checksums": {str: str},
    "sessions": [
        {
            "command": str,
            "code": {
                "version": str,
                "sha256": str,
                "commit": (str, None),
                "changed": (bool, None),
                "plugins": {str: str},
            },
            "sandbox": ({str: str}, None),
            "done": (int, None),
        }
    ],
}
"""Required fields of the file and their types."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Provenance:
    """Content of `provenance.json`."""

    result: str
    """Random id of this folder's result; a copied or moved folder keeps it."""
    identity: Identity
    sessions: Sequence[Mapping[str, Any]]
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Models of a hub by group, each with `model`, the requested `revision` and the `commit`."""

    @property
    def codes(self) -> list[CodeVersion]:
        """Code versions that worked on the folder, in the order of their first command."""
        unique: dict[Any, CodeVersion] = {}
        for session in self.sessions:
            code = _parse_code(session)
            unique.setdefault(code.key, code)
        return list(unique.values())

    @property
    def sandboxes(self) -> list[dict[str, str]]:
        """Active sandbox layers, each combination once."""
        sandboxes = [dict(session["sandbox"]) for session in self.sessions if session["sandbox"]]
        return [layers for number, layers in enumerate(sandboxes) if layers not in sandboxes[:number]]

    @property
    def sandbox_events(self) -> dict[str, int]:
        """How often what happened to the sandbox, over all sessions."""
        total = sum((Counter(session.get("sandbox_events") or {}) for session in self.sessions), Counter[str]())
        return dict(sorted(total.items()))

    def results_by_code(self, done: int | None = None) -> list[dict[str, Any]]:
        """Return the code versions as plain data, each with `results`: how many it added, None if unknown.

        `done` is the current number of results.
        """
        counts = [session["done"] for session in self.sessions]
        after = [*counts[1:], done]
        rows: list[dict[str, Any]] = []
        for code in self.codes:
            counts_of_code = [
                None if end is None or start is None else end - start
                for session, start, end in zip(self.sessions, counts, after, strict=True)
                if _parse_code(session).key == code.key
            ]
            known_counts = [count for count in counts_of_code if count is not None]
            added = max(0, sum(known_counts)) if len(known_counts) == len(counts_of_code) else None
            rows.append({**asdict(code), "results": added})
        return rows


class SessionRecord:
    """Entry of the running command in a folder's `provenance.json`."""

    def __init__(self, folder: Path, content: dict[str, Any], code: CodeVersion) -> None:
        """Take the content of the file, whose last session is the running command."""
        self._file, self._content, self.code = folder / PROVENANCE_FILE, content, code

    def record_sandbox(self, layers: Mapping[str, str], events: Mapping[str, int]) -> None:
        """Record the active sandbox layers, and how often what happened to the sandbox."""
        self._content["sessions"][-1] |= {"sandbox": dict(layers), "sandbox_events": dict(events)}
        self._write()

    def end(self) -> None:
        """Record the end time."""
        self._content["sessions"][-1]["ended"] = _format_now()
        self._write()

    def _write(self) -> None:
        journal.atomic_write(self._file, [json.dumps(self._content, indent=2, default=str).encode() + b"\n"])


@contextmanager
def record_session(
    folder: Path,
    identity: Identity,
    settings: Mapping[str, Any],
    command: Sequence[str],
    *,
    done: int | None = None,
    models: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[SessionRecord]:
    """Add the running command to the folder's provenance.

    `settings` is the whole configuration, `command` the command line, `done` the current number of results and `models`
    the models of a hub, by group; what the folder's first command recorded of them is kept. Logs a warning if other
    code has worked on the folder, or if the file is damaged and therefore begun anew. Raises ConfigError if the
    folder's provenance is of another result.
    """
    code = read_code_version(settings)
    earlier = _read_earlier(folder, identity)
    if line := describe_other_code(folder, code):
        log.warning("%s", line)
    session = {
        "command": shlex.join(mask_command(command, find_key_variables(settings))),
        "code": asdict(code),
        **describe_host(),
        "packages": read_package_versions(),
        "sandbox": None,
        "done": done,
        "started": _format_now(),
        "ended": None,
    }
    recorded_models = earlier.get("models") or dict(models or {})
    content = {
        "result": earlier.get("result") or uuid.uuid4().hex,
        "identity": {
            "digest": identity.digest,
            "version": identity.version,
            "settings": dict(identity.settings),
        },
        "checksums": dict(identity.checksums),
        **({"models": recorded_models} if recorded_models else {}),
        "sessions": [*earlier.get("sessions", ()), session],
    }
    record = SessionRecord(folder, content, code)
    record._write()
    try:
        yield record
    except BaseException:
        with suppress(WriteError):  # the error that ends the command says more
            record.end()
        raise
    record.end()


def _read_earlier(folder: Path, identity: Identity) -> dict[str, Any]:
    """Return the content that earlier commands have written, empty if there is none; set a damaged file aside."""
    file = folder / PROVENANCE_FILE
    try:
        content = _load_content(file)
    except ValueError as error:
        aside = file.with_name(file.name + damaged_lines.SUFFIX)
        with explain_write_errors(aside):
            file.replace(aside)
        log.warning(
            "%s is damaged: %s. It is now %s; a new file is begun, all results are kept", file, error, aside.name
        )
        return {}
    if content and content["identity"]["digest"] != identity.digest:
        raise ConfigError(
            f"{file} is of another result ({content['identity']['digest']}) than this command's ({identity.digest}), "
            "so the files of this folder are not its own. Move the folder away, or start a new one with fresh=true."
        )
    return content


def read_provenance(folder: Path) -> Provenance:
    """Read the provenance of a run folder. Raises ConfigError if there is none or it cannot be read."""
    content = read_content(folder)
    if not content:
        raise ConfigError(
            f"{folder} has no {PROVENANCE_FILE}: it is no run folder, or an older version has made it. Run its "
            "command again."
        )
    identity_content = content["identity"]
    identity = Identity(identity_content["settings"], content["checksums"], identity_content["version"])
    return Provenance(content["result"], identity, content["sessions"], _read_models(content))


def describe_other_code(folder: Path, code: CodeVersion) -> str | None:
    """Describe in one line other code that has worked on a folder, None if there is none."""
    if not (folder / PROVENANCE_FILE).is_file():
        return None
    if not (other_codes := [str(other) for other in read_provenance(folder).codes if other.key != code.key]):
        return None
    return (
        f"The code has changed: {folder.name} holds results of {'; '.join(other_codes)}, and this is {code}. "
        "What is finished stays as it is; fresh=true makes everything anew."
    )


def count_results_by_code(folder: Path, done: int | None = None) -> list[dict[str, Any]]:
    """Return the code versions that made a folder's results with their counts, for `metrics.json`."""
    return read_provenance(folder).results_by_code(done)


def read_sandbox_events(folder: Path) -> dict[str, int]:
    """Return what happened to the sandbox in all commands that worked on a folder, for `metrics.json`."""
    return read_provenance(folder).sandbox_events


def parse_code_versions(content: Mapping[str, Any]) -> list[CodeVersion]:
    """Parse the code versions in the content of `metrics.json`."""
    return [CodeVersion(**{name: value for name, value in row.items() if name != "results"}) for row in content["code"]]


def read_content(folder: Path) -> dict[str, Any]:
    """Return the file's content, empty if there is no file. Raises ConfigError if it cannot be read."""
    try:
        return _load_content(folder / PROVENANCE_FILE)
    except ValueError as error:
        raise ConfigError(
            f"{folder / PROVENANCE_FILE} is damaged: {error}. Run the command of this folder again, which begins a new "
            "file and keeps all results."
        ) from error


def _load_content(file: Path) -> dict[str, Any]:
    """Load and check the file's content, empty if there is no file. Raises ValueError with the reason if it is damaged.

    Anything but a regular file counts as damage.
    """
    try:
        content = parse_json(read_text(file))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(error.strerror) from error
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}")
    if field := find_mismatch(content, SHAPE):
        raise ValueError(f"its field {field!r} is missing or of another type, as of another version")
    return content


def _read_models(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the recorded models of a hub, by group; without those whose record is damaged."""
    models = content.get("models")
    return (
        {name: value for name, value in models.items() if isinstance(value, dict)} if isinstance(models, dict) else {}
    )


def _parse_code(session: Mapping[str, Any]) -> CodeVersion:
    """Return the code version of a session; a later version may have recorded further fields."""
    return CodeVersion(**{field.name: session["code"][field.name] for field in fields(CodeVersion)})


def _format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
