"""The options that say from which profile a certificate is made, and what they make of it.

A CA and, below it, its intermediate may be made in one command: a variable must be used by one
of the two profiles at least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import rich_click as click

from keyfob_host.pki.keys import KEY_TYPES, KeyType
from keyfob_host.pki.profiles import Profile, load_profile, load_profile_of_plan
from keyfob_host.pki.variables import parse_variables, refuse_unused

_Command = TypeVar("_Command", bound=Callable[..., Any])

_days = click.option(
    "--days", type=click.IntRange(1, 36500), help="Validity, instead of the profile's."
)
_key_type = click.option(
    "--key-type", type=click.Choice(KEY_TYPES), help="Instead of the profile's."
)
_variables = click.option(
    "--var", "variables", multiple=True, metavar="NAME=VALUE",
    help="A variable of the profile; may be given several times.",
)  # fmt: skip


@dataclass(frozen=True)
class AuthorityProfile:
    """What `authority_options` say."""

    profile: str | None
    issuing_profile: str
    variables: tuple[str, ...]
    common_name: str | None
    key_type: KeyType | None
    days: int | None

    def load(self, *, with_issuing: bool) -> tuple[Profile, Profile | None]:
        """The CA's profile, and its intermediate's if it is to have one.

        Errors: those of `load_profile`.
        """
        name = self.profile or ("root" if with_issuing else "ca")
        given = parse_variables(self.variables)
        chosen, used = load_profile_of_plan(name, "authority", given)
        issuing = None
        if with_issuing:
            issuing, more = load_profile_of_plan(self.issuing_profile, "intermediate", given)
            used |= more
        refuse_unused(Path(name), given, used)
        days, key_type = self.days or chosen.days, self.key_type or chosen.key_type
        return replace(chosen, days=days, key_type=key_type), issuing


def authority_options(*, whose: str, issuing: str) -> Callable[[_Command], _Command]:
    """For a command with an argument ``ca_profile``, an `AuthorityProfile`.

    ``whose``: the CA as help names it; ``issuing``: what is said of ``--issuing-profile``.
    """
    options = (
        click.option("--profile", help="A profile of certs/, or a file.  [default: ca, or root]"),
        click.option("--issuing-profile", default="intermediate", show_default=True, help=issuing),
        _variables,
        click.option("--common-name", help=f"{whose} name, instead of the profile's."),
        _key_type,
        _days,
    )

    def decorate(command: _Command) -> _Command:
        @wraps(command)
        def collecting(*args: Any, **values: Any) -> Any:
            given = {name: values.pop(name) for name in AuthorityProfile.__dataclass_fields__}
            return command(*args, ca_profile=AuthorityProfile(**given), **values)

        return cast(_Command, _all(options, collecting))

    return decorate


def intermediate_options(command: _Command) -> _Command:
    """``--profile``, ``--var`` and ``--days`` of an intermediate; see `load_intermediate`."""
    profile = click.option(
        "--profile", default="intermediate", show_default=True,
        help="A profile of certs/, or a file.",
    )  # fmt: skip
    return _all((profile, _variables, _days), command)


def load_intermediate(profile: str, variables: tuple[str, ...], days: int | None) -> Profile:
    """What `intermediate_options` say. Errors: those of `load_profile`."""
    chosen = load_profile(profile, kind="intermediate", variables=parse_variables(variables))
    return replace(chosen, days=days or chosen.days)


def end_entity_options(command: _Command) -> _Command:
    """``--profile``, ``--var``, ``--key-type`` and ``--days`` of an end-entity."""
    profile = click.option("--profile", help="A profile of certs/, or a file.")
    return _all((profile, _variables, _key_type, _days), command)


def _all(options: Sequence[Callable[[_Command], _Command]], command: _Command) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command
