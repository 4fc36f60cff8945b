"""Renders Jinja templates with escaping; pages fetch nothing."""

from __future__ import annotations

from typing import Any

import jinja2

# Templates lie beside the code that fills them: `render("reports/html/base.html.j2")`.
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("pipeline", "."),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **context: Any) -> str:
    """A page from a template, named by its path within `pipeline`.

    Every value is escaped but for `markupsafe.Markup`, such as `figures.inline_svg` gives.
    """
    return _ENVIRONMENT.get_template(template).render(**context)
