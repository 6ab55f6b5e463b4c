"""Measurement: peak memory of the host process, or of one of our servers, under hostile input.

Usage: python experiments/performance/memory_attacks.py [--tasks 256] [--only NAME ...] [--out FILE]

Each attack runs in a process of its own. Its memory is read when everything is imported and opened, and its peak at the
end, both from /proc (`VmRSS`, `VmHWM`). Attacks on the host are made by `--tasks` tasks at the same time. Hostile
servers run in another process, so that their memory does not count. `--only` names attacks of the table below.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import logging
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hostile_files import attack_checker, attack_documents, attack_journal
from hostile_requests import attack_prm_server, attack_tool_server
from hostile_servers import attack_by_chat, attack_by_live_answers, attack_scores
from hostile_steps import (
    ENDLESS_CALLS,
    HALF_FRAMES,
    LONG_BODIES,
    LONG_OUTPUT,
    LONG_URLS,
    MANY_ARGUMENTS,
    attack_by_step,
)
from memory_meter import Attack, Meter, read_memory

RESULTS = Path(__file__).parent / "results" / "memory_attacks.json"
ATTACKS: dict[str, tuple[str, Attack]] = {
    "long_urls": ("300 calls with a URL of 220 kB", attack_by_step(LONG_URLS)),
    "long_bodies": ("200 calls with a body of 60 kB", attack_by_step(LONG_BODIES)),
    "arguments": ("200 calls with arguments of 7 kB", attack_by_step(MANY_ARGUMENTS)),
    "endless_calls": ("calls without end", attack_by_step(ENDLESS_CALLS)),
    "half_frames": ("300 kB of a message of 320 kB", attack_by_step(HALF_FRAMES)),
    "long_output": ("300 MB printed", attack_by_step(LONG_OUTPUT)),
    "large_live": ("2 live answers of 9 MiB", attack_by_live_answers("large")),
    "allowed_live": ("2 live answers of 7 MiB", attack_by_live_answers("allowed")),
    "huge_chat": ("chat server: replies of 50 MiB", attack_by_chat("huge")),
    "large_chat": ("chat server: replies of 7 MiB", attack_by_chat("large")),
    "packed_chat": ("chat server: 300 MiB in 300 kB of gzip", attack_by_chat("packed")),
    "huge_scores": ("PRM server: replies of 50 MiB", attack_scores),
    "prm_announced": ("serve_prm: 30 MiB with Content-Length", attack_prm_server("prm_announced")),
    "prm_chunked": ("serve_prm: 30 MiB in chunks", attack_prm_server("prm_chunked")),
    "prm_allowed": ("serve_prm: 16 MiB in chunks, no JSON", attack_prm_server("prm_allowed")),
    "prm_tiny_chats": ("serve_prm: 500,000 empty chats", attack_prm_server("prm_tiny_chats")),
    "tool_server": ("serve_tools: 30 MiB in chunks", attack_tool_server),
    "journal": ("a journal's line of 1 GiB", attack_journal),
    "documents": ("OpenAPI: 10^6 operations, 10^11 values by anchors", attack_documents),
    "checker": ("answers of 10^6 items and digits", attack_checker),
}


def run_attack(name: str, tasks: int) -> None:
    """Run one attack in this process and print its figures."""
    logging.disable(logging.WARNING)
    meter, start = Meter(), time.monotonic()
    asyncio.run(ATTACKS[name][1](meter, tasks))
    peak = read_memory("VmHWM")
    figures = {"before": meter.before, "peak": peak, "added": peak - meter.before, "seconds": time.monotonic() - start}
    print(json.dumps({**{key: round(value, 1) for key, value in figures.items()}, "outcome": meter.outcome}))
    sys.stdout.flush()
    os._exit(0)  # threads of the attack may be left


def main() -> None:
    """Run the attacks one after the other, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=256)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.attack:
        run_attack(arguments.attack, arguments.tasks)
    else:
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """Run the attacks in processes of their own, print the table and write the figures."""
    rows: dict[str, Any] = {}
    print(f"{'attack':50} {'before':>7} {'peak':>7} {'added':>7} {'s':>6}  outcome")
    for name in arguments.only or ATTACKS:
        command = [sys.executable, __file__, "--attack", name, "--tasks", str(arguments.tasks)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        lines = run.stdout.strip().splitlines()
        row = json.loads(lines[-1]) if lines else {"outcome": run.stderr.strip()[-200:]}
        rows[name] = {"attack": ATTACKS[name][0], **row}
        numbers = " ".join(f"{row.get(key, float('nan')):7.0f}" for key in ("before", "peak", "added"))
        print(f"{ATTACKS[name][0]:50} {numbers} {row.get('seconds', 0):6.1f}  {row['outcome'][:150]}", flush=True)
    content = {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["python", "experiments/performance/memory_attacks.py", *sys.argv[1:]]),
        "python": platform.python_version(),
        "tasks": arguments.tasks,
        "unit": "MiB",
        "attacks": rows,
    }
    arguments.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
