"""One table of colours for every figure and the page around it, in light and in dark.

The hues are Okabe and Ito's (2008, "Color universal design"), told apart with any kind of colour
blindness; darkened for white paper and lightened for a dark one until each stands out by 4.5:1.
Whatever a colour says is said a second time by a dash, a mark or a word.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """One role in both schemes, as `#rrggbb`."""

    light: str
    dark: str


# Roles of data.
SERIES = {
    "chosen": Colour("#0066a6", "#5ab8f0"),
    "rejected": Colour("#b84a00", "#ff9a57"),
    "run": Colour("#00735a", "#3fcf9f"),
    "before": Colour("#5f6978", "#98a2b0"),
    "after": Colour("#00735a", "#3fcf9f"),
    "held_out": Colour("#8a3a70", "#e795c6"),
}

# Runs beside each other; dashes and marks say it a second time.
RUNS = (
    Colour("#0066a6", "#5ab8f0"),
    Colour("#b84a00", "#ff9a57"),
    Colour("#00735a", "#3fcf9f"),
    Colour("#8a3a70", "#e795c6"),
    Colour("#6b5d00", "#d9c84a"),
    Colour("#4b5bb5", "#a3b1ff"),
    Colour("#7a4a2b", "#d9a884"),
    Colour("#5f6978", "#98a2b0"),
)

# Roles of the page.
PAGE = {
    "ground": Colour("#f6f7f6", "#111416"),
    "card": Colour("#ffffff", "#1a1e21"),
    "sunken": Colour("#f0f2f1", "#14181a"),
    "text": Colour("#1b2024", "#e7eaec"),
    "muted": Colour("#57606a", "#a3adb7"),
    "line": Colour("#dfe3e2", "#2d3338"),
    "grid": Colour("#e8ebea", "#2a3035"),
    "accent": Colour("#00735a", "#3fcf9f"),
    "good": Colour("#00735a", "#3fcf9f"),
    "bad": Colour("#b3261e", "#ff8f85"),
    "warn": Colour("#8a5300", "#f0b955"),
    "warn_ground": Colour("#fff6e3", "#2a2213"),
}


def css_variables(scheme: str) -> str:
    """`--chosen: #0066a6; ...` of one scheme ("light" or "dark"), for a rule of a style sheet."""
    runs = {f"run_{number}": colour for number, colour in enumerate(RUNS, 1)}
    table = {**PAGE, **SERIES, **runs}
    return " ".join(
        f"--{role.replace('_', '-')}: {getattr(colour, scheme)};" for role, colour in table.items()
    )
