"""The setting `policy.diversity`: whether a policy reads the sibling candidates before it writes another one.

ToolLLM's depth-first search asks for another step with the earlier ones shown (arXiv 2307.16789); here every search
can. The candidates are drawn one after the other, and each prompt ends with the steps before it and their output.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

Diversity = Literal["none", "shown"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DiversitySettings:
    """The setting of a policy that makes sibling candidates differ. Options inherit it."""

    diversity: Diversity = "none"
    """`none`: the candidates after a path are drawn from one prompt. `shown`: they are drawn one after the other, and
    each prompt shows the steps before it and asks for a different one."""

    @model_validator(mode="after")
    def _require_words(self) -> Self:
        prompt: Any = getattr(self, "prompt", None)
        if self.diversity == "shown" and not getattr(prompt, "tried", "its own").strip():
            raise ValueError(
                "policy.diversity=shown: policy.prompt has no words for the steps before (policy.prompt.tried is "
                "empty). Choose policy_prompt@policy.prompt=stepwise or react, write policy.prompt.tried, or leave "
                "policy.diversity=none."
            )
        return self

    def irrelevant_settings(self) -> frozenset[str]:
        """Return the settings that do not change a result: `diversity` at its default."""
        return frozenset({"diversity"} if self.diversity == "none" else ())
