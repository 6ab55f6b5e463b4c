"""Drop the PRM of a run whose reward has no latent term, so that the run equals one with `prm=none`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.prm.none import NoPRM


def drop_unused_prm(
    config: RunConfig, choices: Mapping[str, str], console: Console | None
) -> tuple[RunConfig, Mapping[str, str]]:
    """Return the settings with `prm=none` if the weight of the latent reward is 0, else unchanged.

    The PRM is then neither loaded nor asked, and the result has the same identity whichever PRM was named. One line on
    the console reports it.
    """
    if isinstance(config.prm, NoPRM) or getattr(config.reward, "latent", None) != 0:
        return config, choices
    if console is not None:
        message = f"reward.latent=0: prm={choices['prm']} is neither loaded nor asked; the result is that of prm=none"
        console.print(message, markup=False, highlight=False, soft_wrap=True)
    none = {"_target_": f"{NoPRM.__module__}.{NoPRM.__name__}", "path": None}
    settings = config.settings | {"prm": none}
    return replace(config, prm=NoPRM(path=None), settings=settings), {**choices, "prm": "none"}
