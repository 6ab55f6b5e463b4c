"""Text of `--help` and `--version`: a page for the chosen stage, made from the YAML files and their comments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from textwrap import indent, wrap

from hydra import compose

from codetool.config.config_sources import (
    find_config_file,
    initialize_hydra,
    is_group,
    list_options,
    parse_added_folders,
    read_default_choices,
)
from codetool.config.renamed_settings import suggest_current_name
from codetool.config.setting_readers import parse_common_names
from codetool.errors import ConfigError

HEAD = """CodeTool: experiments on process-supervised, stepwise programmatic tool use by LLMs.

    python run.py benchmark=tmdb search=beam search.width=2 search.n=4 \\
        policy=openai policy.base_url=http://localhost:8000/v1 policy.model=NAME

Choose an option with group=option, set a value with name=value. The same command again resumes, fresh=true starts
over, dry_run=true only checks; -m runs every combination of comma lists; --cfg job prints the configuration.
Keys come from the environment: OPENAI_API_KEY, TMDB_API_KEY, WANDB_API_KEY. Data lies where CODETOOL_DATA points.
Options of your own: --config-dir FOLDER, hydra.searchpath=[pkg://my_package.conf], or an installed package that has
them; `codetool new benchmark|search|prm NAME` begins one."""
MORE_TEMPLATE = """\
More: `--help {example}` lists the settings of a block, or of all options of a group; `--help search=beam`
those of one option; `--help stage=NAME` is the page of another stage: {stages}."""
WIDTH = 118
HIDDEN_GROUPS = ("hydra", "stage")
"""Groups without a line: the page is about one stage, and `--hydra-help` describes Hydra's groups."""


def format_version() -> str:
    """Return the name and the version of this program."""
    return f"codetool {version('codetool')}"


def format_help(overrides: Sequence[str], flags: Sequence[str] = ()) -> str:
    """Format the page of the chosen stage, or of the options, groups or blocks of settings that the overrides name.

    Raises ConfigError for an unknown stage, option or name.
    """
    with initialize_hydra(parse_added_folders(flags, overrides)):
        stage = _get_stage(overrides)
        topics = [part for override in overrides for part in _format_topic(override)]
        return "\n\n".join(topics or _format_page(stage))


def _get_stage(overrides: Sequence[str]) -> str:
    chosen = [override.partition("=")[2] for override in overrides if override.startswith("stage=")]
    stage = chosen[-1] if chosen else read_default_choices("config")["stage"]
    if stage not in (stages := list_options("stage")):
        raise ConfigError(f"stage={stage}: stage has no option {stage!r}. Allowed: {', '.join(stages)}.")
    return stage


def _format_page(stage: str) -> Iterator[str]:
    """Yield the parts of a stage's page."""
    text = _read_config_text(f"stage/{stage}")
    reads = parse_common_names(text)
    yield HEAD
    comments = [
        line.removeprefix("#").removeprefix(" ") for line in _get_header(text) if not line.startswith("# Reads: ")
    ]
    yield f"stage={stage}\n" + indent("\n".join(comments), "    ")
    if stage_settings := _extract_settings(text.partition(f"\nstage: {stage}")[2].partition("\n")[2]):
        yield f"Settings that stage={stage} reads:\n" + indent(stage_settings, "    ")
    yield "Groups (* = what this stage chooses by itself):\n" + indent("\n".join(_format_groups(stage, reads)), "    ")
    common = _read_common_settings()
    blocks = {name: part for name, part in common.items() if "\n" in part}
    single = [part for name, part in common.items() if name not in blocks and (not reads or name in reads)]
    yield "Settings of several stages:\n" + indent("\n".join(single), "    ")
    shown = [name for name in blocks if not reads or name in reads]
    if shown:
        yield f"Blocks of settings, each listed by --help NAME: {', '.join(shown)}"
    others = ", ".join(name for name in list_options("stage") if name != stage)
    yield MORE_TEMPLATE.format(example=shown[0] if shown else "search", stages=others)


def _format_groups(stage: str, reads: Sequence[str]) -> Iterator[str]:
    """Yield the lines of each group that the stage reads."""
    stage_settings = read_default_choices(f"stage/{stage}")
    choices = compose("config", [f"stage={stage}"], return_hydra_config=True).hydra.runtime.choices
    for group, default in sorted(reversed(choices.items()), key=lambda item: "@" in item[0]):
        name, _, package = group.partition("@")
        if (
            not package
            and (not reads or name in (*stage_settings, *reads, "experiment"))
            and name.partition("/")[0] not in HIDDEN_GROUPS
        ):
            yield from _format_choices(group, name, default)
        elif package.partition(".")[0] in (*stage_settings, *reads, stage) and package.endswith(".prompt"):
            yield from _format_choices(group, name, default)


def _format_choices(group: str, name: str, default: str) -> list[str]:
    """Format the options of a group as lines, with a star at the chosen one."""
    names = ", ".join(f"{option}*" if option == default else option for option in list_options(name))
    return wrap(f"{group + '=':<12}{'' if len(group) < 12 else ' '}{names}", WIDTH, subsequent_indent=" " * 12)


def _format_topic(override: str) -> Iterator[str]:
    """Yield the settings of the option, group or block that an override names; nothing for `name=value`."""
    name, separator, value = override.partition("=")
    group = name.lstrip("+").partition("@")[0]
    if name == "stage" or override.startswith("hydra"):
        return
    if is_group(group):
        options = list_options(group)
        if separator and value not in options:
            raise ConfigError(f"{override}: {name} has no option {value!r}. Allowed: {', '.join(options)}.")
        for option in [value] if separator else options:
            yield _format_option(name, option)
    elif name in (common := _read_common_settings()):
        yield common[name]
    elif not separator:
        names = [*common, *list_options("stage"), *read_default_choices("config")]
        raise ConfigError(
            f"--help {override}: there is no group and no block of this name. There are: {', '.join(names)}"
            f"{suggest_current_name(override)}"
        )


def _format_option(group: str, option: str) -> str:
    """Format the settings of an option, including those that it inherits from other options."""
    path = f"{group.partition('@')[0]}/{option}"
    text = _read_config_text(path)
    inherited_matches = [line.strip("- \n") for line in re.findall(r"(?m)^  - [\w]+$|^defaults: \[(\w+)", text) if line]
    inherited_matches += re.findall(r"(?m)^  - (\w+)$", text)
    inherited = [name for name in dict.fromkeys(inherited_matches) if name != "_self_"]
    parts = [f"{group}={option}", indent("\n".join([*_get_header(text), _extract_settings(text)]).strip("\n"), "    ")]
    parts += [f"    and the settings of {group}={name} that it does not set itself" for name in inherited]
    shared = re.findall(r"(?m)^  - /(\w+)@_here_: (\w+)$", text)
    for name, file in shared:
        lines = _extract_settings(_read_config_text(f"{name}/{file}")).splitlines()
        parts += [f"    {line}" for line in lines if not re.search(rf"(?m)^{line.split(':')[0]}:", text)]
    return "\n".join(part for part in parts if part.strip())


def _read_common_settings() -> dict[str, str]:
    """Return the settings of `config.yaml` with their comments, by name."""
    text = _read_config_text("config").split("\nhydra:")[0].split("\n\n", 1)[1]
    lines_by_name: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if match := re.match(r"(\w+):", line):
            name = match[1]
        if line.strip():
            lines_by_name.setdefault(name, []).append(line)
    joined = {name: _extract_settings("\n".join(lines)) for name, lines in lines_by_name.items()}
    return {name: text for name, text in joined.items() if text}


def _read_config_text(path: str) -> str:
    file = find_config_file(path)
    return file.read_text(encoding="utf-8") if file else ""


def _get_header(text: str) -> list[str]:
    """Return the comment at the start of a YAML file."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line)
    return lines


def _extract_settings(text: str) -> str:
    """Return a YAML file's settings with comments, without header, targets, defaults lists and long texts."""
    lines = text.splitlines()[len(_get_header(text)) + text.startswith("# @package") :]
    hidden = ("_target_:", "_partial_:", "_operational_:", "defaults:", "- ")
    kept_lines: list[str] = []
    text_indent: int | None = None
    """Indentation of the long text that is currently skipped."""
    for line in lines:
        indentation = len(line) - len(line.lstrip())
        if text_indent is not None and (not line.strip() or indentation > text_indent):
            continue
        skips = re.search(r":\s*\|$", line.rstrip()) or line.lstrip().startswith("_operational_:")
        text_indent = indentation if skips else None
        if line.strip() and not line.lstrip().startswith(hidden):
            kept_lines.append(line)
    return "\n".join(kept_lines)
