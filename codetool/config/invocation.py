"""Facts of this command from Hydra: the chosen options and the command as it was typed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from codetool.config.override_errors import get_key
from codetool.config.overrides import parse_value
from codetool.runs.identity import TARGET_KEY


def get_chosen_options(hydra: Any) -> dict[str, str]:
    """Return the chosen option of each group of a `HydraConf`, by `group` or `group@package`.

    An override of an option's class, `search._target_=my.Search`, is a choice too.
    """
    choices = {str(group): str(option) for group, option in hydra.runtime.choices.items()}
    class_overrides = [override for override in hydra.overrides.task if get_key(override).endswith(f".{TARGET_KEY}")]
    return choices | {get_key(override): parse_value(override) for override in class_overrides}


def get_command() -> list[str]:
    """Return the command as it was typed, without its program's folder; in a sweep, the command of the cell."""
    program = Path(sys.argv[0]).name
    start = ["python", program] if program.endswith(".py") else [program]
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else sys.argv[1:]
    return [*start, *overrides]
