"""HTML made of elements: every text in it is escaped, unless it was made here.

A text may come from a peer: what is no printable character, which includes those that turn
the direction of writing, is spelled out. Nothing checks that elements are nested as HTML
wants them.
"""

from __future__ import annotations

import html

from keyfob_host.printable import printable

_VOID = ("meta", "br", "wbr", "input")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, /, *children: str | None, **attributes: str | bool | None) -> Markup:
    """``<tag …>children</tag>``. None and False leave a child or an attribute out.

    Of an attribute's name a final underscore is dropped (``class_``), others become dashes.
    """
    shown = "".join(
        f" {_name(key)}" if value is True else f' {_name(key)}="{_shown(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Markup(f"<{tag}{shown}>")
    return Markup(f"<{tag}{shown}>{together(*children)}</{tag}>")


def together(*children: str | None) -> Markup:
    """One after the other."""
    return Markup("".join(escaped(one) for one in children if one is not None))


def escaped(text: str) -> Markup:
    """``text`` as HTML that shows it; what is markup stays as it is."""
    return text if isinstance(text, Markup) else Markup(_shown(text))


def _shown(text: str) -> str:
    return html.escape(printable(text, keep="\n\t"))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
