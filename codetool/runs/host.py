"""Describe the machine of a run: Python, platform, processors, GPUs and package versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

NVIDIA_FOLDER = Path("/proc/driver/nvidia")
GPU_SECONDS = 5.0
PASSED_VARIABLES = ("PATH", "HOME", "XDG_CONFIG_HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""Environment variables that programs of the system, git and nvidia-smi, are started with."""


def describe_host() -> dict[str, Any]:
    """Return Python version, platform, CPU and GPUs as plain data."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "cpu": {"model": _read_cpu_model(), "cores": _count_cores()},
        "gpus": _list_gpus(),
    }


def read_package_versions() -> dict[str, str]:
    """Return the installed versions of required and optional packages by name, without development tools."""
    return dict(_read_package_versions())


@cache
def _read_package_versions() -> Mapping[str, str]:
    """Read the versions from disk, once a process: that takes as long as composing a configuration."""
    versions = {}
    for requirement in importlib.metadata.requires("codetool") or ():
        if re.search(r"extra\s*==\s*['\"]dev['\"]", requirement):
            continue
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return MappingProxyType(dict(sorted(versions.items())))


def _count_cores() -> int | None:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _read_cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


def _list_gpus() -> list[str]:
    """List the names of this machine's NVIDIA GPUs."""
    names = []
    for file in sorted(NVIDIA_FOLDER.glob("gpus/*/information")):
        try:
            match = re.search(r"^Model:\s*(.+)$", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        except OSError:
            continue
        names += [match[1].strip()] if match else []
    return names or _query_nvidia_smi()


def select_variables() -> dict[str, str]:
    """Return the environment variables that a program of the system needs; any other may hold a key."""
    return {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}


def _query_nvidia_smi() -> list[str]:
    if (executable := shutil.which("nvidia-smi")) is None:
        return []
    command = [executable, "--query-gpu=name", "--format=csv,noheader"]
    try:
        completed = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=GPU_SECONDS,
            check=False,
            env=select_variables(),
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in completed.stdout.splitlines() if line.strip()] if completed.returncode == 0 else []
