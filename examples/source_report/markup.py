"""Elements of HTML and SVG as text."""

from __future__ import annotations

from html import escape


def element(name: str, *children: str, **attributes: str | float) -> str:
    """One element; its children are markup already: pass text through `text()`.

    Attributes are escaped. `class_` is written `class` and `stroke_width` is written `stroke-width`; numbers
    are rounded to a tenth, which is less than a pixel.

    >>> element("text", text("a < b"), x=1.25, class_="tick")
    '<text x="1.2" class="tick">a &lt; b</text>'
    """
    opening = "".join(f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    return f"<{name}{opening}>{''.join(children)}</{name}>"


def text(content: object) -> str:
    """Anything as text that is safe between tags."""
    return escape(str(content), quote=False)


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
