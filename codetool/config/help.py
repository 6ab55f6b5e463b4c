"""What `--help` and `--version` print: a page for the chosen stage, made of the YAML files and their comments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from textwrap import indent, wrap

from hydra import compose

from codetool.config.config_sources import (
    added_folders,
    composing,
    group_options,
    groups_chosen_by,
    is_group,
    origin,
)
from codetool.errors import ConfigError

HEAD = """CodeTool: experiments on process-supervised, stepwise programmatic tool use by LLMs.

    python run.py benchmark=tmdb search=beam search.width=2 search.n=4 \\
        policy=openai policy.base_url=http://localhost:8000/v1 policy.model=NAME

Choose an option with group=option, set a value with name=value. The same command again resumes, fresh=true starts
over, dry_run=true only checks; -m runs every combination of comma lists; --cfg job prints the configuration.
Keys come from the environment: OPENAI_API_KEY, TMDB_API_KEY, WANDB_API_KEY. Data lies where CODETOOL_DATA points.
Options of your own: --config-dir FOLDER, or hydra.searchpath=[pkg://my_package.conf]."""
MORE = """More: `--help {example}` lists the settings of a block, or of all options of a group; `--help search=beam`
those of one option; `--help stage=NAME` is the page of another stage: {stages}."""
WIDTH = 118
HIDDEN = ("hydra", "stage")
"""Groups that have no line: the page is a stage's, and Hydra's own have `--hydra-help`."""


def version_text() -> str:
    """The name and the version of this program."""
    return f"codetool {version('codetool')}"


def help_text(words: Sequence[str], flags: Sequence[str] = ()) -> str:
    """The page of the stage that the words choose, with what else they name: an option, a group, a block of settings.

    Raises ConfigError for a stage, an option or a name that there is not.
    """
    with composing(added_folders(flags, words)):
        stage = _stage(words)
        topics = [part for word in words for part in _topic(word)]
        return "\n\n".join(topics or _page(stage))


def _stage(words: Sequence[str]) -> str:
    chosen = [word.partition("=")[2] for word in words if word.startswith("stage=")]
    stage = chosen[-1] if chosen else groups_chosen_by("config")["stage"]
    if stage not in (stages := group_options("stage")):
        raise ConfigError(f"stage={stage}: stage has no option {stage!r}. Allowed: {', '.join(stages)}.")
    return stage


def _page(stage: str) -> Iterator[str]:
    """The parts of a stage's page."""
    text = _text(f"stage/{stage}")
    reads = _reads(text)
    yield HEAD
    comments = [line.removeprefix("#").removeprefix(" ") for line in _header(text) if not line.startswith("# Reads: ")]
    yield f"stage={stage}\n" + indent("\n".join(comments), "    ")
    if own := _settings(text.partition(f"\nstage: {stage}")[2].partition("\n")[2]):
        yield f"Settings that stage={stage} reads:\n" + indent(own, "    ")
    yield "Groups (* = what this stage chooses by itself):\n" + indent("\n".join(_groups(stage, reads)), "    ")
    common = _common()
    blocks = {name: part for name, part in common.items() if "\n" in part}
    single = [part for name, part in common.items() if name not in blocks and (not reads or name in reads)]
    yield "Settings of several stages:\n" + indent("\n".join(single), "    ")
    shown = [name for name in blocks if not reads or name in reads]
    if shown:
        yield f"Blocks of settings, each listed by --help NAME: {', '.join(shown)}"
    others = ", ".join(name for name in group_options("stage") if name != stage)
    yield MORE.format(example=shown[0] if shown else "search", stages=others)


def _groups(stage: str, reads: Sequence[str]) -> Iterator[str]:
    """A line or more for each group that the stage reads."""
    own = groups_chosen_by(f"stage/{stage}")
    choices = compose("config", [f"stage={stage}"], return_hydra_config=True).hydra.runtime.choices
    for group, default in sorted(reversed(choices.items()), key=lambda item: "@" in item[0]):
        name, _, place = group.partition("@")
        if not place and (not reads or name in (*own, *reads, "experiment")) and name.partition("/")[0] not in HIDDEN:
            yield from _choices(group, name, default)
        elif place.partition(".")[0] in (*own, *reads, stage) and place.endswith(".prompt"):
            yield from _choices(group, name, default)


def _choices(group: str, name: str, default: str) -> list[str]:
    """The options of a group on lines, the chosen one marked."""
    names = ", ".join(f"{option}*" if option == default else option for option in group_options(name))
    return wrap(f"{group + '=':<12}{'' if len(group) < 12 else ' '}{names}", WIDTH, subsequent_indent=" " * 12)


def _topic(word: str) -> Iterator[str]:
    """The settings of what a word names beside the stage; nothing for a setting and its value."""
    name, separator, value = word.partition("=")
    group = name.lstrip("+").partition("@")[0]
    if name == "stage" or word.startswith("hydra"):
        return
    if is_group(group):
        options = group_options(group)
        if separator and value not in options:
            raise ConfigError(f"{word}: {name} has no option {value!r}. Allowed: {', '.join(options)}.")
        for option in [value] if separator else options:
            yield _option(name, option)
    elif name in (common := _common()):
        yield common[name]
    elif not separator:
        known = [*common, *group_options("stage"), *groups_chosen_by("config")]
        raise ConfigError(f"--help {word}: there is no group and no block of this name. There are: {', '.join(known)}")


def _option(group: str, option: str) -> str:
    """The settings of an option, and those that it takes over from another option of its group."""
    path = f"{group.partition('@')[0]}/{option}"
    text = _text(path)
    above = [line.strip("- \n") for line in re.findall(r"(?m)^  - [\w]+$|^defaults: \[(\w+)", text) if line]
    above += re.findall(r"(?m)^  - (\w+)$", text)
    taken = [name for name in dict.fromkeys(above) if name != "_self_"]
    parts = [f"{group}={option}", indent("\n".join([*_header(text), _settings(text)]).strip("\n"), "    ")]
    parts += [f"    and the settings of {group}={name} that it does not set itself" for name in taken]
    shared = re.findall(r"(?m)^  - /(\w+)@_here_: (\w+)$", text)
    for name, file in shared:
        lines = _settings(_text(f"{name}/{file}")).splitlines()
        parts += [f"    {line}" for line in lines if not re.search(rf"(?m)^{line.split(':')[0]}:", text)]
    return "\n".join(part for part in parts if part.strip())


def _common() -> dict[str, str]:
    """The settings of `config.yaml` with their comments, by name."""
    text = _text("config").split("\nhydra:")[0].split("\n\n", 1)[1]
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if match := re.match(r"(\w+):", line):
            name = match[1]
        if line.strip():
            found.setdefault(name, []).append(line)
    joined = {name: _settings("\n".join(lines)) for name, lines in found.items()}
    return {name: text for name, text in joined.items() if text}


def _reads(text: str) -> list[str]:
    """What a stage's file says that it reads of the common settings; empty where it says nothing."""
    found = re.findall(r"(?m)^# Reads: (.*)$", text)
    return re.split(r",\s*", ", ".join(found)) if found else []


def _text(path: str) -> str:
    file = origin(path)
    return file.read_text(encoding="utf-8") if file else ""


def _header(text: str) -> list[str]:
    """The comment at the head of a YAML file."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line)
    return lines


def _settings(text: str) -> str:
    """The settings of a YAML file with their comments, without its head, targets, defaults lists and long texts."""
    lines = text.splitlines()[len(_header(text)) + text.startswith("# @package") :]
    hidden = ("_target_:", "_operational_:", "defaults:", "- ")
    kept: list[str] = []
    inside: int | None = None
    """Indentation of a long text that is being left out."""
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if inside is not None and (not line.strip() or depth > inside):
            continue
        inside = depth if line.rstrip().endswith("|") else None
        if line.strip() and not line.lstrip().startswith(hidden):
            kept.append(line)
    return "\n".join(kept)
