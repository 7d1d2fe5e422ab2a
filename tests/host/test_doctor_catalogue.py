"""The catalogue of causes: whole, consistent, and every command in it is one that there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from keyfob_host.cli import cli
from keyfob_host.device_errors import load_device_errors
from keyfob_host.doctor import tls_numbers
from keyfob_host.doctor.catalogue import (
    LADDER,
    Cause,
    causes_of_device_code,
    load_catalogue,
    read_catalogue,
)
from keyfob_host.doctor.codes import CODE
from keyfob_host.errors import KeyfobHostError

CATALOGUE = load_catalogue()
FILE = Path(__file__).parents[2] / "host/keyfob_host/doctor/catalogue.toml"
# Programs that a fix may name: ours, those that the bench installs, and every system's.
PROGRAMS = {
    "keyfob", "openssl", "mosquitto_pub", "mpremote", "date", "getent", "fuser", "sudo", "python3",
}  # fmt: skip
each = pytest.mark.parametrize("cause", CATALOGUE.values(), ids=lambda cause: cause.code)


def commands(text: str) -> list[list[str]]:
    """The commands of a pasteable line, each as its words."""
    parts = re.split(r"\s*(?:;|&&|\|)\s*", text.replace("</dev/null", ""))
    return [shlex.split(part) for part in parts]


def parse(words: list[str]) -> None:
    """Take ``keyfob …`` apart as the command line would, without doing it."""
    context = cli.make_context("keyfob", [*words], resilient_parsing=False)
    command: click.Command = cli
    while isinstance(command, click.Group):
        left = [*getattr(context, "_protected_args", []), *context.args]
        name, found, rest = command.resolve_command(context, left)
        assert found is not None, words
        context = found.make_context(name, rest, parent=context)
        command = found


def test_all_rows_of_the_field_catalogue_are_there_once() -> None:
    rows = [cause.row for cause in CATALOGUE.values() if cause.row is not None]
    assert rows == list(range(1, 40))


@each
def test_a_cause_says_how_it_shows_everywhere_and_what_mends_it(cause: Cause) -> None:
    assert cause.place in LADDER
    assert cause.cause.endswith(".") and cause.cause.count(". ") == 0
    for field in (cause.mbedtls, cause.axtls, cause.broker, cause.tell_apart, cause.advice):
        assert field.strip()
    assert set(cause.alert) <= set(tls_numbers.ALERTS)


@each
def test_a_cause_names_codes_that_the_board_has(cause: Cause) -> None:
    assert set(cause.keyfob) <= set(load_device_errors())


@each
def test_a_fix_is_made_of_commands_that_there_are(cause: Cause) -> None:
    found = commands(cause.fix)
    assert {words[0] for words in found} <= PROGRAMS
    for words in found:
        if words[0] == "keyfob":
            parse(words[1:])


def test_each_place_of_the_ladder_has_a_cause() -> None:
    assert {cause.place for cause in CATALOGUE.values()} == set(LADDER)


def test_the_same_command_is_refused_with_an_option_that_it_does_not_have() -> None:
    with pytest.raises(click.UsageError):
        parse(["broker", "up", "--no-such-option"])
    with pytest.raises(click.UsageError):
        parse(["no-such-command"])


def test_no_code_of_the_catalogue_is_one_of_the_boards() -> None:
    """Else one word would be two answers."""
    assert set(CATALOGUE).isdisjoint(load_device_errors())
    assert all(CODE.fullmatch(code) for code in CATALOGUE)


def test_a_code_of_the_board_leads_to_its_causes_the_closest_first() -> None:
    assert causes_of_device_code("x509.wrong-name") == ("x509.name-not-in-san",)
    assert causes_of_device_code("tls.alert-protocol-version")[0] == "tls.version"
    assert causes_of_device_code("no.such-code") == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("clock.board-never-set", "moon.board-never-set"), "a place of the ladder"),
        (('["clock.issuer-ahead"]', '["clock.nobody"]'), "another cause's code"),
        (("row = 2", "row = 40"), "from 1 to 39"),
        (("tell_apart", "tell_a_part"), "perhaps tell_apart"),
    ],
)
def test_a_catalogue_with_a_fault_is_refused_with_its_place(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(FILE.read_text("utf-8").replace(*change), "utf-8")
    with pytest.raises(KeyfobHostError) as refused:
        read_catalogue(path)
    assert said in refused.value.evidence and str(path) in refused.value.evidence
