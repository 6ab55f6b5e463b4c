"""Shell completion of options by Hydra, with the options of plug-ins.

`eval "$(codetool -sc install=bash)"` turns it on; the shell then asks with `-sc query=bash`, the line in `COMP_LINE`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import hydra

from codetool.config.config_sources import CONF, AddedFolders, parse_added_folders, register_added_folders
from codetool.config.overrides import COMPLETION_FLAGS, split_flags
from codetool.errors import ConfigError


def complete_shell(flags: Sequence[str], options: Sequence[str]) -> bool:
    """Answer the shell if a flag asks for its completion. Returns whether one did."""
    if not set(COMPLETION_FLAGS) & set(flags):
        return False
    try:
        AddedFolders.folders = tuple(parse_added_folders(*split_flags(os.environ.get("COMP_LINE", "").split())))
    except ConfigError:  # a folder whose name is not finished yet
        AddedFolders.folders = ()
    register_added_folders()
    sys.argv[1:] = [*flags, *options]
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(lambda _: None)()
    return True
