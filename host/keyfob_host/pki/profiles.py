"""Certificate profiles: the files ``certs/*.toml``, read strictly.

A profile says what kind of certificate it makes, its key type, its validity, its
usages, its subject and its SANs. A field that is missing, unknown or out of range is
refused with its name, the file and the line (`keyfob_host.strict_toml`). Subject, SANs
and CRL distribution point are templates (`pki.variables`): a loaded profile has the
user's variables filled in, ``{name}`` and ``{key_id}`` are left for `pki.template`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

from keyfob_host.data import data_path
from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki import variables as templates
from keyfob_host.pki.keys import KEY_TYPES, KeyType
from keyfob_host.pki.names import check_crl_url, check_subject_value, parse_san
from keyfob_host.strict_toml import Pattern, Range, read_strict, refuse_field

Kind = Literal["authority", "intermediate", "broker", "device"]
Usage = Literal["serverAuth", "clientAuth"]

_WHAT = "certificate profile"
_AUTHORITIES = ("authority", "intermediate")
_BUILT_IN: dict[str, str] = {
    "authority": "key_id",
    "intermediate": "key_id",
    "broker": "name",
    "device": "name",
}
# A template may be longer than what it becomes; `pki.template` has the bounds of RFC 5280.
_Template = Annotated[str, Range(1, 300)]


@dataclass(frozen=True)
class Subject:
    """The distinguished name, as templates."""

    common_name: _Template
    organization: _Template | None = None
    organizational_unit: _Template | None = None
    country: (
        Annotated[str, Pattern(r"[A-Z]{2}|\{[a-z][a-z0-9_]*\}", "two capital letters (ISO 3166)")]
        | None
    ) = None
    state: _Template | None = None
    locality: _Template | None = None
    serial_number: _Template | None = None


@dataclass(frozen=True)
class San:
    """Subject alternative names, as templates.

    ``name``: whether the broker's name or the device's id is one, where it can be one.
    """

    name: bool = True
    dns: tuple[_Template, ...] = ()
    ip: tuple[_Template, ...] = ()
    uri: tuple[_Template, ...] = ()

    def texts(self) -> list[str]:
        """``DNS:…``, ``IP:…``, ``URI:…``, as `names.parse_san` reads them."""
        pairs = (("DNS", self.dns), ("IP", self.ip), ("URI", self.uri))
        return [f"{kind}:{one}" for kind, entries in pairs for one in entries]


@dataclass(frozen=True)
class Profile:
    """One file of ``certs/``. ``request_keys``: the keys that a device's own request may have."""

    kind: Kind
    key_type: KeyType
    days: Annotated[int, Range(1, 36500)]
    subject: Subject
    san: San = field(default_factory=San)
    backdate_hours: Annotated[int, Range(0, 720)] = 24
    extended_key_usage: tuple[Usage, ...] = ()
    path_length: Annotated[int, Range(0, 8)] | None = None
    request_keys: tuple[KeyType, ...] = KEY_TYPES
    crl_distribution_point: _Template | None = None
    variables: dict[str, str] = field(default_factory=dict)


def load_profile(
    name_or_path: str | Path,
    *,
    kind: Kind | None = None,
    variables: Mapping[str, str] | None = None,
) -> Profile:
    """The profile ``name`` of ``certs/``, or the file at a path (``…/x.toml``).

    ``kind`` is what the caller is about to make, ``variables`` are the user's and must
    all be used. Errors: ``cert.profile-unknown``, ``cert.variable-*``, ``toml.*`` and
    ``file.*``.
    """
    path, profile, used = _read(name_or_path, kind, variables or {})
    templates.refuse_unused(path, variables or {}, used)
    return profile


def load_profile_of_plan(
    name_or_path: str | Path, kind: Kind, variables: Mapping[str, str]
) -> tuple[Profile, set[str]]:
    """As `load_profile`, and which of ``variables`` it uses, where those are for several."""
    _, profile, used = _read(name_or_path, kind, variables)
    return profile, used


def _read(
    name_or_path: str | Path, kind: Kind | None, given: Mapping[str, str]
) -> tuple[Path, Profile, set[str]]:
    path = _find(name_or_path)
    profile = _read_file(path)
    _check(path, profile, kind)
    built_in = [_BUILT_IN[profile.kind]]
    texts = list(_templates(profile))
    values = {**profile.variables, **given}
    used = templates.check_templates(path, texts, values, built_in, what=_WHAT)
    for name, default in profile.variables.items():
        if name not in used:
            raise refuse_field(
                path, f"variables.{name}", default, "a variable that a field uses", what=_WHAT
            )
        templates.check_value(name, default)
    filled = _filled(profile, values)
    _check_filled(path, filled, texts)
    return path, filled, used


