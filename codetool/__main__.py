"""Command line: checks the overrides, composes the configuration and runs the stage."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from codetool.config.run_config import RunConfig

MULTIRUN_FLAGS = frozenset({"-m", "--multirun"})
PRINTING_FLAGS = frozenset(
    {"--cfg", "-c", "--info", "-i", "--hydra-help", "--help", "-h", "--version", "--shell-completion", "-sc"}
)
"""Flags that print something and run nothing."""
STOPPED_MESSAGE = "Stopped. What is finished is kept; the same command continues."
INTERRUPTED_EXIT_CODE = 130  # the shell's convention: 128 + SIGINT
NO_READER_EXIT_CODE = 141  # 128 + SIGPIPE: the reader of the output, such as `head`, has ended


def main() -> None:
    """Run the command line. Exits with 0, the exit code of a CodeToolError, 1 if a task failed, or 130 on Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems stop jobs so: end as Ctrl-C does
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if the shell has told us to ignore it
        signal.signal(signal.SIGINT, _stop_at_once)
    _check_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # do not fail on a terminal without Unicode
    if not os.environ.get("CODETOOL_DATA", "-"):
        del os.environ["CODETOOL_DATA"]  # shells write an empty value for an unset one
    try:
        _run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        _stop_at_once()
    except BrokenPipeError:
        _exit_without_reader()
    except OSError as error:
        _exit_with_error(str(error), 1)


def _stop_at_once(*_: object) -> NoReturn:
    """Say that the command was stopped, and exit without waiting for threads, such as a model's.

    Handles Ctrl-C until a stage or a sweep runs: libraries that are being imported, or that compose the configuration,
    turn a KeyboardInterrupt into errors of their own.
    """
    with contextlib.suppress(OSError):
        os.write(2, f"{STOPPED_MESSAGE}\n".encode())  # print() must not be entered twice, and may be running
    os._exit(INTERRUPTED_EXIT_CODE)


