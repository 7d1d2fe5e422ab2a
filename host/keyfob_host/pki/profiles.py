"""Certificate profiles: the files ``certs/*.toml``, read strictly.

A profile says what kind of certificate it makes, its key type, its validity, its
usages and its subject. A field that is missing, unknown or out of range is refused
with its name, the file and the line (`keyfob_host.strict_toml`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from keyfob_host.data import data_path
from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.keys import KeyType
from keyfob_host.strict_toml import Pattern, Range, read_strict, refuse_field

Kind = Literal["authority", "broker", "device"]
Usage = Literal["serverAuth", "clientAuth"]

_PLACEHOLDERS: dict[str, str] = {
    "authority": "{key_id}",
    "broker": "{name}",
    "device": "{name}",
}


@dataclass(frozen=True)
class Subject:
    """The distinguished name, as templates; ``{name}`` and ``{key_id}`` are filled in."""

    common_name: Annotated[str, Range(1, 64)]
    organization: Annotated[str, Range(1, 64)] | None = None
    organizational_unit: Annotated[str, Range(1, 64)] | None = None
    country: Annotated[str, Pattern("[A-Z]{2}", "two capital letters (ISO 3166)")] | None = None


@dataclass(frozen=True)
class Profile:
    """One file of ``certs/``."""

    kind: Kind
    key_type: KeyType
    days: Annotated[int, Range(1, 36500)]
    subject: Subject
    backdate_hours: Annotated[int, Range(0, 720)] = 24
    extended_key_usage: tuple[Usage, ...] = ()
    path_length: Annotated[int, Range(0, 8)] | None = None


def load_profile(name_or_path: str | Path, *, kind: Kind | None = None) -> Profile:
    """The profile ``name`` of ``certs/``, or the file at a path (``…/x.toml``).

    ``kind`` is what the caller is about to make. Errors: ``cert.profile-unknown``,
    ``toml.*`` and ``file.*``.
    """
    path = _find(name_or_path)
    profile = read_strict(path, Profile, what="certificate profile")
    _check(path, profile, kind)
    return profile


def _find(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or text.endswith(".toml"):
        return Path(name_or_path)
    folder = data_path("certs")
    path = folder / f"{text}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise KeyfobHostError(
            "cert.profile-unknown",
            f"there is no certificate profile {text!r}",
            evidence=f"{folder} has: {known}",
            fix=f"name one of them, or give a file: --profile ./{text}.toml",
        )
    return path


def _check(path: Path, profile: Profile, kind: Kind | None) -> None:
    """What one field's type cannot say: which fields belong to which kind."""

    def refuse(field: str, value: object, wanted: str) -> KeyfobHostError:
        return refuse_field(path, field, value, wanted, what="certificate profile")

    if kind is not None and profile.kind != kind:
        raise refuse("kind", profile.kind, f"{kind!r}, which is what this command makes")
    if profile.kind == "authority":
        if profile.extended_key_usage:
            raise refuse(
                "extended_key_usage", profile.extended_key_usage, "none: it would bind all below"
            )
    elif not profile.extended_key_usage:
        raise refuse("extended_key_usage", (), "serverAuth or clientAuth")
    if profile.kind != "authority" and profile.path_length is not None:
        raise refuse("path_length", profile.path_length, "none: only an authority has one")
    template = profile.subject.common_name
    for placeholder in re.findall(r"\{[^}]*\}|[{}]", template):
        if placeholder != _PLACEHOLDERS[profile.kind]:
            raise refuse("subject.common_name", template, _PLACEHOLDERS[profile.kind])
    if profile.kind != "authority" and "{name}" not in template:
        raise refuse("subject.common_name", template, "{name} in it")
