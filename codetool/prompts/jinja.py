"""Jinja templates of prompts: sandboxed rendering, and checks of the names that a template uses."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from codetool.errors import ConfigError


def validate_template(source: str, allowed: frozenset[str] | None) -> str:
    """The template. Raises ValueError if it is none, or uses a private attribute or a name that it is not given.

    Without `allowed` names any name may be used.
    """
    try:
        tree = create_environment().parse(source)
        unknown = meta.find_undeclared_variables(tree) - (allowed or frozenset())
    except TemplateSyntaxError as error:
        raise ValueError(f"not a Jinja template, line {error.lineno}: {error.message}") from error
    if private := _find_private_attribute(tree):
        raise ValueError(f"uses the private attribute {private}; a template may use public ones of what it is given")
    if unknown and allowed is not None:
        names = ", ".join(sorted(allowed)) or "no names"
        raise ValueError(f"uses {', '.join(sorted(unknown))}; it may use {names}")
    return source


def _find_private_attribute(tree: nodes.Template) -> str | None:
    """The first attribute with a leading underscore that a template names, whichever way it does."""
    found = [each.attr for each in tree.find_all(nodes.Getattr)]
    found += [str(each.arg.value) for each in tree.find_all(nodes.Getitem) if isinstance(each.arg, nodes.Const)]
    filters = (each for each in tree.find_all(nodes.Filter) if each.name in ("attr", "map") and each.node is not None)
    constants = (value for each in filters for value in [*each.args, *(pair.value for pair in each.kwargs)])
    found += [str(value.value) for value in constants if isinstance(value, nodes.Const)]
    return next((name for name in found if name.startswith("_")), None)


class PromptTemplate:
    """A compiled template."""

    def __init__(self, source: str) -> None:
        """Compile it. Raises jinja2.TemplateSyntaxError if it is no template."""
        self._source = source
        self._template = create_environment().from_string(source)

    def render(self, **values: object) -> str:
        """The text. Raises ConfigError, in one line, for an undefined name or a private attribute."""
        try:
            return self._template.render(**values)
        except (TemplateError, OverflowError) as error:
            begins = " ".join(self._source.split())[:60]
            raise ConfigError(f"the prompt template that begins {begins!r} cannot be rendered: {error}") from error


@lru_cache(maxsize=64)
def compile_template(source: str) -> PromptTemplate:
    """The compiled template. Compiled once a process."""
    return PromptTemplate(source)


def create_environment() -> ImmutableSandboxedEnvironment:
    """How templates are read: `compact` and `line` filter, a block leaves no blank line, undefined names are errors.

    A template comes with an experiment of somebody else, so it reaches what it is given and nothing more.
    """
    made = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    made.filters.update(compact=_format_compact_json, line=_shorten_to_line)
    return made


def _format_compact_json(value: Any, limit: int) -> str:
    """JSON without blanks, cut at `limit` characters."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= limit else text[:limit] + "…"


def _shorten_to_line(text: str, limit: int = 100) -> str:
    """The text on one line, cut at a word before `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + "…"
