"""Pages from Jinja templates, escaped, with nothing to fetch from anywhere."""

from __future__ import annotations

from typing import Any

import jinja2

from pipeline.formatting import digits

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


def quantity(value: float, unit: str = "") -> str:
    """A number of three digits with a metric prefix: `quantity(1.5e12, "FLOPs")` is
    `1.5 TFLOPs`.
    """
    for prefix, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{digits(value / size)} {prefix}{unit}"
    return f"{digits(value)} {unit}".rstrip()


_ENVIRONMENT.filters["quantity"] = quantity
