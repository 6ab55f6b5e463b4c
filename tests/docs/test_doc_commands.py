"""Every command of the documentation is valid; those that need no hardware, key or server are run on small limits."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from chat_server import ChatServer
from doc_commands import LAB, PAGES, ROOT, Command, read_commands
from doc_runs import PagePolicy, PageRun
from scripted_policy import scripted_server

from codetool.config.help import format_help
from codetool.config.overrides import compose_all, split_flags, validate_all
from codetool.config.stage_chain import gather_prefixed, parse_chain
from codetool.config.sweeper_params import read_sweeper
from codetool.scaffold.command import run_new
from codetool.stages.run_overrides import check_chain
from codetool.sweeps.sweep import check_cells

ELSEWHERE = {ROOT / "docs/plugins.md": ROOT / "tests/test_installation.py"}
"""Pages whose commands another test runs, in an environment and a folder of their own."""
WITH_COMMANDS = [page for page in PAGES if page not in ELSEWHERE and read_commands(page)]
PAGES_TO_RUN = [
    page
    for page in WITH_COMMANDS
    if any(command.not_run is None and command.program == "codetool" for command in read_commands(page))
]
RUN_BY_CI = {"pip", "pytest", "mkdocs"}
"""Programs that `.ci/run` runs with the words of the pages."""
PRINTING = {"--help", "-h", "--version"}
OTHER_PROGRAMS = {
    "pip", "pytest", "mkdocs", "git", "cd", "export", "curl", "hf", "wandb", "tensorboard", "vllm", "sbatch", "srun",
    "ray", "torchrun", "trl", "llamafactory-cli", "verl.trainer.main_ppo",
}  # fmt: skip
"""Programs of others, whose options these tests do not know."""


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_valid(page: Path, tmp_path: Path) -> None:
    for command in read_commands(page):
        try:
            check(command.replace(LAB, str(tmp_path / LAB)))
        except Exception as error:
            raise AssertionError(f"{command}\n{error}") from error


def check(command: Command) -> None:
    """Raise an error if the program or one of its words does not exist."""
    if command.program == "codetool":
        check_own(command)
    elif command.program == "pip":
        check_extras(command)
    elif command.program.endswith(".py"):
        files = {ROOT / command.program, (ROOT / command.program).with_name("options.py")}
        text = "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
        options = [word.split("=")[0] for word in command.arguments if word.startswith("--")]
        unknown = [option for option in options if f'"{option}"' not in text]
        assert not unknown, f"{command.program} has no option {unknown}"
    else:
        assert command.program in OTHER_PROGRAMS, "an unknown program"


def check_own(command: Command) -> None:
    """Compose and validate the settings, as a run does before it starts."""
    flags, overrides = split_flags(command.arguments)
    overrides = gather_prefixed(overrides)
    if command.arguments[:1] == ("new",):
        run_new(command.arguments[1:], "codetool")  # the commands after it use what it writes
    elif PRINTING & set(flags):
        format_help(overrides, flags)
    elif {"-m", "--multirun"} & set(flags):
        flags = [flag for flag in flags if flag not in ("-m", "--multirun")]
        check_cells(read_sweeper(drop_missing_launcher(overrides), flags)[1], flags)
    elif parse_chain(overrides):
        check_chain(overrides, flags)
    else:
        validate_all(compose_all(overrides, flags=flags))


def drop_missing_launcher(overrides: Sequence[str]) -> list[str]:
    """The words without those of a launcher of an extra that is not installed: only its package knows its settings."""
    for launcher in (word.partition("=")[2] for word in overrides if word.startswith("hydra/launcher=")):
        if find_spec(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher") is None:
            return [word for word in overrides if not word.startswith(("hydra/launcher", "hydra.launcher."))]
    return list(overrides)


def check_extras(command: Command) -> None:
    """Every extra that a command installs is one of this package."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for word in command.arguments:
        if word.startswith((".[", "codetool[")):
            extras = word.partition("[")[2].rstrip("]").split(",")
            assert not [extra for extra in extras if extra not in known]


def test_commands_of_every_form_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\nA=1 python run.py a=b \\\n  c=[d,e]  # comment\npip install x && codetool --help\n```\n\n"
        "<!-- not run: a reason -->\n\n```bash\nother 'two words'\n```\n```text\nnone\n```\n"
    )
    commands = read_commands(page)
    assert [each.program for each in commands] == ["codetool", "pip", "codetool", "other"]
    assert commands[0].arguments == ("a=b", "c=[d,e]") and commands[0].environment == {"A": "1"}
    assert commands[3].words == ("other", "two words")
    assert [each.not_run for each in commands] == [None, None, None, "a reason"]


@pytest.mark.parametrize("words", ["search=beem", "search.widht=2", "-m search=beam,beem", "--help serch"])
def test_a_wrong_word_in_a_command_is_noticed(words: str) -> None:
    command = Command(ROOT / "README.md", 1, {}, ("python", "run.py", *words.split()), None)
    with pytest.raises(Exception, match="beem|widht|serch"):
        check(command)


def test_a_script_option_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(AssertionError, match="--chek"):
        check(Command(ROOT / "README.md", 1, {}, ("python", "experiments/readme_table.py", "--chek"), None))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny_models

    folder = tmp_path_factory.mktemp("tiny")
    tiny_models.save("llama", folder)
    return folder


@pytest.fixture(scope="module")
def page_policy() -> Iterator[ChatServer]:
    with scripted_server(policy=PagePolicy()) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_TO_RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_run_in_its_order(
    page: Path, tmp_path: Path, page_policy: ChatServer, model: Path
) -> None:
    runs = PageRun(tmp_path / "outputs", page_policy, model)
    for command in read_commands(page):
        if command.not_run is None and command.program == "codetool":
            runs.run(command)


def test_a_command_that_is_not_run_says_why() -> None:
    others = [command for page in WITH_COMMANDS for command in read_commands(page) if command.program not in RUN_BY_CI]
    assert not [str(command) for command in others if command.program != "codetool" and command.not_run is None]


def test_a_page_whose_commands_run_elsewhere_is_read_there() -> None:
    assert not [page for page, test in ELSEWHERE.items() if page.name not in test.read_text(encoding="utf-8")]
