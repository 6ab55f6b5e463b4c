"""Methods of the paper's StableToolBench table, as options of `run.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A row of the table."""

    name: str
    title: str
    words: tuple[str, ...]


COMPOSED = ("answer=policy",)
SAID = ("answer=printed",)
"""ReAct and DFSDT end by saying their answer themselves."""
PAPER = ("search=greedy", "search.n=2", "search.depth=5", *COMPOSED)
METHODS = (
    Method("whole_program", "the whole program in one pass", ("experiment=baseline_whole_program", *COMPOSED)),
    Method("react", "ReAct-style chain", ("experiment=baseline_react", *SAID)),
    Method("dfsdt", "DFSDT", ("experiment=baseline_dfsdt", *SAID)),
    Method("codetool", "CodeTool: greedy, n = 2, both rewards", PAPER),
    Method("without_spot", "without on-the-spot reward", (*PAPER, "reward=without_spot")),
    Method("without_latent", "without latent reward", (*PAPER, "reward=without_latent")),
)
"""In the order of the table."""
