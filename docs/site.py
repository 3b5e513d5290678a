"""What the site of the documentation is given by the code: recipe pages, reference, notebooks.

mkdocs calls these functions (`hooks` in mkdocs.yml); nothing that they make lies in the repository.
"""

import json
import re
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

import truing
from truing.jobs.objectives import curve_of
from truing.recipes._recipe import SHELF
from truing.recipes.shelf import Entry, shelf
from truing.report.explain_page import explain_figures

ROOT = Path(__file__).parent.parent
PLOTLY = "assets/plotly.min.js"
# In the order in which one reads; what is not there yet is left out, what is not named comes last.
PAGES = {
    "Quickstart": "index.md",
    "Choosing an objective": "choosing.md",
    "Data": "data.md",
    "Training": "training.md",
    "Around a run": "around.md",
    "References": "references.md",
    "Evaluation": "evaluation.md",
    "Making pairs": "pairs.md",
    "Rounds": "rounds.md",
    "Scaling": "scaling.md",
    "Coming from elsewhere": "migration.md",
    "Objectives": "objectives.md",
    "The engine": "engine.md",
    "The world inside": "world.md",
    "Studies": "studies.md",
}
# Formulas and what a notebook has shown are read whole, on a telephone too.
STYLE = ".md-typeset .language-text pre > code { white-space: pre-wrap; }\n"
API = {
    "truing": (
        "train",
        "sft",
        "check",
        "sweep",
        "evaluate",
        "compare",
        "generate",
        "export",
        "build_pairs",
    ),
    "truing.core": (),
    "truing.objectives": (),
    "truing.data": (),
    "truing.engine": (),
    "truing.references.policies": (),
    "truing.evaluation": (),
    "truing.responses": (),
    "truing.errors": (),
    "truing.testing": (),
}
_CLEAR, _WORDS, _LINES = "rgba(0,0,0,0)", "#808691", "rgba(128,134,145,0.3)"
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")
_REFERENCE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:truing|tests|examples|benchmarks)/[^)]*\)")


def on_config(config: Any) -> Any:
    """The table of contents, from what is there."""
    docs = Path(config.docs_dir)
    named = {title: page for title, page in PAGES.items() if (docs / page).is_file()}
    others = sorted(path.name for path in docs.glob("*.md") if path.name not in PAGES.values())
    config.nav = [
        *({title: page} for title, page in named.items()),
        *others,
        {"Recipes": ["recipes/index.md", *(f"recipes/{entry.name}.md" for entry in shelf())]},
        {"Notebooks": [f"notebooks/{path.stem}.md" for path in notebooks()]},
        {"API": [f"api/{name}.md" for name in API]},
        {"Decisions": [f"decisions/{path.name}" for path in sorted(docs.glob("decisions/*.md"))]},
    ]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Pages that are made of code."""
    from mkdocs.structure.files import File
    from plotly.offline import get_plotlyjs

    made = {PLOTLY: get_plotlyjs(), "assets/site.css": STYLE, "recipes/index.md": _catalogue()}
    made |= {f"recipes/{entry.name}.md": recipe_page(entry) for entry in shelf()}
    made |= {f"notebooks/{path.stem}.md": notebook_page(path) for path in notebooks()}
    made |= {f"api/{name}.md": api_page(name) for name in API}
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """What links to a file of the repository that is no page is its name alone."""
    del config, files
    outside = _OUTSIDE if "/" not in page.file.src_uri else _REFERENCE
    return outside.sub(r"\1", markdown)


def notebooks() -> list[Path]:
    """The executed examples."""
    return sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def _catalogue() -> str:
    rows = [f"| [{e.name}]({e.name}.md) | {_cell(e.idea)} | {_cell(e.source)} |" for e in shelf()]
    head = ["# Recipes", "", "| recipe | what it is for | source |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows]) + "\n"


def recipe_page(entry: Entry) -> str:
    """Formula, knobs, needs, limits and curves of a recipe."""
    found, curve = curve_of(entry.example)
    parts = [
        f"# {entry.name}",
        entry.idea,
        "```text\n" + "\n".join(entry.formula) + "\n```",
        f"Source: {entry.source}.",
        "## Knobs",
        _knobs(entry),
        "## Reads",
        "\n".join(f"* {sentence}" for sentence in found.sentences or ("pairs of responses",)),
    ]
    if entry.limits:
        lines = (f"* `{other}` at `{knobs}`" for other, knobs in entry.limits)
        parts += ["## Is", "\n".join(lines)]
    parts += ["## In the shell", f'```sh\ntruing train objective="{entry.example}" ...\n```']
    if curve.gap:
        parts += ["## Loss and slopes", f"Of `{entry.example}`, one pair."]
        parts += [_drawn(figure.plot, figure.caption) for figure in explain_figures(curve)]
    home = SHELF[entry.name].function.__module__
    parts += [
        "## In words",
        f"::: {home}.{entry.name}\n    options:\n      heading_level: 3",
    ]
    return "\n\n".join(parts) + "\n"


def _knobs(entry: Entry) -> str:
    if not entry.knobs:
        return "None."
    rows = [
        f"| `{knob.name}` | {_cell(knob.kind)} | {_default(knob.default)} |" for knob in entry.knobs
    ]
    return "\n".join(["| knob | is | default |", "| --- | --- | --- |", *rows])


def _default(text: str | None) -> str:
    return "must be given" if text is None else f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _drawn(figure: Any, caption: str) -> str:
    # One picture for the light page and the dark one.
    axes = {"gridcolor": _LINES, "linecolor": _LINES}
    seen = go.Figure(figure).update_layout(
        paper_bgcolor=_CLEAR, plot_bgcolor=_CLEAR, font_color=_WORDS, margin_b=64
    )
    drawn = (
        seen.update_xaxes(**axes)
        .update_yaxes(**axes)
        .to_html(
            full_html=False,
            include_plotlyjs=f"../{PLOTLY}",
            default_height="360px",
            config={"displayModeBar": False, "responsive": True},
        )
    )
    return f"{drawn}\n\n*{caption}*"


def notebook_page(path: Path) -> str:
    """A notebook as a page: its words, its code, and what the code last showed."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(filter(None, map(_noted, cells))) + "\n"


def _noted(cell: dict[str, Any]) -> str:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return text
    shown = "".join("".join(_shown(output)) for output in cell["outputs"])
    said = f"\n\n```text\n{shown.rstrip()}\n```" if shown.strip() else ""
    return f"```py\n{text}\n```{said}"


def _shown(output: dict[str, Any]) -> list[str]:
    return output.get("text") or output.get("data", {}).get("text/plain") or []


def api_page(name: str) -> str:
    """The public names of a room."""
    chosen = API[name]
    if not chosen:
        return f"# {name}\n\n::: {name}\n    options:\n      show_root_heading: false\n"
    there = [one for one in chosen if one in truing.__all__]
    homes = {one: getattr(truing, one).__module__ for one in there}
    # Shown by the name that users import, whichever file it lives in.
    called = "::: {}.{}\n    options:\n      heading: {}.{}\n      toc_label: {}"
    shown = (called.format(homes[one], one, name, one, one) for one in there)
    return f"# {name}\n\n" + "\n\n".join(shown) + "\n"
