"""Launchers and sweepers of Hydra that are installed as extras of CodeTool."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {
    "hydra/launcher=joblib": ("joblib", "hydra_plugins.hydra_joblib_launcher"),
    "hydra/launcher=submitit_local": ("submitit", "hydra_plugins.hydra_submitit_launcher"),
    "hydra/launcher=submitit_slurm": ("submitit", "hydra_plugins.hydra_submitit_launcher"),
    "hydra/launcher=ray": ("ray", "hydra_plugins.hydra_ray_launcher"),
    "hydra/sweeper=optuna": ("optuna", "optuna"),
}
"""The extra that each option needs, and the module by which it is recognized."""


def explain_missing_extra(group: str, option: object) -> str | None:
    """Say how to install what an option needs; None if it is installed or no option of an extra."""
    extra, module = EXTRAS.get(f"{group}={option}", ("", ""))
    if not module or _is_installed(module):
        return None
    install = f"pip install 'codetool[{extra}]', or in a checkout pip install -e '.[{extra}]'"
    return f"{group}={option}: is not installed. It is an extra: {install}."


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:  # no plug-in of Hydra is there
        return False
