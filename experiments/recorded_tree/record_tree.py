"""Record the search tree that `notebooks/search_tree.ipynb` explains.

Usage: python experiments/recorded_tree/record_tree.py [--out notebooks/recorded]

The run uses the real sandbox, replica, beam search and SmolLM2 as an untrained PRM. Only the policy is replaced: a chat
server returns the candidates in `candidates.yaml`, so that the tree contains instructive cases.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from codetool.runs import journal

ROOT = Path(__file__).parents[2]
CANDIDATES = Path(__file__).with_name("candidates.yaml")
NOWHERE = [{"says": "I do not know how to go on.", "finished": True}]


def step(entry: Mapping[str, Any], k: int) -> str:
    """Return step k in the format of the transcript."""
    code = f"Python Code:\n```python\n{entry['code'].strip()}\n```\n" if "code" in entry else ""
    return f"##Step {k}: {entry['says']}\n{code}" + ("[All Finished]\n" if entry.get("finished") else "")


def proposals(tree: Mapping[str, Any], messages: list[dict[str, str]], n: int) -> list[str]:
    """Return the n candidates after the steps that the messages contain."""
    taken = [message["content"] for message in messages if message["role"] == "assistant"]
    here = tree if tree["query"] in messages[0]["content"] else {}
    for written in taken if here else ():
        here = next(entry for entry in here["then"] if f": {entry['says']}" in written)
    then = here.get("then", NOWHERE)
    return [step(then[i % len(then)], len(taken) + 1) for i in range(n)]


class Handler(BaseHTTPRequestHandler):
    """Answer `POST /v1/chat/completions` with the candidates of the tree."""

    def __init__(self, tree: Mapping[str, Any], *arguments: Any) -> None:
        """Serve one connection."""
        self._tree = tree
        super().__init__(*arguments)

    def do_POST(self) -> None:
        """Answer with all candidates in one response."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = proposals(self._tree, asked["messages"], asked.get("n", 1))
        choices = [{"index": i, "message": {"role": "assistant", "content": text}} for i, text in enumerate(texts)]
        body = json.dumps({"choices": choices}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing, since the run has its own log."""


def main() -> None:
    """Run the search, and keep the settings and the lines of the task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "notebooks/recorded")
    options = parser.parse_args()
    tree = yaml.safe_load(CANDIDATES.read_text(encoding="utf-8"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, tree))
    Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(command(server.server_port), cwd=scratch, check=True)
        [folder] = Path(scratch).glob("outputs/evaluate/*")
        keep(tree["query"], folder, options.out)
    server.shutdown()


def keep(query: str, folder: Path, out: Path) -> None:
    """Copy the files and lines that the notebook needs from a run folder."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "config.yaml", out)
    [result] = (line for line in journal.read_records(folder / "results.jsonl") if query in line["query"])
    [grown] = (line for line in journal.read_records(folder / "trees.jsonl") if line["task_id"] == result["task_id"])
    journal.atomic_write(out / "results.jsonl", [journal.encode_record(result)])
    journal.atomic_write(out / "trees.jsonl", [journal.encode_record(grown)])


def command(port: int) -> list[str]:
    """Return the command of the run: the tour, with three candidates for each of two paths.

    The PRM runs in float32, so that scores do not depend on which candidates share a batch.
    """
    return [
        sys.executable, str(ROOT / "run.py"), "benchmark.split=tour", "logger=none",
        "prm=smollm2", "prm.precision=float32", "search=beam", "search.width=2", "search.n=3", "search.depth=3",
        "policy=openai", f"policy.base_url=http://127.0.0.1:{port}/v1", "policy.model=stand-in",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
