"""A tool, and paths to propose steps after."""

from codetool.types import Execution, Node, Parameter, Step, Tool

SEARCH = Tool(
    name="GET_search_movie",
    method="GET",
    server="https://api.themoviedb.org/3",
    path="/search/movie",
    summary="Search for movies by their title.",
    parameters=(
        Parameter("query", "query", "string", required=True, description="Text to search for."),
        Parameter("page", "query", "integer", default=1),
    ),
    response={"results": [{"id": "integer", "title": "string"}]},
)


def step_after(parent: Node | None, text: str, observation: str = "", **execution: str) -> Node:
    depth = parent.depth + 1 if parent else 1
    root = parent or Node(id="0")
    status = execution.pop("status", "ok")
    return Node(
        id=f"{parent.id}-1" if parent else "1",
        parent=root,
        depth=depth,
        step=Step(text=f"##Step {depth}: {text}", code="pass", finished=False),
        execution=Execution(status=status, observation=observation, **execution),  # type: ignore[arg-type]
    )
