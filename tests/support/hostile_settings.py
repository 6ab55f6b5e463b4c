"""Command lines with hostile values for every setting of every stage and option, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hydra import compose
from hypothesis import strategies as st
from omegaconf import DictConfig

from codetool.config.config_sources import initialize_hydra, list_options

STAGES = (
    "evaluate",
    "collect",
    "train",
    "evaluate_prm",
    "judge",
    "serve_prm",
    "serve_tools",
    "report",
    "dashboard",
    "compare",
    "recheck",
)
VALUES = (
    "null", "''", '""', "", "-1", "0", "1", "-0", "0.5", "inf", "-inf", "nan", "1e400", "1e308", "-1e-400", "true", "no",
    "99999999999999999999", "-99999999999999999999", "9" * 400, "1_000", "0x10", "1e3", "4294967296", "9223372036854775807",
    "[]", "[1]", "[null]", "[a,b]", "[[[[]]]]", "{}", "{a: 1}", "{a: {b: null}}", "{_target_: os.system}",
    "{_target_: subprocess.Popen, args: [true]}", "{_target_: 3}", "{_target_: null}", "[{_target_: builtins.eval}]",
    "{_target_: codetool.search.greedy.Greedy, depth: 1}", "{_args_: [1]}", "{1: 2}", "{null: 1}", "{true: a}",
    "../x", "/dev/zero", "/dev/stdin", "/proc/self/mem", "/etc/passwd", "/", ".", "~", "a/b/c", "x" * 5000, "/" + "y" * 300,
    "${oc.env:HOME}", "${oc.env:NOT_SET_HERE}", "${oc.env:NOT_SET_HERE,null}", "${seed}", "${policy}", "${nowhere}",
    "${nowhere.at.all}", "${}", "${", "$", "???", "${oc.select:policy}", "${oc.decode:'['}", "${hydra:job}", "${foo:1}",
    "${oc.create:{a:1}}", "${oc.dict.keys:policy}", "${..}", "${.}", "${now:%Y}", "\\", "'", '"', "a'b", "#", "a b", "a=b", "a,b",
    "1,2", "choice(1,2)", "range(1,3)", "range(0,1000000000)", "interval(0,1)", "glob(*)", "glob([)", "sort(1,2)",
    "int(x)", "float(inf)", "str(1)", "json_str('{')", "json_str('{\"a\": 1}')", "extend_list(1)", "shuffle(1,2)",
    "\u00e9\u4e2d\U0001f600", "\u202e", "\u0301", "\ufeff", "\x01", "\x1b[31m", "\n", "a\nb", "\t", "\r", "\udcff", "\ud800",
    "beam", "tmdb", "openai", "none", "smollm2", "prm/none", "/prm/none", "search", "{{ query }}", "{{ 1/0 }}",
    "{% for i in range(99999999) %}x{% endfor %}", "{{ cycler.__init__ }}", "{%", "http://", "http://[::1", "http://a b/",
    "http://user:pass@host/v1", "https://h/v1?api_key=abc", "file:///etc/passwd", "ftp://x", "127.0.0.1:99999",
    "2024-01-01", "!!python/object/apply:os.system [x]", "&a [*a]", "yes", "off", "1:30", "<<", "@", "`", "%", "*",
)  # fmt: skip
"""Values as a user types them behind `name=`: of wrong types, sizes, forms and characters."""
FORMS = ("{name}={value}",) * 8 + ("~{name}", "~{name}={value}", "+{name}={value}", "++{name}={value}", "{name}.x={value}",
         "+{name}.x={value}", "{name}@x={value}", "{name}@policy={value}", "{name}:x={value}", "{name}", "={value}", "{name}==",
         "/{name}={value}", "{name}/x={value}", "~{name}.x", "{name}[0]={value}", "+{name}._target_={value}",
         "+{name}._partial_=true", "+{name}._args_=[1]", "{name}._target_={value}")  # fmt: skip
"""Forms of overrides, ordinary ones more often."""


@dataclass(frozen=True)
class Place:
    """A setting, and the choices of options under which it exists."""

    choices: tuple[str, ...]
    name: str


@lru_cache
def list_places() -> tuple[Place, ...]:
    """List every setting and block of every stage, with every option of every group, each name once."""
    places: dict[str, Place] = {}
    with initialize_hydra():
        variants = [(f"stage={stage}",) for stage in STAGES]
        variants += [
            (f"{group}={option}",)
            for group in ("benchmark", "policy", "prm", "reward", "search", "simulator", "logger")
            for option in list_options(group)
        ]
        variants += [
            ("policy=openai", f"policy_prompt@policy.prompt={option}") for option in list_options("policy_prompt")
        ]
        variants += [("stage=judge", f"judge={option}") for option in list_options("judge")]
        variants += [
            ("stage=train", f"{group}={option}") for group in ("trainer", "tuning") for option in list_options(group)
        ]
        variants += [("stage=evaluate", f"answer={option}") for option in list_options("answer")]
        for choices in variants:
            for name in _list_names(compose("config", list(choices))):
                places.setdefault(name, Place(choices, name))
    return tuple(places.values())


def _list_names(config: Any, prefix: str = "") -> Iterator[str]:
    for key in config:
        yield f"{prefix}{key}"
        node = config._get_node(key)
        if (
            isinstance(node, DictConfig)
            and not node._is_none()
            and not node._is_interpolation()
            and not node._is_missing()
        ):
            yield from _list_names(node, f"{prefix}{key}.")


GROUPS = (
    "stage", "benchmark", "policy", "prm", "reward", "search", "simulator", "logger", "experiment", "answer", "judge",
    "trainer", "tuning", "policy_prompt@policy.prompt", "prm_prompt@prm.prompt", "cache@tools.recorded_answers",
    "tool_proxy@tools.tool_proxy", "replica@tools.replica", "sampling@policy", "endpoint@policy", "hydra/launcher",
    "hydra/sweeper", "hydra/job_logging", "hydra.run.dir", "hydra.mode", "hydra.searchpath", "hydra.verbose", "hydra.job.env_set",
    "hydra.job.chdir", "hydra.output_subdir", "hydra.job.name", "hydra.help.template", "hydra", "defaults",
)  # fmt: skip


def overrides() -> st.SearchStrategy[list[str]]:
    """Draw a command line: the choices of a setting, and one to three hostile overrides."""
    places = list_places()
    names = [place.name for place in places]
    values = st.one_of(
        st.sampled_from(VALUES),
        st.sampled_from(VALUES),
        st.sampled_from(names),
        st.text(max_size=20).map(lambda text: text.replace("\0", "")),
    )

    def render(place: Place, form: str, value: str) -> tuple[tuple[str, ...], str]:
        return place.choices, form.format(name=place.name, value=value)

    group_places = st.sampled_from([Place((), group) for group in GROUPS])
    one = st.builds(render, st.one_of(*[st.sampled_from(places)] * 5, group_places), st.sampled_from(FORMS), values)
    return st.lists(one, min_size=1, max_size=2).map(
        lambda drawn: [
            *dict.fromkeys(choice for choices, _ in drawn[:1] for choice in choices),
            *(text for _, text in drawn),
        ]
    )
