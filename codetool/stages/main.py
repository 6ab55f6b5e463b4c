"""The command line: checks the words, composes the configuration and hands over to the stage."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from omegaconf import DictConfig

MULTIRUN = frozenset({"-m", "--multirun"})
INTERRUPTED = 130  # the shell's convention: 128 + SIGINT


def main() -> None:
    """Run the command line. Exits with 0, the exit code of a CodeToolError, 1 if a task failed, or 130 on Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how batch systems stop a job: end as Ctrl-C does
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without Unicode is no reason to die
    try:
        _run()
    except KeyboardInterrupt:
        print("Stopped. What is finished is kept; the same command continues.", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)  # at once: a second Ctrl-C may have left a model's thread running
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _run() -> None:
    # Imported here, since importing takes half a second in which Ctrl-C should be as quiet as later.
    import hydra

    from codetool.errors import CodeToolError, ConfigError
    from codetool.stages import words
    from codetool.stages.help import help_text

    flags, options = words.sorted_out(sys.argv[1:])
    try:
        if "--help" in flags or "-h" in flags:
            print(help_text())
            return
        multirun = bool(MULTIRUN & set(flags))
        configs = words.check(options, multirun=multirun)
        validated = words.all_valid(configs)
        if multirun:
            from codetool.stages.sweep import sweep

            if others := [flag for flag in flags if flag not in MULTIRUN]:
                raise ConfigError(f"{' '.join(others)}: leave it out, or leave out -m: they do not go together.")
            first = validated[0]
            sys.exit(1 if sweep(options, first.stage, first.outputs, dry_run=first.dry_run) else 0)
    except CodeToolError as error:
        _stop(str(error), error.exit_code)
    sys.argv[1:] = [*flags, *options]  # Hydra's parser loses options on both sides of a flag
    hydra.main(version_base="1.3", config_path=str(words.CONF), config_name="config")(_job)()


def _job(config: DictConfig) -> None:
    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console

    from codetool.config import validate
    from codetool.errors import CodeToolError
    from codetool.stages.collect import collect
    from codetool.stages.evaluate_prm import evaluate_prm
    from codetool.stages.judge import judge
    from codetool.stages.report import report
    from codetool.stages.run import run
    from codetool.stages.serve_prm import serve_prm
    from codetool.stages.serve_tools import serve_tools
    from codetool.stages.train import train

    choices = {str(group): str(option) for group, option in HydraConfig.get().runtime.choices.items()}
    try:
        settings = validate(config)
        stages = {
            "collect": collect,
            "train": train,
            "evaluate_prm": evaluate_prm,
            "serve_prm": serve_prm,
            "serve_tools": serve_tools,
            "judge": judge,
        }
        if (stage := stages.get(settings.stage)) is not None:
            failed = stage(settings, choices, Console(stderr=True))
        elif settings.stage == "report":
            failed = report(settings, Console(stderr=True))
        else:
            failed = run(settings, choices, Console(stderr=True)).failed
    except (CodeToolError, OSError) as error:  # here, because Hydra would print a traceback of its own
        _stop(str(error), getattr(error, "exit_code", 1))
    if failed:
        sys.exit(1)


def _stop(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
