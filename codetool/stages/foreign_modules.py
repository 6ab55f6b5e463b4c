"""Refuse to import a module only because a recorded `config.yaml` names it: importing a module runs its code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from codetool.config.plugins import is_declared
from codetool.config.setting_checks import TARGET_KEY
from codetool.errors import MissingError
from codetool.runs.identity import PACKAGE_PREFIX


def refuse_foreign_module(settings: Any) -> None:
    """Raise MissingError if recorded settings name a class of a module that is neither ours nor imported already.

    A run folder of somebody else may name any module. Those of plug-ins are accepted.
    """
    for item in settings.values() if isinstance(settings, Mapping) else settings if isinstance(settings, list) else ():
        refuse_foreign_module(item)
    target = settings.get(TARGET_KEY) if isinstance(settings, Mapping) else None
    if target is None or str(target).startswith(PACKAGE_PREFIX):
        return
    if str(target).rpartition(".")[0] not in sys.modules and not is_declared(str(target)):
        raise MissingError(
            f"config.yaml names {target}, which is no part of CodeTool. If you trust it, install its package, "
            "name it with hydra.searchpath=[pkg://PACKAGE.conf], or name its folder of options with --config-dir DIR."
        )
