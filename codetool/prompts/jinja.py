"""Jinja templates of prompts: sandboxed rendering, and checks of the names that a template uses."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes

from codetool.errors import ConfigError
from codetool.prompts.template_sandbox import BoundedEnvironment, limit_rendering

TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""Errors raised when a template is rendered that is invalid, or does not fit what it is given."""


@lru_cache(256)
def validate_template(source: str, allowed: frozenset[str] | None) -> str:
    """Return the template source unchanged. Raises ValueError if it is invalid or uses a forbidden name.

    A template may use the variables in `allowed`, or any variable if `allowed` is None, but no private attribute.
    """
    try:
        tree = create_environment().parse(source)
        unknown = meta.find_undeclared_variables(tree) - (allowed or frozenset())
    except TemplateSyntaxError as error:
        raise ValueError(f"not a Jinja template, line {error.lineno}: {error.message}") from error
    except RecursionError as error:
        raise ValueError("not a Jinja template: it is nested too deeply") from error
    if private := _find_private_attribute(tree):
        raise ValueError(f"uses the private attribute {private}; a template may use public ones of what it is given")
    if unknown and allowed is not None:
        names = ", ".join(sorted(allowed)) or "no names"
        raise ValueError(f"uses {', '.join(sorted(unknown))}; it may use {names}")
    return source


def _find_private_attribute(tree: nodes.Template) -> str | None:
    """Return the first attribute with a leading underscore that a template accesses in any way, or None."""
    found = [each.attr for each in tree.find_all(nodes.Getattr)]
    found += [str(each.arg.value) for each in tree.find_all(nodes.Getitem) if isinstance(each.arg, nodes.Const)]
    filters = (each for each in tree.find_all(nodes.Filter) if each.name in ("attr", "map") and each.node is not None)
    constants = (value for each in filters for value in [*each.args, *(pair.value for pair in each.kwargs)])
    found += [str(value.value) for value in constants if isinstance(value, nodes.Const)]
    return next((name for name in found if name.startswith("_")), None)


class PromptTemplate:
    """A compiled template."""

    def __init__(self, source: str) -> None:
        """Compile the source. Raises jinja2.TemplateSyntaxError if it is invalid."""
        self._source = source
        self._template = create_environment().from_string(source)

    def render(self, **values: object) -> str:
        """Render the template. Raises ConfigError, in one line, for an undefined name or a private attribute."""
        try:
            with limit_rendering():
                return self._template.render(**values)
        except TEMPLATE_ERRORS as error:
            begins = " ".join(self._source.split())[:60]
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"the prompt template that begins {begins!r} cannot be rendered: {reason}") from error


@lru_cache(maxsize=64)
def compile_template(source: str) -> PromptTemplate:
    """Compile a template, or return it from the cache of this process."""
    return PromptTemplate(source)


def create_environment() -> BoundedEnvironment:
    """Return a sandboxed Jinja environment with the filters `compact` and `line`; undefined names are errors.

    It is sandboxed because templates may come with an experiment of a third party.
    """
    made = BoundedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    made.filters.update(compact=_format_compact_json, line=_shorten_to_line)
    return made


def _format_compact_json(value: Any, limit: int) -> str:
    """Return the value as JSON without spaces, cut to `limit` characters."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= limit else text[:limit] + "…"


def _shorten_to_line(text: str, limit: int = 100) -> str:
    """Return the text on one line, cut at a word boundary to at most `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + "…"
