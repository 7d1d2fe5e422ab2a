"""The contract of firmware/errors.txt: raised there, told here, provoked by a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from keyfob.backoff import is_stop
from keyfob.mqtt import reasons
from keyfob_host.device_errors import load_device_errors

ROOT = Path(__file__).resolve().parent.parent.parent
FIRMWARE = ROOT / "firmware"
PLACES = ("wifi", "clock", "store", "x509", "tls", "mqtt", "config", "rotate")
CODE = re.compile(rf"(?:{'|'.join(PLACES)})\.[a-z0-9]+(?:-[a-z0-9]+)*")
# Names of settings, events and topics have the same form.
EVENTS = {"wifi.up", "wifi.down", "clock.set", "clock.kept", "store.loaded", "tls.up", "mqtt.up"}
TRIAL_EVENTS = {"store.committed", "store.rolled-back", "store.fallback"}
NOT_CODES = EVENTS | TRIAL_EVENTS | {"mqtt.down", "tls.engine", "ntp.servers", "tls.alert-"}
# So have those of modules that are dropped after use.
MODULES = {
    ".".join(path.relative_to(FIRMWARE / "keyfob").with_suffix("").parts)
    for path in FIRMWARE.rglob("keyfob/**/*.py")
}
KNOWN = load_device_errors(FIRMWARE / "errors.txt")


def codes_raised() -> set[str]:
    """Every string in the firmware's code that has the form of a code, docstrings aside."""
    found = {"mqtt." + name for name in reasons._NAMES.split()}
    for path in FIRMWARE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and id(node) not in docstrings and CODE.fullmatch(node.value):
                found.add(node.value)
    return found - NOT_CODES - MODULES


def _tests() -> str:
    folders = [ROOT / "tests" / name for name in ("unit", "bench", "hil")]
    here = Path(__file__).name
    files = [path for folder in folders for path in folder.glob("*.py") if path.name != here]
    return "\n".join(path.read_text("utf-8") for path in files)


RAISED = codes_raised()
TESTS = _tests()


def test_every_code_raised_is_explained() -> None:
    assert RAISED - KNOWN.keys() == set()


def test_every_code_explained_is_raised() -> None:
    assert KNOWN.keys() - RAISED == set()


@pytest.mark.parametrize("code", sorted(KNOWN))
def test_a_test_provokes(code: str) -> None:
    assert f'"{code}"' in TESTS


@pytest.mark.parametrize("code", sorted(KNOWN))
def test_the_board_retries_as_the_file_says(code: str) -> None:
    assert is_stop(code) == (KNOWN[code].retry == "stop")


@pytest.mark.parametrize("code", sorted(KNOWN))
def test_cause_and_fix_are_sentences_for_a_person(code: str) -> None:
    error = KNOWN[code]
    assert (error.cause[0].isupper() or error.cause[0] == "/") and error.cause.endswith(".")
    assert len(error.fix) > 10 and error.source
    # A place in a document, or of a port; never a bare "see above".
    assert re.search(r"RFC|MQTT|FAILURES|DESIGN|MicroPython|mbedTLS", error.source)


def test_codes_have_the_form_of_codes() -> None:
    assert [code for code in KNOWN if not CODE.fullmatch(code)] == []
