"""Plans: files ``certs/plans/*.toml`` that name a CA, brokers, devices and what to export.

A plan refers to profiles by name and gives them its variables; what one certificate looks
like stays the profile's. Read strictly, as profiles are, and resolved whole, names, SANs
and profiles, before anything is made. Making it is `pki.making`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

from cryptography import x509

from keyfob_host.data import data_path
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki import variables as templates
from keyfob_host.pki.export import Format
from keyfob_host.pki.exports import ExportedKey
from keyfob_host.pki.names import check_broker_name, check_device_id, parse_sans
from keyfob_host.pki.profiles import Profile, load_profile_of_plan
from keyfob_host.pki.template import san_entries, subject_name
from keyfob_host.strict_toml import Range, read_strict, refuse_field

_WHAT = "plan"
_Name = Annotated[str, Range(1, 300)]


@dataclass(frozen=True)
class CaEntry:
    """``[ca]``: made if the bench has none; ``export`` are formats of its certificate."""

    profile: _Name = "ca"
    intermediate: bool = False
    issuing_profile: _Name = "intermediate"
    export: tuple[Format, ...] = ()


@dataclass(frozen=True)
class BrokerEntry:
    """``[[broker]]``. ``key``: whether exports have the private key, and how."""

    name: _Name
    profile: _Name = "broker"
    san: tuple[_Name, ...] = ()
    export: tuple[Format, ...] = ()
    key: ExportedKey = "none"


@dataclass(frozen=True)
class DeviceEntry:
    """``[[device]]``; as a broker's, without further SANs."""

    name: _Name
    profile: _Name = "device"
    export: tuple[Format, ...] = ()
    key: ExportedKey = "none"


@dataclass(frozen=True)
class _File:
    ca: CaEntry = field(default_factory=CaEntry)
    broker: tuple[BrokerEntry, ...] = ()
    device: tuple[DeviceEntry, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """One certificate of a plan, resolved."""

    kind: Literal["broker", "device"]
    name: str
    profile: Profile
    profile_name: str
    subject: x509.Name
    sans: tuple[x509.GeneralName, ...]
    export: tuple[Format, ...]
    key: ExportedKey


@dataclass(frozen=True)
class Plan:
    """A plan, resolved. ``issuing``: the intermediate's profile, None without one."""

    name: str
    ca: Profile
    issuing: Profile | None
    ca_export: tuple[Format, ...]
    wanted: tuple[Wanted, ...]


def load_plan(name_or_path: str, variables: Mapping[str, str]) -> Plan:
    """The plan ``name`` of ``certs/plans/``, or the file at a path (``…/x.toml``).

    Errors: ``cert.plan-unknown``, ``cert.plan-is-profile``, ``cert.plan-twice``,
    ``cert.variable-*``, ``cert.profile-unknown``, ``cert.bad-*``, ``toml.*``, ``file.*``.
    """
    path = _find(name_or_path)
    read = _read(path)
    values = {**read.variables, **variables}
    texts = list(_templates(read))
    used = templates.check_templates(path, texts, values, (), what=_WHAT)
    for name, default in read.variables.items():
        templates.check_value(name, default)

    def profile_of(
        name: str, kind: Literal["authority", "intermediate", "broker", "device"]
    ) -> Profile:
        # A path is meant from where the plan is.
        where = path.parent / name if "/" in name or name.endswith(".toml") else name
        profile, its = load_profile_of_plan(where, kind, values)
        used.update(its)
        return profile

    ca = profile_of(read.ca.profile, "authority")
    issuing = profile_of(read.ca.issuing_profile, "intermediate") if read.ca.intermediate else None
    wanted = []
    for broker in read.broker:
        name = templates.fill(broker.name, values)
        check_broker_name(name)
        profile = profile_of(broker.profile, "broker")
        more = parse_sans(templates.fill(one, values) for one in broker.san)
        wanted.append(_wanted("broker", name, broker, profile, more))
    for device in read.device:
        name = templates.fill(device.name, values)
        check_device_id(name)
        wanted.append(_wanted("device", name, device, profile_of(device.profile, "device"), []))
    templates.refuse_unused(path, variables, used)
    for name, default in read.variables.items():
        if name not in used:
            wish = "a variable that a field uses"
            raise refuse_field(path, f"variables.{name}", default, wish, what=_WHAT)
    _refuse_twice(path, wanted)
    # It names the folder of the exports, so it is not "..", as of the file "...toml".
    name = path.stem.lstrip(".") or _WHAT
    return Plan(name, ca, issuing, read.ca.export, tuple(wanted))


def _find(name_or_path: str) -> Path:
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        return Path(name_or_path)
    folder = data_path("certs") / "plans"
    path = folder / f"{name_or_path}.toml"
    if path.is_file():
        return path
    if Path(name_or_path).exists():
        raise KeyfobHostError(
            "cert.plan-unknown",
            f"a plan is a file that ends in .toml, and {name_or_path!r} is none",
            evidence=f"{Path(name_or_path).resolve()}",
            fix="keyfob cert make --help",
        )
    known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
    raise KeyfobHostError(
        "cert.plan-unknown",
        f"there is no plan {name_or_path!r}",
        evidence=f"{folder} has: {known}",
        fix=f"name one of them, or give a file: keyfob cert make ./{name_or_path}.toml",
    )


def _read(path: Path) -> _File:
    try:
        return read_strict(path, _File, what=_WHAT)
    except KeyfobHostError as error:
        if error.code == "toml.unknown-field" and ": kind is no field" in error.cause:
            raise KeyfobHostError(
                "cert.plan-is-profile",
                f"{path.name} is a profile, the shape of one certificate, and no plan",
                evidence=f"{path} has the field kind",
                fix=f"keyfob cert broker NAME --profile {quote(str(path))}, or cert device; "
                f"for a plan see {data_path('certs') / 'plans'}",
                status=ExitStatus.INPUT,
            ) from None
        raise


def _templates(read: _File) -> Iterator[tuple[str, str]]:
    """(dotted field, template) of every template there is."""
    for index, broker in enumerate(read.broker):
        yield f"broker[{index}].name", broker.name
        yield from ((f"broker[{index}].san[{n}]", one) for n, one in enumerate(broker.san))
    for index, device in enumerate(read.device):
        yield f"device[{index}].name", device.name


def _wanted(
    kind: Literal["broker", "device"],
    name: str,
    entry: BrokerEntry | DeviceEntry,
    profile: Profile,
    more: Iterable[x509.GeneralName],
) -> Wanted:
    return Wanted(
        kind=kind,
        name=name,
        profile=profile,
        profile_name=entry.profile,
        subject=subject_name(profile.subject, {"name": name}),
        sans=tuple(dict.fromkeys([*san_entries(profile.san, name), *more])),
        export=entry.export,
        key=entry.key,
    )


def _refuse_twice(path: Path, wanted: list[Wanted]) -> None:
    seen: set[tuple[str, str]] = set()
    for one in wanted:
        if (one.kind, one.name) in seen:
            raise KeyfobHostError(
                "cert.plan-twice",
                f"the plan has two {one.kind}s of one name",
                evidence=f"{path}: {one.name}",
                fix=f"give each {one.kind} in {path} a name of its own",
            )
        seen.add((one.kind, one.name))
