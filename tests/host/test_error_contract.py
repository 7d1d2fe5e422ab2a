"""What every error of the host has, read from its source: cause, fix, and words to look up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from keyfob_host.doctor.codes import CODE, readings

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "host" / "keyfob_host"
# Raised anew from what another process told, who had all of it from such a call.
PASSED_ON = ("answer", "failure", "told")
# No error but a finding, with the words of the error that it comes from.
FINDINGS = frozenset(("lint.file-missing",))
# The cause says all there is to see.
NOTHING_TO_SHOW = frozenset((
    "board.no-file", "board.not-at-hand", "board.not-virtual", "board.unsupported", "broker.down",
    "ca.passphrase-undecided", "cert.worker-ended", "doctor.nothing-given",
    "element.not-confirmed", "hil.no-address", "hil.no-wifi", "ntp.down",
    "provision.no-broker", "provision.no-wifi", "provision.secret-in-argv", "tap.no-target",
))  # fmt: skip


@lru_cache(maxsize=1)
def modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def errors() -> Iterator[tuple[str, ast.Module, ast.Call]]:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if is_call and node.func.id == "KeyfobHostError":
                yield f"{path.relative_to(ROOT)}:{node.lineno}", tree, node


def argument(call: ast.Call, index: int, name: str) -> ast.expr | None:
    named = {one.arg: one.value for one in call.keywords}
    return call.args[index] if len(call.args) > index else named.get(name)


def is_passed_on(call: ast.Call) -> bool:
    named = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
    return bool(named & set(PASSED_ON)) and not isinstance(call.args[0], ast.Constant)


def codes_of(tree: ast.Module, call: ast.Call) -> set[str]:
    """The codes of one call; of one that a function puts together, with what is given to it."""
    first = call.args[0]
    if isinstance(first, ast.JoinedStr) and isinstance(first.values[0], ast.Constant):
        beginning = first.values[0].value
        functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]
        (name,) = [one.name for one in functions if call in ast.walk(one)]
        given = [
            one.args[0].value
            for one in ast.walk(tree)
            if isinstance(one, ast.Call)
            and isinstance(one.func, ast.Name)
            and one.func.id == name
            and one.args
            and isinstance(one.args[0], ast.Constant)
        ]
        assert given, f"nobody says what follows {beginning}"
        return {beginning + str(one) for one in given}
    found = {one.value for one in ast.walk(first) if isinstance(one, ast.Constant)}
    return {one for one in found if isinstance(one, str) and CODE.fullmatch(one)}


def raised() -> set[str]:
    return {code for _, tree, call in errors() for code in codes_of(tree, call)}


def test_every_code_that_is_raised_is_explained() -> None:
    assert len(raised()) > 250
    assert sorted(code for code in raised() if not readings(code)) == []


def test_every_code_that_a_test_of_the_host_expects_is_explained() -> None:
    # Codes put together at run time too; not those that a test made up.
    places = {code.partition(".")[0] for code in raised()}
    said = re.compile(r"""(?:code\b|\["code"\])["\]]?\)? ==\s*"([^"]+)\"""")
    expected = {
        code
        for path in (ROOT / "tests" / "host").glob("test_*.py")
        for code in said.findall(path.read_text())
        if CODE.fullmatch(code) and code.partition(".")[0] in places
    }
    assert len(expected) > 100
    assert sorted(code for code in expected - FINDINGS if not readings(code)) == []


@pytest.mark.parametrize("name", ["cause", "fix"])
def test_every_error_has_words_for_its(name: str) -> None:
    for where, _, call in errors():
        if is_passed_on(call):
            continue
        value = argument(call, 1, "cause") if name == "cause" else argument(call, 9, "fix")
        assert value is not None, f"{where}: no {name}"
        if isinstance(value, ast.Constant):
            assert re.search(r"[a-z]{2,} ", str(value.value)), f"{where}: {name} {value.value!r}"


def test_every_error_shows_what_was_seen_unless_its_cause_says_it() -> None:
    bare = {
        code
        for _, tree, call in errors()
        if not is_passed_on(call) and argument(call, 9, "evidence") is None
        for code in codes_of(tree, call)
    }
    assert sorted(bare - NOTHING_TO_SHOW) == []
