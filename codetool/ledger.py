"""What a task costs: tokens of each model, steps, tool calls, FLOPs, USD, and the seconds of each component."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Ledger:
    """Cost of a task. Each amount belongs to one component, and no token is counted twice.

    What a cache spares is not reproducible, since other tasks may have filled it: `prm_tokens_computed`,
    `tokens_in_cached`, the tokens of the simulator, and which of the calls were recorded. All other amounts are.
    """

    tokens_in: int = 0
    """Prompt tokens of the policy; the prompt of candidates that are drawn together counts once."""
    tokens_out: int = 0
    """New tokens of the policy, over all candidates."""
    prm_tokens: int = 0
    """Prompt tokens of the PRM."""
    executions: int = 0
    """Steps run in the sandbox."""
    tool_calls: int = 0
    """Tool calls of these steps: the sum of the five numbers below."""
    usd: float | None = None
    """Price of the tokens in USD, of those models whose price is known; None if no model of the run has a price."""
    prm_tokens_computed: int = 0
    """Prompt tokens of the PRM that were not read from a cache, which other tasks may have filled."""
    tokens_in_cached: int = 0
    """Prompt tokens of the policy that were read from a prefix cache; 0 where a server does not tell."""
    answer_tokens_in: int = 0
    """Prompt tokens of the model that composes the final answer."""
    answer_tokens_out: int = 0
    """New tokens of the model that composes the final answer."""
    simulator_tokens_in: int = 0
    """Prompt tokens of the model that simulates tools, also for answers that could not be used."""
    simulator_tokens_out: int = 0
    """New tokens of the model that simulates tools."""
    judge_tokens_in: int = 0
    """Prompt tokens of the judge of final answers."""
    judge_tokens_out: int = 0
    """New tokens of the judge of final answers."""
    executions_ran: int = 0
    """Steps that ran and whose tool calls were all answered."""
    tool_calls_recorded: int = 0
    """Calls answered from recordings or published answers."""
    tool_calls_replica: int = 0
    """Calls answered by the embedded copy of the service."""
    tool_calls_simulated: int = 0
    """Calls answered by a model, now or in a recording."""
    tool_calls_live: int = 0
    """Calls answered by the live service."""
    tool_calls_unanswered: int = 0
    """Calls that no source answered."""
    flops: int | None = None
    """Floating-point operations of policy, PRM and answer: 2 × parameters × tokens, as if nothing were cached. None if
    the size of a model that read tokens is unknown."""

    def add(self, **amounts: int) -> Ledger:
        """Return the ledger with more of the named amounts."""
        return replace(self, **{name: getattr(self, name) + amount for name, amount in amounts.items()})


@dataclass(frozen=True, slots=True)
class ComponentSeconds:
    """Seconds of one component: `policy`, `prm`, `sandbox`, `tools`, `answer` or `judge`."""

    wall: float = 0.0
    """Seconds in which at least one of its calls was under way; those of the sandbox wait for tools meanwhile."""
    busy: float = 0.0
    """Sum over its calls, which may be at the same time; of the sandbox, the CPU time of the steps."""
