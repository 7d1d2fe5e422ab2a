"""``keyfob cert check``: the linter for people and scripts."""

from __future__ import annotations

import difflib
from datetime import datetime, timezone
from pathlib import Path

import rich_click as click

from keyfob_host.boards import load_kind
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home, find_home
from keyfob_host.lint import Context, Finding, Report, Role, Severity, examine
from keyfob_host.lint.names import address_of, is_host_name
from keyfob_host.pki.crl import crl_path
from keyfob_host.ui import Ui

_SHOWN = 40  # of what is right; of what is wrong, all
_KINDS = ("device", "broker")


@click.command()
@click.argument("what", nargs=-1, metavar="[PATH|NAME]…")
@click.option("--board", metavar="KIND", help="What this kind of board takes.")
@click.option(
    "--role",
    type=click.Choice(("broker", "device", "ca")),
    help="What the certificate is for; by default as its place or its usages say.",
)
@click.option("--at", metavar="TIME", help="Judge dates at this moment, e.g. 2027-01-31T12:00Z.")
@click.option("--host", metavar="NAME|IP", help="What boards connect to; must be in the SAN.")
@click.pass_obj
def check(
    ui: Ui,
    what: tuple[str, ...],
    board: str | None,
    role: Role | None,
    at: str | None,
    host: str | None,
) -> int:
    """Check certificates, keys, requests, revocation lists, and what a mosquitto.conf names.

    PATH is a file or a folder; NAME an identity of this bench, or ca. Without either the
    whole bench is checked. Asks for no passphrase and changes nothing.
    """
    home = find_home()
    paths = [path for one in what for path in _paths_of(home, one)] or _bench(home)
    if host is not None:
        _check_host(host)
    moment = _moment(at)
    context = Context(moment, host, load_kind(board) if board else None)
    report = examine(paths, context, role)
    errors = report.count(Severity.ERROR)
    ui.result(
        _text(report),
        {
            "findings": [finding.as_dict() for finding in report.findings],
            "checked": [{"file": file, "what": seen} for file, seen in report.checked],
            "errors": errors,
            "warnings": report.count(Severity.WARNING),
            "notes": report.count(Severity.NOTE),
            "at": moment.isoformat(),
        },
    )
    return ExitStatus.IDENTITY if errors else 0


def _bench(home: Home) -> list[Path]:
    """What the bench itself uses; what was exported follows other programs' rules."""
    used = [home.ca_dir, home.certs_dir, home.broker_dir]
    if not home.ca_dir.is_dir():
        raise KeyfobHostError(
            "ca.missing",
            "nothing was named, and there is no bench here to check",
            evidence=f"{home.ca_dir} is not there",
            fix="name a file: keyfob cert check cert.pem; or make a bench: keyfob ca init",
            status=ExitStatus.IDENTITY,
        )
    return [folder for folder in used if folder.is_dir()]


def _paths_of(home: Home, text: str) -> list[Path]:
    given = Path(text).expanduser()
    if given.exists() or len(given.parts) > 1 or given.suffix in (".pem", ".der", ".conf"):
        return [given]
    found = [home.certs_dir / kind / text for kind in _KINDS]
    if text == "ca":
        found.append(home.ca_dir)
    there = [path for path in found if path.is_dir()]
    if there:
        # Whether it is revoked is said in the CA's list.
        crl = crl_path(home)
        return [*there, crl] if crl.exists() and text != "ca" else there
    known = [one.name for one in sorted(home.certs_dir.glob("*/[!.]*")) if one.is_dir()]
    near = difflib.get_close_matches(text, known, 1, 0.4)
    raise KeyfobHostError(
        "cert.unknown",
        f"there is no file and no identity {text!r}",
        evidence=f"{home.root} has: {', '.join(known) or 'none'}",
        fix=f"keyfob cert check {(near or known or ['./cert.pem'])[0]}",
        status=ExitStatus.INPUT,
    )


def _check_host(host: str) -> None:
    if address_of(host) is None and not is_host_name(host.removesuffix(".")):
        raise KeyfobHostError(
            "lint.bad-host",
            "boards connect to a DNS name or an IP address, without scheme and port",
            evidence=repr(host),
            fix="for example: --host broker.example.org",
            status=ExitStatus.USAGE,
        )


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(timezone.utc)
    try:
        # Python 3.10 does not know the Z that everybody writes.
        moment = datetime.fromisoformat(text.removesuffix("Z") + "+00:00" * text.endswith("Z"))
    except ValueError:
        raise KeyfobHostError(
            "lint.bad-time",
            "this is no moment",
            evidence=repr(text),
            fix="for example: --at 2027-01-31T12:00:00Z",
            status=ExitStatus.USAGE,
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _text(report: Report) -> str:
    """Findings as errors are shown, then what was looked at where nothing was wrong."""
    blocks = [_finding_text(finding) for finding in report.findings]
    wrong = {finding.file for finding in report.findings}
    right = [f"ok       {file}: {what}" for file, what in report.checked if file not in wrong]
    if right:
        more = [f"ok       … and {len(right) - _SHOWN} more"] if len(right) > _SHOWN else []
        blocks.append("\n".join([*right[:_SHOWN], *more]))
    return "\n\n".join([*blocks, _summary(report)])


def _finding_text(finding: Finding) -> str:
    where = f"{finding.file}: {finding.item}" if finding.item else finding.file
    rows = [
        (finding.severity.value, finding.code),
        ("where", where),
        ("cause", finding.cause),
        ("seen", finding.evidence),
        ("fix", finding.fix),
    ]
    return "\n".join(f"{label:<9}{value}" for label, value in rows if value)


def _summary(report: Report) -> str:
    files = len({file for file, _ in report.checked} | {one.file for one in report.findings})
    counts = [_counted(report.count(severity), severity.value) for severity in Severity]
    told = ", ".join(one for one in counts if one) or "nothing wrong"
    return f"{_counted(files, 'file')} checked: {told}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}" if count else ""
