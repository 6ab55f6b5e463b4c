"""Identity of a result: a hash of the settings, options and files that determine it.

- A setting is hashed unless its settings class marks it (`codetool.runs.operational`), or the YAML file of a class that
  cannot be marked lists it in `_operational_`; `_operational_: true` leaves the whole block out.
- An option is hashed by its name in the group, never by the module that holds its class. A class from outside this
  package also adds its own name, without the module.
- A renamed setting is hashed under its former name if its annotation holds `HashedAs`.
- A setting of type `Path` is hashed by the content of its file or folder.
"""

from __future__ import annotations

import hashlib
import json
import pydoc
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Protocol

from codetool.runs.operational import OPERATIONAL_KEY, HashedAs, Mark, Operational

OPTION_KEY = "_option_"
"""Key of an option's name in the hashed settings."""
CLASS_KEY = "_class_"
"""Key of the name of a class from outside this package, or of one that no option names."""
TARGET_KEY = "_target_"
UNHASHED_KEYS = (TARGET_KEY, "_partial_", OPERATIONAL_KEY)
"""Keys beside the settings of a class."""
PACKAGE_PREFIX = "codetool."
WHOLE_FILE_BYTES = 64 * 2**20
"""Of larger files one block in sixteen is hashed: reading 15 GB would take longer than many a run."""
BLOCK_BYTES = 2**20


class ComposedConfig(Protocol):
    """Settings of a run: an object for each block, and the same settings as plain data."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The resolved configuration as plain data."""
        ...


