"""What `--help` prints: the configuration folder itself, with the comments that explain every value."""

from __future__ import annotations

from textwrap import indent

from codetool.stages.words import CONF

INNER_GROUPS = ("judging", "prompt", "replica", "sampling")  # chosen by other options, not by users
HELP = """CodeTool: experiments on process-supervised, stepwise programmatic tool use by LLMs.

    python run.py benchmark=tmdb search=beam search.width=2 search.n=4 \\
        policy=openai policy.base_url=http://localhost:8000/v1 policy.model=NAME

Choose an option with group=option, set a value with name=value. The same command again resumes, fresh=true starts
over, dry_run=true only checks; -m runs every combination of comma lists; --cfg job prints the configuration.
Keys come from the environment: OPENAI_API_KEY, TMDB_API_KEY, WANDB_API_KEY. Data lies where CODETOOL_DATA points."""


def help_text() -> str:
    """What `--help` prints: every option of every group and every setting, with the comments of its YAML."""
    parts = [HELP, _comments((CONF / "config.yaml").read_text().split("\nhydra:")[0].split("\n\n", 1)[1])]
    for folder in sorted(path for path in CONF.iterdir() if path.is_dir() and path.name not in INNER_GROUPS):
        for file in sorted(folder.glob("*.yaml")):
            parts.append(f"{folder.name}={file.stem}\n" + indent(_comments(file.read_text()), "    "))
    return "\n\n".join(parts)


def _comments(text: str) -> str:
    """The settings of a YAML file, without targets, defaults lists and the texts of prompts."""
    hidden = ("_target_:", "defaults:", "- ", "# @package")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(hidden)]
    inside_text = False
    kept = []
    for line in lines:
        inside_text = inside_text and (not line.strip() or line.startswith(" "))
        kept += [] if inside_text or not line.strip() else [line]
        inside_text = inside_text or line.rstrip().endswith("|")
    return "\n".join(kept)
