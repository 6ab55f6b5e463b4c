"""Drop a PRM that neither reward nor search reads, so that the run equals one with `prm=none`; refuse a missing one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.interfaces import ReadsLatent
from codetool.prm.none import NoPRM


def drop_unused_prm(
    config: RunConfig, choices: Mapping[str, str], console: Console | None
) -> tuple[RunConfig, Mapping[str, str]]:
    """Return the settings with `prm=none` if neither reward nor search reads the latent reward, else unchanged.

    The PRM is then neither loaded nor asked, and the result has the same identity whichever PRM was named. One line on
    the console reports it. Raises ConfigError if the search cannot do without a PRM and there is none.
    """
    search = config.search
    if isinstance(config.prm, NoPRM):
        if isinstance(search, ReadsLatent) and search.needs_prm:
            raise ConfigError(
                f"search={choices['search']}: its settings need a PRM, and prm=none has none. Choose a PRM, such as "
                "prm=smollm2, or other settings of the search."
            )
        return config, choices
    if getattr(config.reward, "latent", None) != 0 or (isinstance(search, ReadsLatent) and search.reads_latent):
        return config, choices
    if console is not None:
        message = f"reward.latent=0: prm={choices['prm']} is neither loaded nor asked; the result is that of prm=none"
        console.print(message, markup=False, highlight=False, soft_wrap=True)
    none = {"_target_": f"{NoPRM.__module__}.{NoPRM.__name__}", "path": None}
    settings = config.settings | {"prm": none}
    return replace(config, prm=NoPRM(path=None), settings=settings), {**choices, "prm": "none"}
