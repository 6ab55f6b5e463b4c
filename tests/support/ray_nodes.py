"""A Ray cluster of several nodes on this machine, in a process of its own that ends with whoever has started it.

    python ray_nodes.py NODES

prints the address of the cluster, and then a line for each command on its standard input: `add` starts a further node,
`remove` kills the node that was started last. The first node is that of drivers, which holds no worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

START_SECONDS = 120.0
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
"""Variables of the nodes, and of the commands that join them."""
MARK_VARIABLE = "CODETOOL_TEST_NODES"
ACTOR_TITLE = "ray::_Actor"
"""Begin of the title of a worker's process."""


class RayNodes:
    """The nodes, as a test sees them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = self._read()

    def add(self) -> None:
        self._tell("add")

    def remove(self) -> None:
        """Kill the node that was started last, with what runs on it."""
        self._tell("remove")

    def list_workers(self) -> list[psutil.Process]:
        """The processes of workers on all nodes."""
        found = []
        for process in psutil.Process(self._process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and "".join(process.cmdline()).startswith(ACTOR_TITLE):
                    found.append(process)
        return found

    def wait_until_idle(self, seconds: float) -> list[psutil.Process]:
        """The workers that are left after so many seconds; returns early if there is none."""
        deadline = time.monotonic() + seconds
        while (workers := self.list_workers()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return workers

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the nodes have ended"
        return line


@contextmanager
def start_nodes(count: int) -> Iterator[RayNodes]:
    """The cluster while the context is open."""
    command = [sys.executable, __file__, str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | ENVIRONMENT | {"PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:  # fmt: skip
        yield RayNodes(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)


def main(count: int, commands: IO[str], answers: IO[str]) -> None:
    """Run the cluster until the end of the commands."""
    from ray.cluster_utils import Cluster

    from codetool.runs.worker_reaper import end_workers_if_killed, kill_marked_processes, remove_temporary_files

    folder = tempfile.mkdtemp(prefix="ray-nodes-")
    with end_workers_if_killed(MARK_VARIABLE, [folder]):
        mark = f"{MARK_VARIABLE}={os.environ[MARK_VARIABLE]}"
        try:
            small = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "temp_dir": folder, **small})
            small.pop("include_dashboard")
            nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(count)]
            cluster.wait_for_nodes()
            print(cluster.address, file=answers, flush=True)
            for command in commands:
                if command.strip() == "add":
                    nodes.append(cluster.add_node(num_cpus=1, **small))
                else:
                    cluster.remove_node(nodes.pop(), allow_graceful=False)
                print("done", file=answers, flush=True)
            cluster.shutdown()
        finally:
            kill_marked_processes(mark)
            remove_temporary_files([folder])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.stdin, os.fdopen(os.dup(1), "w"))
