"""Renders Jinja templates with escaping; pages fetch nothing and run no script but their own.

The base template has a Content-Security-Policy that allows styles, pictures within the page, and
the one script of the block `player`, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import jinja2
from markupsafe import Markup

from sta.text import displayed, printable


def _finalized(value: Any) -> Any:
    """A value as a template shows it: text of others without control characters and keys."""
    return displayed(value) if isinstance(value, str) and not isinstance(value, Markup) else value


# Templates lie beside the code that fills them: `render("reports/html/base.html.j2")`.
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("pipeline", "."),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    finalize=_finalized,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **context: Any) -> str:
    """A page from a template, named by its path within `pipeline`.

    Every value is escaped but for `markupsafe.Markup`, such as `figures.inline_svg` gives; the page
    holds no control character, also where Markup had one.
    """
    page = _ENVIRONMENT.get_template(template).render(**context)
    return "\n".join(map(printable, page.split("\n")))


def _script_hash(script: str) -> str:
    """What a Content-Security-Policy calls a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


_ENVIRONMENT.filters["script_hash"] = _script_hash
