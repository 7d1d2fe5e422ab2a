"""Templates with variables: ``{org}`` in a profile or a plan, ``--var org=abc123`` beside it.

A template has names in single braces and nothing else that is special. A file may give
defaults in its table ``[variables]``. What a template needs and nobody gives is refused
with the field, the file and the line; so is what is given and no template uses.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.strict_toml import refuse_field

# What templates have without anybody giving it: the broker's name or device's id, and the
# beginning of an authority's key identifier.
BUILT_IN = ("name", "key_id")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_BRACES = re.compile(r"\{([^{}]*)\}|[{}]")
_MAX_VALUE = 253  # a DNS name; what a field takes is checked where it is used
_NAME_RULE = "a small letter, then small letters, digits and _"


def parse_variables(texts: Iterable[str]) -> dict[str, str]:
    """``["org=abc123", …]`` of the command line; error ``cert.variable-bad``."""
    values: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not _NAME.fullmatch(name) or name in values:
            why = "given twice" if name in values else f"wanted: NAME=VALUE, NAME {_NAME_RULE}"
            raise _bad(f"--var {text!r}: {why}", name)
        values[name] = check_value(name, value)
    return values


def check_value(name: str, value: str) -> str:
    """``value``, unless no template can take it: error ``cert.variable-bad``."""
    if name in BUILT_IN:
        raise _bad(f"{name}={value[:80]!r}: {{{name}}} is filled by keyfob itself", name)
    is_text = value.isprintable() and value.strip() == value and not set("{}") & set(value)
    if is_text and 0 < len(value) <= _MAX_VALUE:
        return value
    raise _bad(f"{name}={value[:80]!r}: wanted: 1 to {_MAX_VALUE} printable characters, "
               "no braces, no space at either end", name)  # fmt: skip


def placeholders(template: str) -> list[str]:
    """The names in braces, in order; a brace that belongs to none is given as it stands."""
    return [found[1] if found[1] is not None else found[0] for found in _BRACES.finditer(template)]


def fill(template: str, values: Mapping[str, str]) -> str:
    """``template`` with each name of ``values`` replaced; others stay."""

    def replaced(found: re.Match[str]) -> str:
        return values.get(found[1] or "", found[0])

    return _BRACES.sub(replaced, template)


def check_templates(
    path: Path,
    templates: Iterable[tuple[str, str]],
    values: Mapping[str, str],
    built_in: Iterable[str],
    *,
    what: str,
) -> set[str]:
    """The names that ``templates`` (dotted field, text) use of ``values``.

    ``built_in``: those that Keyfob fills itself. Error: ``cert.variable-missing``.
    """
    known = list(built_in)
    used: set[str] = set()
    for dotted, template in templates:
        for name in placeholders(template):
            if name in values:
                used.add(name)
            elif name not in known:
                raise _missing(path, dotted, template, name, known, what)
    return used


def refuse_unused(path: Path, given: Mapping[str, str], used: Iterable[str]) -> None:
    """Raise ``cert.variable-unknown`` for the first of ``given`` that is not ``used``."""
    there = sorted(used)
    for name, value in given.items():
        if name in there:
            continue
        near = difflib.get_close_matches(name, there, 1)
        instead = f"with --var {near[0]}={value}" if near else f"without --var {name}={value}"
        raise KeyfobHostError(
            "cert.variable-unknown",
            f"nothing in {path.name} uses the variable {name}",
            evidence=f"{path}: --var {name}={value}; it uses: {', '.join(there) or 'none'}",
            fix=f"run it again {instead}",
            status=ExitStatus.USAGE,
        )


def _missing(
    path: Path, dotted: str, template: str, name: str, known: list[str], what: str
) -> KeyfobHostError:
    own = " or ".join("{" + one + "}" for one in known)
    if not _NAME.fullmatch(name):
        wanted = f"names in braces ({_NAME_RULE})" + (f", for example {own}" if own else "")
        return refuse_field(path, dotted, template, wanted, what=what)
    if name in BUILT_IN:
        wanted = f"{own or 'a variable'}: there is no {{{name}}} here"
        return refuse_field(path, dotted, template, wanted, what=what)
    wanted = f"a value for {{{name}}}" + (f"; without one there is {own}" if own else "")
    seen = refuse_field(path, dotted, template, wanted, what=what)
    return KeyfobHostError(
        "cert.variable-missing",
        f"{what} {path.name}: {dotted} needs a value for {{{name}}}",
        evidence=seen.evidence,
        fix=f"give it on the command line: --var {name}=VALUE",
        status=ExitStatus.USAGE,
    )


def _bad(evidence: str, name: str) -> KeyfobHostError:
    shown = name if _NAME.fullmatch(name) and name not in BUILT_IN else "org"
    return KeyfobHostError(
        "cert.variable-bad",
        "this is no variable",
        evidence=evidence,
        fix=f"for example: --var {shown}=abc123",
        status=ExitStatus.USAGE,
    )
