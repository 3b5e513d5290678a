"""Puts pages together: every text made visible and escaped, every script known by its hash."""

import base64
import hashlib
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from truing.report.colours import css_variables
from truing.report.numbers import MINUS, brief, number, signed
from truing.report.visible import shortened, visible

ASSETS = Path(__file__).parent / "assets"
_LONGEST_TEXT = 6000


def render(template: str, scripts: tuple[str, ...], **context: Any) -> str:
    """A whole page, free of anything that would be fetched.

    Scripts run only if their hash stands in the page's content security policy, so a text that
    slipped through as markup still could not act.

    Args:
        template: a file of the assets that extends `shell.html.j2`.
        scripts: JavaScript sources, put in once, in this order.
        context: what the template reads.
    """
    return (
        _environment()
        .get_template(template)
        .render(
            **context,
            version=metadata.version("truing"),
            style=Markup((ASSETS / "page.css").read_text(encoding="utf-8")),
            colours_light=Markup(css_variables("light")),
            colours_dark=Markup(css_variables("dark")),
            scripts=[Markup(script) for script in scripts],
            script_hashes=Markup(" ".join(map(_hash, scripts)) or "'none'"),
        )
    )


def script_files(*names: str) -> tuple[str, ...]:
    """Scripts of the assets, in this order."""
    return tuple((ASSETS / name).read_text(encoding="utf-8") for name in names)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        signed=signed,
        spoken=spoken,
        capped=_capped,
        shortened=_shortened,
        fact_number=_fact_number,
        sentence=_sentence,
        brief=brief,
    )
    return environment


def spoken(key: object) -> str:
    """A key as words: "num_rows" is "num rows"; what is no bare name stays as it is."""
    text = str(key)
    return text.replace("_", " ") if re.fullmatch(r"[A-Za-z0-9_]+", text) else text


def _finalize(value: Any) -> Any:
    """Runs on whatever a template prints, before it is escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _shortened(text: str) -> tuple[str, int]:
    return shortened(text, _LONGEST_TEXT)


def _capped(text: str) -> str:
    kept, left_out = _shortened(text)
    return f"{kept} … ({left_out} more characters)" if left_out else kept


def _fact_number(value: float, exact: bool) -> str:  # noqa: FBT001 (a filter's argument)
    """Settings as they are typed; counts with thin spaces."""
    if not exact and isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}".replace(",", "\u202f").replace("-", MINUS)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
