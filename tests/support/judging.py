"""Settings of generative PRMs as YAML gives them, and paths for them to judge."""

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from codetool.prm.generative import GenerativePRM
from codetool.types import Execution, Node, Step, Task, Tool

CONF = Path(__file__).parents[2] / "conf"
TOOL = Tool(name="GET_a", method="GET", server="http://films", path="/search/movie", summary="Search for movies")
ROOT = Node(id="0")


def option(name: str, *overrides: str) -> Any:
    """The option as a run would have it, overrides without `prm.` before them."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        words = [f"+prm={name}", *(f"prm.{each}" for each in overrides)]
        return instantiate(compose(overrides=words).prm, _convert_="all")


def tiny(folder: Path, *overrides: str) -> GenerativePRM:
    """A PRM of the model in `folder`, computed in float32 on the CPU."""
    made = option("qwen7b", f"path={folder}", "precision=float32", "device=cpu", *overrides)
    assert isinstance(made, GenerativePRM)
    return made


def task(query: str = "Who directed it?") -> Task:
    return Task(id=query, query=query, tools=(TOOL,))


def steps(*texts: str) -> list[Step]:
    return [Step(f"##Step: {text}", f"print({text!r})", finished=False) for text in texts]


def after(text: str, observation: str, parent: Node = ROOT) -> Node:
    ran = Execution("ok", observation)
    return Node(id=f"{parent.id}-1", parent=parent, depth=parent.depth + 1, step=steps(text)[0], execution=ran)
