"""What a run is executed on: Python, platform, processors, GPUs and the packages that matter."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

NVIDIA = Path("/proc/driver/nvidia")
GPU_SECONDS = 5.0


def describe_host() -> dict[str, Any]:
    """Python, platform, CPU and GPUs."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "cpu": {"model": _cpu_model(), "cores": _cores()},
        "gpus": _gpus(),
    }


def package_versions() -> dict[str, str]:
    """Installed versions of what this package needs or can use, by name; development tools are left out."""
    versions = {}
    for requirement in importlib.metadata.requires("codetool") or ():
        if re.search(r"extra\s*==\s*['\"]dev['\"]", requirement):
            continue
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return dict(sorted(versions.items()))


def _cores() -> int | None:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """Names of the GPUs of this machine; those of NVIDIA only."""
    names = []
    for file in sorted(NVIDIA.glob("gpus/*/information")):
        try:
            found = re.search(r"^Model:\s*(.+)$", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        except OSError:
            continue
        names += [found[1].strip()] if found else []
    return names or _gpus_by_tool()


def _gpus_by_tool() -> list[str]:
    if (tool := shutil.which("nvidia-smi")) is None:
        return []
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=GPU_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []
