"""Makes every character of a model's text seen: what would hide, steer or break is spelled out."""

import re

# C0 but tab and newline, DEL and C1; marks that hide or turn the writing direction; lone halves
# of surrogate pairs (no UTF-8 can hold them); tags. Joiners (U+200C, U+200D) are honest spelling.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """The text with hidden characters as control pictures or `⟨U+202E⟩`; newlines stay.

    This is no HTML escaping: that is done once, where the page is put together.
    """
    return _HIDDEN.sub(_spelled, text.replace("\r\n", "\n"))


def _spelled(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"⟨U+{code:04X}⟩"


def shortened(text: str, limit: int) -> tuple[str, int]:
    """The first `limit` characters, and how many were left out."""
    return text[:limit], max(0, len(text) - limit)
