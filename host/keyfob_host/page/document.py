"""An HTML file that loads nothing: style, script and text are in it, and the browser is told.

Its Content Security Policy lets the very style and script of the page be used and nothing
else be loaded or run, so that what gets past the escaping of foreign text does nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from keyfob_host.page.markup import Markup, element


def document(title: str, body: Sequence[Markup | None], *, css: Path, script: Path) -> str:
    """The whole file: ``css`` after what all pages have of it, ``script`` at the end."""
    base = Path(__file__).with_name("base.css")
    style, code = base.read_text("utf-8") + css.read_text("utf-8"), script.read_text("utf-8")
    policy = (
        f"default-src 'none'; style-src {_hash_of(style)}; script-src {_hash_of(code)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
    )
    shown = element("body", *body, element("script", Markup(code)))
    return f"<!DOCTYPE html>\n{element('html', head, shown, lang='en')}\n"


def _hash_of(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
