"""The command line: checks the words, composes the configuration and hands over to the stage."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from codetool.config import validate
from codetool.errors import CodeToolError
from codetool.stages import words
from codetool.stages.run import run

INTERRUPTED = 130  # the shell's convention: 128 + SIGINT


def main() -> None:
    """Run the command line. Exits with 0, the exit code of a CodeToolError, 1 if a task failed, or 130 on Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how batch systems stop a job: end as Ctrl-C does
    flags, options = words.sorted_out(sys.argv[1:])
    sys.argv[1:] = [*flags, *options]  # Hydra's parser loses options on both sides of a flag
    try:
        for config in words.check(options):
            validate(config)
        hydra.main(version_base="1.3", config_path=str(words.CONF), config_name="config")(_job)()
    except CodeToolError as error:
        _stop(error)
    except KeyboardInterrupt:
        print("Stopped. Finished tasks are kept; the same command continues.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _job(config: DictConfig) -> None:
    choices = {str(group): str(option) for group, option in HydraConfig.get().runtime.choices.items()}
    try:
        failed = run(validate(config), choices, Console(stderr=True))
    except CodeToolError as error:  # here, because Hydra would print a traceback of its own
        _stop(error)
    if failed:
        sys.exit(1)


def _stop(error: CodeToolError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
