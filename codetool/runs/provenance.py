"""`provenance.json` of a run folder: what determined the result, and what code ran when, on what, by which command.

    identity: digest, version and hashed settings; checksums: hex sha256 by name; result: an id of this folder's result
    sessions: a list of the commands that worked on the folder, each with command, code, host, packages, sandbox,
        done (results that were there when it began), started and ended (null while it runs, and if it was killed)

A command adds itself when it starts and the time when it ends. The file is replaced as a whole, so a kill leaves the
old one or the new one. It holds no secret.
"""

from __future__ import annotations

import json
import logging
import shlex
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codetool.credentials.masking import mask_command
from codetool.errors import ConfigError
from codetool.runs import journal
from codetool.runs.code_version import CodeVersion, read_code_version
from codetool.runs.host import describe_host, read_package_versions
from codetool.runs.identity import Identity

PROVENANCE_FILE = "provenance.json"
KEY_VARIABLE_SETTINGS = ("key_env", "env")
"""Settings that name an environment variable with a key."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Provenance:
    """The content of `provenance.json`."""

    result: str
    """Random id of this folder's result; a copied or moved folder keeps it."""
    identity: Identity
    sessions: Sequence[Mapping[str, Any]]

    @property
    def codes(self) -> list[CodeVersion]:
        """Every code that worked on the folder, in the order of its first session."""
        unique: dict[Any, CodeVersion] = {}
        for session in self.sessions:
            code = CodeVersion(**session["code"])
            unique.setdefault(code.key, code)
        return list(unique.values())

    @property
    def sandboxes(self) -> list[dict[str, str]]:
        """The sandbox layers that were in force, each combination once."""
        sandboxes = [dict(session["sandbox"]) for session in self.sessions if session["sandbox"]]
        return [layers for number, layers in enumerate(sandboxes) if layers not in sandboxes[:number]]

    def results_by_code(self, done: int | None = None) -> list[dict[str, Any]]:
        """The codes as plain data, each with `results`: how many it added; None where results are not counted.

        `done` is the number of results that are there now.
        """
        counts = [session["done"] for session in self.sessions]
        after = [*counts[1:], done]
        rows: list[dict[str, Any]] = []
        for code in self.codes:
            counts_of_code = [
                None if end is None or start is None else end - start
                for session, start, end in zip(self.sessions, counts, after, strict=True)
                if CodeVersion(**session["code"]).key == code.key
            ]
            known_counts = [count for count in counts_of_code if count is not None]
            added = max(0, sum(known_counts)) if len(known_counts) == len(counts_of_code) else None
            rows.append({**asdict(code), "results": added})
        return rows


class SessionRecord:
    """This command's entry in a folder's `provenance.json`."""

    def __init__(self, folder: Path, content: dict[str, Any], code: CodeVersion) -> None:
        """Takes the content of the file, whose last session is this command's."""
        self._file, self._content, self.code = folder / PROVENANCE_FILE, content, code

    def record_sandbox(self, layers: Mapping[str, str]) -> None:
        """Write down what confines generated code."""
        self._content["sessions"][-1]["sandbox"] = dict(layers)
        self._write()

    def end(self) -> None:
        """Write down the time."""
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
) -> Iterator[SessionRecord]:
    """Add this command to the folder's provenance while it runs.

    `settings` is the whole configuration, `command` the words that were typed and `done` the number of results that
    are there already. Says in one line if other code has worked on the folder.
    """
    code = read_code_version(settings)
    earlier = _read_content(folder)
    if line := describe_other_code(folder, code):
        log.warning("%s", line)
    session = {
        "command": shlex.join(mask_command(command, _find_key_variables(settings))),
        "code": asdict(code),
        **describe_host(),
        "packages": read_package_versions(),
        "sandbox": None,
        "done": done,
        "started": _format_now(),
        "ended": None,
    }
    content = {
        "result": earlier.get("result") or uuid.uuid4().hex,
        "identity": {
            "digest": identity.digest,
            "version": identity.version,
            "settings": dict(identity.settings),
        },
        "checksums": dict(identity.checksums),
        "sessions": [*earlier.get("sessions", ()), session],
    }
    record = SessionRecord(folder, content, code)
    record._write()
    try:
        yield record
    finally:
        if folder.is_dir():
            record.end()


def read_provenance(folder: Path) -> Provenance:
    """The provenance of a run folder. Raises ConfigError where there is none that can be read."""
    content = _read_content(folder)
    if not content:
        raise ConfigError(
            f"{folder} has no {PROVENANCE_FILE}: it is no run folder, or an older version has made it. Run its "
            "command again."
        )
    try:
        identity_content = content["identity"]
        identity = Identity(identity_content["settings"], content["checksums"], identity_content["version"])
        provenance = Provenance(content["result"], identity, content["sessions"])
        assert provenance.codes is not None and provenance.sandboxes is not None
    except (KeyError, TypeError, AttributeError, AssertionError) as error:
        raise ConfigError(
            f"{folder / PROVENANCE_FILE} is of another version ({error!r}). Run its command again."
        ) from error
    return provenance


def describe_other_code(folder: Path, code: CodeVersion) -> str | None:
    """One line that names the other code that has worked on a folder, None where there is none."""
    if not (folder / PROVENANCE_FILE).is_file():
        return None
    if not (other_codes := [str(other) for other in read_provenance(folder).codes if other.key != code.key]):
        return None
    return (
        f"The code has changed: {folder.name} holds results of {'; '.join(other_codes)}, and this is {code}. "
        "What is finished stays as it is; fresh=true makes everything anew."
    )


def count_results_by_code(folder: Path, done: int | None = None) -> list[dict[str, Any]]:
    """Every code that made a folder's results, for `metrics.json`."""
    return read_provenance(folder).results_by_code(done)


def parse_code_versions(content: Mapping[str, Any]) -> list[CodeVersion]:
    """The codes that the content of a `metrics.json` names."""
    return [CodeVersion(**{name: value for name, value in row.items() if name != "results"}) for row in content["code"]]


def _read_content(folder: Path) -> dict[str, Any]:
    """The content of the file, empty where there is none. Raises ConfigError if it cannot be read."""
    try:
        content = json.loads((folder / PROVENANCE_FILE).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds {type(content).__name__}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder / PROVENANCE_FILE} cannot be read: {error}. Start a new folder with fresh=true."
        ) from error
    return content


def _find_key_variables(settings: Any) -> set[str]:
    """Environment variables that settings name as those of a key."""
    if isinstance(settings, Mapping):
        variables = {
            value for name, value in settings.items() if name in KEY_VARIABLE_SETTINGS and isinstance(value, str)
        }
        return variables.union(*map(_find_key_variables, settings.values()))
    if isinstance(settings, list | tuple):
        return set().union(*map(_find_key_variables, settings))
    return set()


def _format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
