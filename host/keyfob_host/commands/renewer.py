"""``keyfob renewer``: answer boards that ask for another certificate."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import rich_click as click

from keyfob_host.commands.passphrase import passphrase_options, unlock
from keyfob_host.daemon import locked
from keyfob_host.durations import parse_duration
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home, find_home
from keyfob_host.pki.profiles import load_profile
from keyfob_host.rotation.policy import Policy
from keyfob_host.rotation.renewer import Decision, Renewer
from keyfob_host.rotation.sender import bench_client
from keyfob_host.ui import Ui

_AGAIN_S = 5.0


@click.command()
@click.option(
    "--within", metavar="SPAN",
    help="Renew what ends within, as 30d.  [default: less than half of its life is left]",
)  # fmt: skip
@click.option(
    "--per-day", type=click.IntRange(1, 60), default=2, show_default=True,
    help="Most certificates a day for one device.",
)  # fmt: skip
@click.option("--profile", default="device", show_default=True, help="Of what is issued.")
@click.option("--days", type=click.IntRange(1, 36500), help="Validity, instead of the profile's.")
@click.option("--for", "for_s", type=click.FloatRange(0, min_open=True), help="End after SECONDS.")
@passphrase_options
@click.pass_obj
def renewer(
    ui: Ui,
    within: str | None,
    per_day: int,
    profile: str,
    days: int | None,
    for_s: float | None,
    passphrase_file: Path | None,
    passphrase_env: str | None,
) -> None:
    """Answer boards that ask for another certificate, until Ctrl-C.

    A request is granted if the device is this bench's, is not revoked, and its certificate
    ends soon; each decision is one line. It needs the CA's key all the time.
    """
    home = find_home()
    load_profile(profile, kind="device")
    policy = Policy(parse_duration(within) if within else None, per_day, profile, days)
    end = time.monotonic() + for_s if for_s is not None else None
    bench_client(home)  # "no broker" comes before any question
    authority = unlock(home.ca_dir, passphrase_file, passphrase_env)

    def is_over() -> bool:
        return end is not None and time.monotonic() > end

    work = Renewer(home, authority, policy, lambda one: _show(ui, one), is_over)
    with _only_one(home):
        ui.step("waiting for boards that ask for a certificate; Ctrl-C ends it")
        try:
            while not is_over():
                try:
                    with bench_client(home) as client:
                        work.run(client)
                except KeyfobHostError as error:
                    if not error.code.startswith("broker."):
                        raise
                    ui.step(f"{_now()}  {error.code}: {error.evidence or error.cause}")
                    time.sleep(_AGAIN_S)
        except KeyboardInterrupt:
            ui.step("ended; what was not delivered goes on with the next start")


@contextmanager
def _only_one(home: Home) -> Iterator[None]:
    try:
        with locked(home.root / "renewer", timeout_s=0.5):
            yield
    except KeyfobHostError as error:
        if error.code != "host.busy":
            raise
        raise KeyfobHostError(
            "renewer.running",
            "a renewer answers this bench's boards already",
            evidence=str(home.root / "renewer" / "lock"),
            fix="end that one with Ctrl-C first",
            status=ExitStatus.HOST,
        ) from None


def _show(ui: Ui, one: Decision) -> None:
    if ui.as_json:
        told = {"t": _now(), "device_id": one.device_id, "what": one.what, "why": one.why}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
    else:
        ui.out.print(f"{_now()}  {one.device_id}  {one.what:<9}  {one.why}", markup=False)


def _now() -> str:
    return f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%SZ}"
