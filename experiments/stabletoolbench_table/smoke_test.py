"""Smoke test of the table: SmolLM2 as policy and a rule as judge, on queries whose tools are recorded.

Usage: python experiments/stabletoolbench_table/smoke_test.py [--every 5] [--outputs DIR]

The test checks that everything runs; its numbers have no scientific value.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
LONG = 40  # characters of an answer that says something


def main() -> None:
    """Start the judge, write the queries and run the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=5, help="of the recorded queries every so many is asked")
    parser.add_argument("--outputs", type=Path, default=Path("outputs/stabletoolbench_smoke_test"))
    options = parser.parse_args()
    judge = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=judge.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        queries = Path(folder) / "recorded_paper_queries.json"
        select = [sys.executable, str(HERE / "recorded_queries.py"), "--subset", "paper", "--out", str(queries)]
        subprocess.run(select, check=True)
        queries.write_text(json.dumps(json.loads(queries.read_text())[:: options.every]))
        words = [
            "policy=smollm2",
            "policy.path=null",
            "policy.max_tokens=256",
            "policy.max_batch_size=96",
            "concurrency=32",
            "prm=smollm2",
        ]
        words += ["judge=codetool", "judge.model=script", f"judge.base_url=http://127.0.0.1:{judge.server_port}/v1"]
        words += [f"benchmark.queries={queries}", "logger=none"]
        command = f"python experiments/stabletoolbench_table/smoke_test.py --every {options.every}"
        table = [sys.executable, str(HERE / "paper_table.py"), "--outputs", str(options.outputs), "--command", command]
        sys.exit(subprocess.run([*table, *words], check=False).returncode)


class Judge(BaseHTTPRequestHandler):
    """An OpenAI-compatible server with a rule as judge: an answer is Solved if it is long and contains a digit."""

    def do_POST(self) -> None:
        """Return the verdict on the answer in the prompt."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = body["messages"][-1]["content"]
        answer = prompt.partition("Answer:\n")[2].partition("\n\nReply with")[0]
        points = any(letter.isdigit() for letter in answer) + (len(answer) >= LONG)
        label = ("Unsolved", "Unsure", "Solved")[points]
        text = json.dumps({"answer_status": label, "reason": f"{points} of the rule's two points"})
        message = {"index": 0, "message": {"role": "assistant", "content": text}}
        self._say({"choices": [message], "usage": {"prompt_tokens": len(prompt) // 4, "completion_tokens": 20}})

    def do_GET(self) -> None:
        """Return the only model."""
        self._say({"data": [{"id": "script"}]})

    def _say(self, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    main()
