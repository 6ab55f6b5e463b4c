"""The Protocols that CodeTool's replaceable parts implement: benchmarks, policies, PRMs, tools, sandboxes, strategies.

An *option* is the class that a YAML file names: a frozen settings object whose constructor does no I/O. An option that
needs a resource (a client, a model, a process) has `open()`, an asynchronous context manager for the live object.
Import every Protocol from this package; the modules group them.
"""

from codetool.interfaces.evaluation import AnswerOption, Benchmark, Judge, LightningLogger, LoggerOption, PrintedAnswer
from codetool.interfaces.models import (
    LogProbabilityPolicy,
    ModelServers,
    Policy,
    PolicyOption,
    Priced,
    PRMOption,
    ProcessRewardModel,
    Prompt,
    ScoringPrompt,
    Servable,
    SizedModel,
    TokenPolicy,
    Trainable,
    TrainablePRM,
)
from codetool.interfaces.sandbox import CallTool, Executor, ExecutorOption, Interpreter
from codetool.interfaces.search import (
    AbandoningSearch,
    Expand,
    ReadsLatent,
    ReadsLogProbability,
    Reward,
    SearchStrategy,
)
from codetool.interfaces.tools import Examples, Simulator, ToolSession, ToolSessionFactory, ToolsOption, ToolSource
from codetool.interfaces.training import Objective

__all__ = [
    "AbandoningSearch",
    "AnswerOption",
    "Benchmark",
    "CallTool",
    "Examples",
    "Executor",
    "ExecutorOption",
    "Expand",
    "Interpreter",
    "Judge",
    "LightningLogger",
    "LogProbabilityPolicy",
    "LoggerOption",
    "ModelServers",
    "Objective",
    "PRMOption",
    "Policy",
    "PolicyOption",
    "Priced",
    "PrintedAnswer",
    "ProcessRewardModel",
    "Prompt",
    "ReadsLatent",
    "ReadsLogProbability",
    "Reward",
    "ScoringPrompt",
    "SearchStrategy",
    "Servable",
    "Simulator",
    "SizedModel",
    "TokenPolicy",
    "ToolSession",
    "ToolSessionFactory",
    "ToolSource",
    "ToolsOption",
    "Trainable",
    "TrainablePRM",
]
