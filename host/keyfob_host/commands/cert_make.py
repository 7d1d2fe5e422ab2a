"""``keyfob cert make``: a whole plan, CA, brokers, devices and exports."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from keyfob_host.commands.passphrase import (
    ask_new_passphrase,
    given_passphrase,
    new_passphrase,
    passphrase_options,
    unlock,
)
from keyfob_host.daemon import locked
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import find_home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.ca_folder import CERT_FILE, load_issuing_cert
from keyfob_host.pki.making import Made, make
from keyfob_host.pki.plan import Plan, load_plan
from keyfob_host.pki.variables import parse_variables
from keyfob_host.ui import Ui


@click.command(name="make")
@click.argument("plan_name", metavar="PLAN")
@click.option(
    "--var", "variables", multiple=True, metavar="NAME=VALUE",
    help="A variable of the plan or its profiles; may be given several times.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Where exports go.  [default: exports/PLAN in the bench's folder]",
)  # fmt: skip
@passphrase_options
@click.option(
    "--no-passphrase", is_flag=True,
    help="Leave the CA's key in clear, and leave out what would be encrypted.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Issue every broker and device anew; never the CA.")
@click.pass_obj
def make_command(
    ui: Ui,
    plan_name: str,
    variables: tuple[str, ...],
    out: Path | None,
    passphrase_file: Path | None,
    passphrase_env: str | None,
    no_passphrase: bool,
    force: bool,
) -> None:
    """Make all that PLAN names: a plan of certs/plans/, or a file.

    What is there and still good is left alone, so a second run changes nothing. The
    passphrase protects the CA's key and encrypts the keys that are exported.
    """
    home = find_home()
    plan = load_plan(plan_name, parse_variables(variables))
    place = out or home.root / "exports" / plan.name
    secret = _Passphrase(passphrase_file, passphrase_env, no_passphrase, plan_name)
    opened: Authority | None = None

    def opener() -> Authority:
        return opened or unlock(home.ca_dir, passphrase_file, passphrase_env)

    with locked(home.ensure().certs_dir):
        if not (home.ca_dir / CERT_FILE).exists():
            opened = Authority.create(home.ca_dir, plan.ca, secret.for_ca(), issuing=plan.issuing)
        elif plan.issuing is not None and load_issuing_cert(home.ca_dir) is None:
            ui.step("note: the plan wants an intermediate, and the CA there is has none")
        made = make(
            home, plan, place,
            unlock=opener, key_passphrase=secret.for_keys, force=force,
            on_made=lambda one: ui.step(_line(one, one.kind == "ca" and opened is not None)),
        )  # fmt: skip
    _show(ui, plan, place, made, ca_is_new=opened is not None)


class _Passphrase:
    """One for the CA's key and for exported keys, asked for at most once."""

    def __init__(self, file: Path | None, variable: str | None, none: bool, plan: str) -> None:
        self._source = (file, variable)
        self._none = none
        self._command = f"keyfob cert make {plan}"
        self._value: bytes | None = None

    def for_ca(self) -> bytes | None:
        self._value = new_passphrase(*self._source, self._none, command=self._command)
        return self._value

    def for_keys(self) -> bytes | None:
        if self._none:
            return None
        if self._value is None:
            self._value = given_passphrase(*self._source)
        if self._value is None:
            self._value = ask_new_passphrase("Passphrase for the exported keys")
        if self._value is not None:
            return self._value
        raise KeyfobHostError(
            "export.passphrase-needed",
            "the plan exports keys encrypted, and no passphrase was given",
            evidence="no option says one, and there is no terminal to ask on",
            fix=f"{self._command} --passphrase-file FILE; to leave those out: "
            f"{self._command} --no-passphrase",
            status=ExitStatus.IDENTITY,
        )


def _line(made: Made, is_new_ca: bool) -> str:
    if made.kind == "ca":
        state = "made" if is_new_ca else "kept"
        return f"{'ca':<8} {made.cert.subject.rfc4514_string()}: {state}"
    until = f"until {made.cert.not_valid_after_utc:%Y-%m-%d}"
    if made.reason == "new":
        return f"{made.kind:<8} {made.name}: made, {until}"
    if made.reason:
        return f"{made.kind:<8} {made.name}: made anew, {until}; {made.reason}"
    return f"{made.kind:<8} {made.name}: still good, {until}"


def _show(ui: Ui, plan: Plan, place: Path, made: list[Made], *, ca_is_new: bool) -> None:
    issued = [one for one in made if one.reason]
    written = [path for one in made for path in one.exported.written]
    kept = [path for one in made for path in one.exported.kept]
    left_out = [path for one in made for path in one.exported.left_out]
    lines = [f"{plan.name}: {len(issued)} made, {len(made) - 1 - len(issued)} still good"]
    if not issued and not written and not ca_is_new:
        lines = [f"{plan.name}: all of it is there and good, nothing was changed"]
    if written or kept or left_out:
        unchanged = f", {len(kept)} as they were" if kept else ""
        lines.append(f"exports  {place}: {len(written)} written{unchanged}")
        lines += [f"         {path.relative_to(place)}" for path in written]
        lines += [
            f"         {path.relative_to(place)} left out: no passphrase to encrypt it with"
            for path in left_out
        ]
    if ca_is_new and plan.issuing is not None:
        lines.append(
            "note     only a new intermediate needs the root's key: keep it elsewhere; "
            "see keyfob ca show"
        )
    brokers = [one.name for one in made if one.kind == "broker"]
    if brokers:
        lines.append(f"next     keyfob broker up --name {brokers[0]}")
    ui.result(
        "\n".join(lines),
        {
            "plan": plan.name,
            "out": str(place),
            "ca_made": ca_is_new,
            "certificates": [one.as_dict() for one in made],
        },
    )