@dataclass(frozen=True)
class Identity:
    """Settings, file checksums and package version that determine a result."""

    settings: Mapping[str, Any]
    """Hashed settings by block, from `select_identity_settings`."""
    checksums: Mapping[str, str]
    """Hex sha256 of data, weights and adapters by name."""
    version: str = field(default_factory=lambda: version("codetool"))
    """Version of this package."""

    @property
    def digest(self) -> str:
        """Hash of eight hexadecimal digits, the name of the result."""
        parts = {**self.settings, "checksums": dict(self.checksums), "version": self.version}
        text = json.dumps(_normalize_numbers(parts), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def select_identity_settings(
    config: ComposedConfig, choices: Mapping[str, str], only: Collection[str] | None = None
) -> dict[str, Any]:
    """Return the settings that determine a result, by block.

    `choices` are Hydra's choices: the option's name by group, `search`, or by `group@place`, such as
    `policy_prompt@policy.prompt`.
    `only` restricts the blocks. A settings object may have a method `irrelevant_settings()` that names settings without
    effect, given the others: they are left out too. It may have a method `hashed_option()` that returns the option's
    name under which its settings are hashed, where several options of a class can be set to the same values. It may
    have a method `is_unhashed()`: a block is left out that does what was done before the block was there.
    """
    options = _map_options_by_path(choices)
    hints = read_field_hints(type(config))
    hashed: dict[str, Any] = {}
    for name, value in config.settings.items():
        hint = hints.get(name, Any)
        if (only is not None and name not in only) or find_mark(hint) is not None:
            continue
        is_unhashed = getattr(getattr(config, name, None), "is_unhashed", None)
        if is_unhashed is not None and is_unhashed():
            continue
        irrelevant = getattr(getattr(config, name, None), "irrelevant_settings", None)
        hashed_option = getattr(getattr(config, name, None), "hashed_option", None)
        if hashed_option is not None and name in options:
            options = options | {name: hashed_option()}
        if irrelevant is not None and isinstance(value, Mapping):
            value = {key: item for key, item in value.items() if key not in irrelevant()}
        hashed[_find_hashed_name(name, hint)] = _to_hashed_form(value, hint, name, options)
    return hashed


def find_marked_settings(settings: Mapping[str, Any], schema: type) -> dict[str, Mark]:
    """Return the mark of every marked setting by dotted name; `schema` is the class of the whole configuration."""
    return dict(_iterate_marks(settings, schema, ""))


def is_hashed(name: str, marks: Mapping[str, Mark]) -> bool:
    """Whether the setting of this dotted name, or the content of its file, is part of a result's identity."""
    parents = (name.rsplit(".", depth)[0] for depth in range(name.count(".") + 1))
    return not any(marks.get(parent) is Mark.OPERATIONAL for parent in parents)


def find_local_model_folder(model: str) -> Path | None:
    """Return the folder if `policy.model` or `prm.model` is one with a full model, None for a published model."""
    folder = Path(model).expanduser()
    return folder if (folder / "config.json").is_file() else None


def hash_path(path: Path) -> str | None:
    """Hash a file, or the names and contents of all files in a folder, by sha256; None if it does not exist."""
    if path.is_file():
        return hash_files([path])
    if path.is_dir():
        return hash_files(sorted(file for file in path.rglob("*") if file.is_file()), path)
    return None


def hash_files(files: Sequence[Path], below: Path | None = None) -> str:
    """Hash files by sha256; with `below`, also their names relative to it. Files above 64 MiB are sampled."""
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        if below is not None:
            digest.update(f"{file.relative_to(below).as_posix()} {size}\n".encode("utf-8", "surrogateescape"))
        step = 1 if size <= WHOLE_FILE_BYTES else 16
        with file.open("rb") as opened:
            while block := opened.read(BLOCK_BYTES):
                digest.update(block)
                opened.seek((step - 1) * BLOCK_BYTES, 1)
    return digest.hexdigest()


@lru_cache(maxsize=256)
def read_field_hints(target: Any) -> Mapping[str, Any]:
    """Return the annotations of a class's or function's arguments by name; empty if they cannot be evaluated."""
    sources = [target, getattr(target, "__init__")] if isinstance(target, type) else [target]  # noqa: B009
    hints: dict[str, Any] = {}
    for source in reversed(sources):
        try:
            hints |= typing.get_type_hints(source, include_extras=True)
        except Exception:  # names that exist for a type checker only: nothing is marked then, and all is hashed
            continue
    return hints


def find_mark(hint: Any) -> Mark | None:
    """Return the mark in an annotation, None without one."""
    for part in _iterate_parts(hint):
        if typing.get_origin(part) is Annotated:
            for extra in part.__metadata__:
                if isinstance(extra, Mark):
                    return extra
    return None


def _find_hashed_name(name: str, hint: Any) -> str:
    """Return the name under which a setting is hashed: its own, or the one that `HashedAs` in its annotation gives."""
    for part in _iterate_parts(hint):
        if typing.get_origin(part) is Annotated:
            for extra in part.__metadata__:
                if isinstance(extra, HashedAs):
                    return extra.name
    return name


def _to_hashed_form(value: Any, hint: Any, path: str, options: Mapping[str, str]) -> Any:
    """Return the form in which a value at a dotted path of the configuration is hashed."""
    if isinstance(value, Mapping):
        return _to_hashed_block(value, hint, path, options)
    if isinstance(value, list | tuple):
        item = _get_item_hint(hint)
        return [_to_hashed_form(element, item, f"{path}.{number}", options) for number, element in enumerate(value)]
    if isinstance(value, str) and any(part is Path for part in _iterate_parts(hint)):
        content = hash_path(Path(value).expanduser())
        return value if content is None else {"sha256": content}
    return value


def _to_hashed_block(value: Mapping[str, Any], hint: Any, path: str, options: Mapping[str, str]) -> dict[str, Any]:
    hints, item = _read_block_hints(value, hint), _get_item_hint(hint)
    unhashed_names = _list_unhashed_names(value)
    hashed: dict[str, Any] = {}
    for key, element in value.items():
        setting_hint = hints.get(str(key), item)
        if key in UNHASHED_KEYS or key in unhashed_names or find_mark(setting_hint) is not None:
            continue
        if not _is_operational_block(element):
            hashed_name = _find_hashed_name(str(key), setting_hint)
            hashed[hashed_name] = _to_hashed_form(element, setting_hint, f"{path}.{key}", options)
    if TARGET_KEY in value:
        hashed |= _name_option(str(value[TARGET_KEY]), path, options)
    return hashed


def _list_unhashed_names(value: Mapping[str, Any]) -> Collection[str]:
    names = value.get(OPERATIONAL_KEY)
    return names if isinstance(names, Collection) else ()


def _is_operational_block(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get(OPERATIONAL_KEY) is True


def _normalize_numbers(value: Any) -> Any:
    """Replace whole floats by integers: 1.0 and 1 are the same setting."""
    if isinstance(value, Mapping):
        return {name: _normalize_numbers(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normalize_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _name_option(target: str, path: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return the names that replace a class: its option, and its own name if the option does not determine it."""
    option, overridden = options.get(path), options.get(f"{path}.{TARGET_KEY}")
    names = {} if option is None else {OPTION_KEY: option}
    is_known = target.startswith(PACKAGE_PREFIX) and (option is not None or "." not in path)
    return names if is_known and overridden is None else names | {CLASS_KEY: target.rpartition(".")[2]}


def _map_options_by_path(choices: Mapping[str, str]) -> dict[str, str]:
    """Map the dotted path of each block to its chosen option; options mixed into another's block are left out."""
    mixed_in = {group.partition("@")[2]: option for group, option in choices.items() if "@" in group}
    return mixed_in | {group.replace("/", "."): option for group, option in choices.items() if "@" not in group}


def _iterate_marks(value: Mapping[str, Any], hint: Any, prefix: str) -> Iterator[tuple[str, Mark]]:
    hints, item = _read_block_hints(value, hint), _get_item_hint(hint)
    for key, element in value.items():
        setting_hint, name = hints.get(str(key), item), f"{prefix}{key}"
        if key in _list_unhashed_names(value) or _is_operational_block(element):
            yield name, Operational
        elif (mark := find_mark(setting_hint)) is not None:
            yield name, mark
        elif isinstance(element, Mapping):
            yield from _iterate_marks(element, setting_hint, f"{name}.")


def _read_block_hints(value: Mapping[str, Any], hint: Any) -> Mapping[str, Any]:
    """Return the annotations of a block's settings, from its `_target_` or from the class in its annotation."""
    if TARGET_KEY in value:
        try:
            target = pydoc.locate(str(value[TARGET_KEY]))
        except pydoc.ErrorDuringImport:
            target = None
        return read_field_hints(target) if callable(target) else {}
    settings = (part for part in _iterate_parts(hint) if isinstance(part, type) and _is_settings_class(part))
    return next(map(read_field_hints, settings), {})


def _is_settings_class(part: type) -> bool:
    return is_dataclass(part) or hasattr(part, "model_fields")


def _get_item_hint(hint: Any) -> Any:
    """Return the annotation of the items of a list, tuple or mapping."""
    for part in _iterate_parts(hint):
        origin = typing.get_origin(part)
        if isinstance(origin, type) and issubclass(origin, Collection) and (arguments := typing.get_args(part)):
            return arguments[-1] if issubclass(origin, Mapping) else arguments[0]
    return Any


def _iterate_parts(hint: Any) -> Iterator[Any]:
    """Yield an annotation and its parts inside `Annotated` and unions, but not inside containers."""
    yield hint
    origin = typing.get_origin(hint)
    if origin is Annotated:
        yield from _iterate_parts(hint.__origin__)
    elif origin in (typing.Union, types.UnionType):
        for argument in typing.get_args(hint):
            yield from _iterate_parts(argument)