def _read_file(path: Path) -> Profile:
    try:
        return read_strict(path, Profile, what=_WHAT)
    except KeyfobHostError as error:
        if error.code == "toml.unknown-field" and any(
            f": {table} is no field" in error.cause for table in ("ca", "broker")
        ):
            raise KeyfobHostError(
                "cert.profile-is-plan",
                f"{path.name} is a plan, of several certificates, and no profile",
                evidence=f"{path} has tables of a plan",
                fix=f"keyfob cert make {quote(str(path))}",
            ) from None
        raise


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


def _templates(profile: Profile) -> Iterator[tuple[str, str]]:
    """(dotted field, template) of every template there is."""
    for one in fields(profile.subject):
        text = getattr(profile.subject, one.name)
        if text is not None:
            yield f"subject.{one.name}", text
    for kind in ("dns", "ip", "uri"):
        for index, text in enumerate(getattr(profile.san, kind)):
            yield f"san.{kind}[{index}]", text
    if profile.crl_distribution_point is not None:
        yield "crl_distribution_point", profile.crl_distribution_point


def _filled(profile: Profile, values: Mapping[str, str]) -> Profile:
    def fill(text: str) -> str:
        return templates.fill(text, values)

    def fill_all(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(fill, texts))

    subject = {
        one.name: fill(text)
        for one in fields(profile.subject)
        if (text := getattr(profile.subject, one.name)) is not None
    }
    san = profile.san
    url = profile.crl_distribution_point
    return replace(
        profile,
        subject=replace(profile.subject, **subject),
        san=replace(
            san, dns=fill_all(san.dns), ip=fill_all(san.ip), uri=fill_all(san.uri)
        ),
        crl_distribution_point=None if url is None else fill(url),
    )  # fmt: skip


def _check(path: Path, profile: Profile, kind: Kind | None) -> None:
    """What one field's type cannot say: which fields belong to which kind."""

    def refuse(dotted: str, value: object, wanted: str) -> KeyfobHostError:
        return refuse_field(path, dotted, value, wanted, what=_WHAT)

    is_authority = profile.kind in _AUTHORITIES
    if kind is not None and profile.kind != kind:
        raise refuse("kind", profile.kind, f"{kind!r}, which is what this command makes")
    if is_authority:
        if profile.extended_key_usage:
            raise refuse(
                "extended_key_usage", profile.extended_key_usage, "none: it would bind all below"
            )
        if profile.san != San():
            raise refuse("san", profile.san, "none: nobody connects to an authority")
    elif not profile.extended_key_usage:
        raise refuse("extended_key_usage", (), "serverAuth or clientAuth")
    if not is_authority and profile.path_length is not None:
        raise refuse("path_length", profile.path_length, "none: only an authority has one")
    if profile.kind != "device" and profile.request_keys != KEY_TYPES:
        raise refuse("request_keys", profile.request_keys, "none: only devices send requests")
    if profile.kind == "authority" and profile.crl_distribution_point is not None:
        raise refuse(
            "crl_distribution_point", profile.crl_distribution_point,
            "none: no CRL revokes a trust anchor",
        )  # fmt: skip
    if profile.kind == "device" and "{name}" not in profile.subject.common_name:
        raise refuse("subject.common_name", profile.subject.common_name, "{name} in it")


def _check_filled(path: Path, filled: Profile, texts: list[tuple[str, str]]) -> None:
    """What needs no ``{name}`` is judged now, where the file and the line are known."""

    def judge(dotted: str, text: str, check: Callable[[str], object]) -> None:
        if templates.placeholders(text):
            return
        try:
            check(text)
        except KeyfobHostError as error:
            wanted = f"{error.cause} ({text!r})"
            raise refuse_field(path, dotted, dict(texts)[dotted], wanted, what=_WHAT) from None

    for one in fields(filled.subject):
        value = getattr(filled.subject, one.name)
        if value is not None:
            judge(f"subject.{one.name}", value, partial(check_subject_value, one.name))
    for kind in ("dns", "ip", "uri"):
        for index, text in enumerate(getattr(filled.san, kind)):
            judge(f"san.{kind}[{index}]", f"{kind.upper()}:{text}", parse_san)
    if filled.crl_distribution_point is not None:
        judge("crl_distribution_point", filled.crl_distribution_point, check_crl_url)
