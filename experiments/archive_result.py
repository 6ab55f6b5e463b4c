"""Store the result of a run as a JSON file: its command, configuration, data checksums and metrics.

Usage: python experiments/archive_result.py outputs/evaluate/FOLDER experiments/NAME/results/FILE.json "python run.py …"
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import yaml

from codetool.stages.report import read_checksums

NOT_KEPT = ("hydra", "outputs")
"""Parts of the configuration that stand in the repository, or that name folders of one machine."""


def main() -> None:
    """Read the run folder and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("command")
    options = parser.parse_args()
    text = (options.folder / "config.yaml").read_text(encoding="utf-8")
    config = {name: value for name, value in yaml.safe_load(text).items() if name not in NOT_KEPT}
    kept = {
        "command": options.command,
        "folder": options.folder.name,
        "made_from": read_checksums(options.folder),
        "seed": config["seed"],
        "policy": {name: value for name, value in config["policy"].items() if name not in NOT_KEPT},
        "search": config["search"],
        "reward": config["reward"],
        **json.loads((options.folder / "metrics.json").read_text(encoding="utf-8")),
    }
    options.file.parent.mkdir(parents=True, exist_ok=True)
    options.file.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
