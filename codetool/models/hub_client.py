"""Ask a model hub for the commit and the files of a model, and explain its refusals in one line.

The hub is that of `HF_ENDPOINT`, else https://huggingface.co; a token is read by `huggingface_hub` itself (`HF_TOKEN`,
or what `hf auth login` stored) and enters no message.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache

from codetool.errors import CodeToolError, ConfigError, MissingError, UnreachableError
from codetool.http.download import hide_password
from codetool.http.reachability import check_connection
from codetool.models.hub_cache import MAIN

DEFAULT_ENDPOINT = "https://huggingface.co"
SETTING_FILES = ["*.json", "*.jinja", "tokenizer*", "*.model", "merges.txt", "vocab.txt"]
"""Patterns of the files that a model needs beside its weights: configuration, tokenizer and chat template."""
WEIGHT_FILES = ["*.safetensors"]
LEFT_OUT = ["*/*", "consolidated*", "*.onnx*"]
"""Patterns of files that are not loaded: those in folders, and the same weights in another layout."""
REQUEST_SECONDS = 10.0
NAME_PATTERN = re.compile(r"[\w.-]+(/[\w.-]+)?")
TRUE_WORDS = {"1", "ON", "YES", "TRUE"}
"""Values of environment variables that `huggingface_hub` takes for true, in any case."""


@dataclass(frozen=True)
class HubVersion:
    """A version of a model on the hub. `files` is the number of files that a run needs, `size` their bytes."""

    commit: str
    files: int
    size: int


def find_endpoint() -> str:
    """Return the URL of the hub."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def check_hub_reachable(name: str) -> None:
    """Raise UnreachableError, with the reason, if the hub must not be asked or does not accept a connection in 2 s."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if (value := os.environ.get(variable, "")).upper() in TRUE_WORDS:
            raise UnreachableError(f"{variable}={value} forbids to download it")
    if not NAME_PATTERN.fullmatch(name):
        raise UnreachableError("no hub can have it: names there are NAME or OWNER/NAME")
    try:
        check_connection(find_endpoint())
    except ConfigError as error:
        raise UnreachableError(f"HF_ENDPOINT={hide_password(str(error))}") from error
    except UnreachableError as error:
        raise UnreachableError(f"the hub cannot be reached: {hide_password(str(error)).rstrip('.')}") from error


def resolve_version(group: str, name: str, revision: str | None) -> HubVersion:
    """Ask the hub for the version of a branch, tag or commit; the answer holds for the rest of this process.

    `group` is the option group that messages name. Raises UnreachableError, with the reason alone, if the hub does not
    answer, and MissingError if it has no such model or refuses it.
    """
    return _resolve_version(group, name, revision or MAIN, find_endpoint())


@lru_cache(maxsize=64)
def _resolve_version(group: str, name: str, revision: str, endpoint: str) -> HubVersion:
    check_hub_reachable(name)
    from huggingface_hub import HfApi, get_token

    try:
        api = HfApi(endpoint=endpoint)
        info = api.model_info(name, revision=revision, files_metadata=True, timeout=REQUEST_SECONDS)
    except Exception as error:
        raise explain_hub_error(error, group, name, revision) from error
    if info.gated and get_token() is None:
        raise _make_gated_error(group, name, has_token=False)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    needed = [file for file in sizes if _is_needed(file)]
    if not info.sha or not any(file.endswith(".safetensors") for file in needed):
        raise MissingError(
            f"{group}.model={name}: {hide_password(endpoint)}/{name} has no weights as *.safetensors in revision "
            f"{revision}. Choose another model or {group}.revision."
        )
    return HubVersion(info.sha, len(needed), sum(sizes[file] for file in needed))


def _is_needed(file: str) -> bool:
    """Return whether a run needs a file, by the rules of `snapshot_download`."""
    if any(fnmatch(file, pattern) for pattern in LEFT_OUT):
        return False
    return any(fnmatch(file, pattern) for pattern in SETTING_FILES + WEIGHT_FILES)


def explain_hub_error(error: Exception, group: str, name: str, revision: str) -> CodeToolError:
    """Return an error of `huggingface_hub` as one with a message of one line.

    UnreachableError, with the reason alone, if the hub did not answer as a hub. No text of the original error is
    repeated, since it can hold a token or a signed URL.
    """
    from huggingface_hub import errors, get_token

    page = f"{hide_password(find_endpoint())}/{name}"
    while isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.GatedRepoError) or status == 403:
        return _make_gated_error(group, name, has_token=get_token() is not None)
    if isinstance(error, errors.RevisionNotFoundError):
        return MissingError(
            f"{group}.revision={revision}: {name} has no such branch, tag or commit; those that it has: {page}/branches"
        )
    if status == 401:
        return MissingError(
            f"{group}.model={name}: the hub has no such model, or shows it to some accounts only (HTTP 401). Check the "
            f"name at {page}, and set HF_TOKEN to a token that may read it."
        )
    if status == 404:
        return MissingError(f"{group}.model={name}: the hub has no such model (HTTP 404). Check the name at {page}")
    if status is not None:
        return UnreachableError(f"{hide_password(find_endpoint())} answered HTTP {status}; try again later")
    if isinstance(error, OSError) and error.strerror:
        return MissingError(f"{group}.model={name} cannot be downloaded: {error.strerror}: {error.filename}")
    kind = type(error).__name__
    what = f"did not answer within {REQUEST_SECONDS:g} s" if "Timeout" in kind else f"did not answer as a hub ({kind})"
    return UnreachableError(f"{hide_password(find_endpoint())} {what}")


def _make_gated_error(group: str, name: str, *, has_token: bool) -> MissingError:
    why = "refuses it to your token" if has_token else "gives it to nobody without a token"
    return MissingError(
        f"{group}.model={name} is gated: the hub {why}. Accept its terms at {hide_password(find_endpoint())}/{name} "
        "and set HF_TOKEN to a token of that account."
    )