def _raise_on_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt from now on, so that what is running can end in order."""
    if signal.getsignal(signal.SIGINT) is _stop_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _check_streams() -> None:
    """Exit with a message if standard output is closed; open the null device for a closed standard input or error.

    Otherwise the next opened file would get the stream's number, and with it all printed text.
    """
    open_streams = [_is_open(number) for number in (0, 1, 2)]
    if all(open_streams):
        return
    for _ in range(open_streams.count(False)):
        os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    if not open_streams[1]:
        _exit_with_error("standard output is closed. Send it to a file, or to /dev/null.", 2)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _exit_without_reader() -> NoReturn:
    os._exit(NO_READER_EXIT_CODE)  # at once and without a message: nothing reads the output any more


def _run() -> None:
    # Imported here, since importing takes half a second in which Ctrl-C should be as quiet as later.
    import hydra

    from codetool.config import overrides
    from codetool.config.config_sources import CONF
    from codetool.config.plugins import describe_broken_plugins
    from codetool.config.shell_completion import complete_shell
    from codetool.config.stage_chain import gather_prefixed, parse_chain
    from codetool.errors import CodeToolError

    flags, options = overrides.split_flags(sys.argv[1:])
    options = overrides.remove_launcher_overrides(options, os.environ.get("LOCAL_RANK"))
    try:
        _check_current_folder()
        if sys.argv[1:2] == ["new"]:
            from codetool.config.invocation import name_program
            from codetool.scaffold.command import run_new

            run_new(sys.argv[2:], name_program())
            return
        if complete_shell(flags, options):
            return
        for line in describe_broken_plugins():
            print(f"warning: {line}", file=sys.stderr)
        if _print_information(flags, options):
            return
        options = gather_prefixed(options)
        if MULTIRUN_FLAGS & set(flags):
            sys.exit(1 if _run_sweep(options, flags) else 0)
        if parse_chain(options):
            sys.exit(1 if _run_chain(options, flags) else 0)
        [validated] = overrides.validate_all(overrides.compose_all(options, flags=flags))
        _check_outputs(validated)
    except CodeToolError as error:
        _exit_with_error(str(error), error.exit_code)
    sys.argv[1:] = [*flags, *options]  # Hydra's parser loses options on both sides of a flag
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(partial(_run_stage, validated))()


def _check_outputs(settings: RunConfig) -> None:
    from codetool.stages.run_folder import check_outputs_folder  # here: `--help` does not need it

    check_outputs_folder(settings.outputs)


def _run_sweep(options: Sequence[str], flags: Sequence[str]) -> int:
    """Run a multirun and return the number of cells that failed. Raises CodeToolError."""
    from codetool.errors import ConfigError
    from codetool.sweeps.sweep import run_sweep

    flags = [flag for flag in flags if flag not in MULTIRUN_FLAGS]
    if other_flags := _remove_config_dir_flags(flags):
        raise ConfigError(f"{' '.join(other_flags)}: leave it out, or leave out -m: they do not go together.")
    return run_sweep(options, flags, _raise_on_interrupt)


def _run_chain(options: Sequence[str], flags: Sequence[str]) -> int:
    """Run a chain of stages and return the number of tasks that failed. Raises CodeToolError."""
    from rich.console import Console

    from codetool.errors import ConfigError
    from codetool.stages.run_overrides import check_chain, run_overrides

    if other_flags := _remove_config_dir_flags(flags):
        raise ConfigError(f"{' '.join(other_flags)}: does not go together with a chain. Name one stage: stage=collect.")
    check_chain(options, flags)
    _raise_on_interrupt()
    return sum(outcome.failed for outcome in run_overrides(options, flags, Console(stderr=True)).values())


def _check_current_folder() -> None:
    """Raise ConfigError if the current folder has been deleted: relative paths would then lead nowhere."""
    from codetool.errors import ConfigError

    try:
        Path.cwd()
    except OSError as error:
        raise ConfigError("the current folder does not exist any more. Change to another one.") from error


def _print_information(flags: Sequence[str], options: Sequence[str]) -> bool:
    """Print the help or version if a flag asks for it. Returns whether it did.

    Raises ConfigError for flags of Hydra that would replace the configuration.
    """
    from codetool.config.help import format_help, format_version
    from codetool.config.invocation import name_program
    from codetool.errors import ConfigError

    names = {flag.split("=")[0] for flag in flags}
    if names & PRINTING_FLAGS and hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` ends as other programs do
    if refused := names & {"--config-path", "-cp", "--config-name", "-cn"}:
        raise ConfigError(
            f"{', '.join(sorted(refused))}: CodeTool has one configuration. Add options of yours with --config-dir "
            "FOLDER or hydra.searchpath=[FOLDER], and choose a preset with experiment=NAME."
        )
    if names & {"--help", "-h"}:
        print(format_help(options, flags).replace("python run.py", name_program()))
    elif "--version" in names:
        print(format_version())
    else:
        return False
    return True


def _remove_config_dir_flags(flags: Sequence[str]) -> list[str]:
    """Return the flags without `--config-dir` and its value."""
    other_flags: list[str] = []
    for position, flag in enumerate(flags):
        previous = flags[position - 1] if position else ""
        if flag.split("=")[0] not in ("--config-dir", "-cd") and previous not in ("--config-dir", "-cd"):
            other_flags.append(flag)
    return other_flags


def _run_stage(settings: RunConfig, _: DictConfig) -> None:
    """Run the stage of validated settings, which were composed from what Hydra composes again."""
    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console

    from codetool.config.invocation import get_chosen_options
    from codetool.errors import CodeToolError
    from codetool.stages.load_stages import run_stage

    choices = get_chosen_options(HydraConfig.get())
    try:
        _raise_on_interrupt()
        failed = run_stage(settings, choices, Console(stderr=True))
        sys.stdout.flush()
    except BrokenPipeError:  # here, because Hydra would print its own traceback
        _exit_without_reader()
    except (CodeToolError, OSError) as error:
        _exit_with_error(str(error), getattr(error, "exit_code", 1))
    if failed:
        sys.exit(1)


def _exit_with_error(message: str, code: int) -> NoReturn:
    from codetool.credentials.masking import mask_text

    print(f"error: {mask_text(message)}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
