"""Foreign text is shown so that it commands no terminal and hides nothing."""

from __future__ import annotations

import ast
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob_host.printable import printable

# Cc controls, Cf bidirectional and zero-width among them, Cs surrogates, Zl and Zp lines.
_COMMANDING = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
ANY_TEXT = st.text(st.characters(categories=None) | st.sampled_from("\x1b\x9b\u202e\u200b\ud800\n"))


@given(ANY_TEXT)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not any(unicodedata.category(one) in _COMMANDING for one in printable(text))


@given(ANY_TEXT, st.sampled_from(["\n", "\n\t", ""]))
def test_what_is_kept_and_what_is_printable_stays_as_it_is(text: str, keep: str) -> None:
    harmless = "".join(one for one in text if one.isprintable() or one in keep)
    assert printable(harmless, keep=keep) == harmless
    assert {one for one in printable(text, keep=keep) if not one.isprintable()} <= set(keep)


@given(ANY_TEXT)
def test_nothing_disappears_but_is_spelled_out(text: str) -> None:
    shown = printable(text.replace("\\", ""))
    quoted = shown.replace('"', '\\"')
    assert ast.literal_eval(f'"{quoted}"') == text.replace("\\", "")


@given(ANY_TEXT, st.integers(1, 20))
def test_it_is_never_longer_than_its_limit_and_says_where_it_was_cut(text: str, limit: int) -> None:
    shown = printable(text, limit=limit)
    assert len(shown) <= limit
    assert shown == printable(text) or shown.endswith("…")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2J\x07\x9b\tb", r"a\x1b[2J\x07\x9b\tb"), ("─ ümläut …", "─ ümläut …"),
        ("a\x1b[2J", r"a\x1b[2J"), ("\u202egnp", r"\u202egnp"), ("a\u200bb", r"a\u200bb"),
        ("\ud83d", r"\ud83d"), ("a\r\nb", r"a\r\nb"), ("\u2028", r"\u2028"), ("\xa0", r"\xa0"),
        ("ümläut 日本 🔑", "ümläut 日本 🔑"), ("\U000e0041", r"\U000e0041"),
    ],
)  # fmt: skip
def test_controls_bidirectional_and_zero_width_characters_are_spelled_out(
    text: str, shown: str
) -> None:
    assert printable(text) == shown
