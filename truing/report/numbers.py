"""How a number is written for people: three significant digits, no more noise than that."""

import math

MINUS = "−"


def number(value: float) -> str:
    """Three significant digits; thousands with a thin space, tiny values as powers of ten."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else f"{sign(value)}∞"
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{sign(value)}{size:,.0f}".replace(",", "\u202f")
    if size < 1e-3:
        mantissa, exponent = f"{size:.2e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        return f"{sign(value)}{mantissa}·10^{int(exponent)}".replace("^-", f"^{MINUS}")
    digits = 3 - sum(size >= limit for limit in (1, 10))
    return f"{sign(value)}{size:.{digits}f}"


def brief(value: float) -> str:
    """As `number`, without zeros at the end: 0.1, not 0.100."""
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text and "^" not in text else text


def percent(value: float) -> str:
    """A share as a percentage with one decimal."""
    if not math.isfinite(value):
        return number(value)
    return f"{sign(value)}{abs(100 * value):.1f}".removesuffix(".0") + "\u202f%"


def signed(value: float) -> str:
    """As `brief`, with its sign also where it is positive."""
    return f"+{brief(value)}" if value > 0 else brief(value)


def duration(seconds: float) -> str:
    """Seconds as a person says them: "41 s", "3 min 05 s", "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def sign(value: float) -> str:
    """A true minus, or nothing."""
    return MINUS if value < 0 else ""
