"""The one broker of a bench: what ``keyfob broker up``, ``status`` and ``down`` do.

`broker.MosquittoBroker` runs any mosquitto; here it gets this bench's CA, a broker
identity that boards could accept, and the host's own identity. With a TLS tap
(`doctor.tap_daemon`) that has the port boards know, and mosquitto one of its own on the
loopback, so boards need nothing new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keyfob_host import daemon
from keyfob_host.broker import MosquittoBroker
from keyfob_host.broker_probe import probe
from keyfob_host.doctor.tap_daemon import EVENTS, TapState, start_tap, stop_tap, tap_of
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.listeners import loopback_of
from keyfob_host.pki import bench
from keyfob_host.pki.authority import Authority, load_ca_cert
from keyfob_host.pki.ca_folder import clients_ca_path
from keyfob_host.pki.crl import crl_path
from keyfob_host.pki.describe import describe
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.names import host_san, san_text
from keyfob_host.pki.revocation import check_crls, crl_states

_LOOPBACK = "127.0.0.1"


def broker_up(
    home: Home,
    *,
    name: str | None,
    sans: Sequence[str],
    host: str,
    port: int,
    unlock: Callable[[], Authority],
    tap: bool = False,
) -> tuple[MosquittoBroker, bool]:
    """Start the bench's broker, or find it running: (broker, whether it was started now).

    ``name`` is its identity (None: the only one there is), ``sans`` what its
    certificate must cover; one that is missing is issued if ``sans`` says for what.
    ``unlock`` is called only if something must be signed. ``tap``: with a TLS tap on
    ``port``; one that has ended is started again. Errors: ``ca.missing``, ``cert.*``,
    ``broker.*``, ``tap.*``.
    """
    ca = load_ca_cert(home.ca_dir)
    with daemon.locked(home.ensure().broker_dir):
        chosen = name or _only_identity(home)
        running = MosquittoBroker.attach(home.broker_dir)
        if running is not None:
            before = tap_of(home.broker_dir)
            _refuse_other(running, before, chosen, host, port, tap)
            if before is not None and before.pid is None:
                _start_tap(home, running, before.host, before.port)
            return running, False
        stop_tap(home.broker_dir)  # of a broker that was killed
        folder = bench.broker_dir(home, chosen)
        authority: Authority | None = None
        if sans and not folder.exists():
            authority = unlock()
            own = host_san(chosen)
            covered = [*([san_text(own)] if own else []), *sans]
            authority.issue_broker(chosen, covered).write(folder)
        bench.check_broker_identity(Identity.read(folder), ca, sans)
        check_crls(home)
        if not bench.host_identity_fits(home):
            bench.renew_host_identity(home, authority or unlock())
        broker = MosquittoBroker(
            home.broker_dir,
            identity_dir=folder,
            ca_pem_path=clients_ca_path(home.ca_dir),
            host=_LOOPBACK if tap else host,
            port=0 if tap else port,
            persistence=True,
            host_identity_dir=bench.host_dir(home),
            crl_path=crl_path(home) if crl_path(home).exists() else None,
        )
        broker.start()
        if tap:
            try:
                _start_tap(home, broker, host, port)
            except BaseException:
                broker.stop()
                raise
        return broker, True


def port_for_boards(home: Home, broker: MosquittoBroker) -> int:
    """Where boards connect to the running ``broker``: at its tap, if it has one."""
    tap = tap_of(home.broker_dir)
    return tap.port if tap else broker.port


def broker_rereads(home: Home, *, end_sessions: bool = False) -> str:
    """Let the bench's broker read its certificate, key and CRL again.

    "reloaded", or "restarted" where it ran without a CRL so far or ``end_sessions`` asks
    for it (a session that stands is not judged again), or "" where none runs. Returns when
    the broker serves with what it read. Errors: ``broker.*``.
    """
    with daemon.locked(home.ensure().broker_dir):
        running = MosquittoBroker.attach(home.broker_dir)
        if running is None:
            return ""
        crl = crl_path(home) if crl_path(home).exists() else None
        if end_sessions or running.crl_path != crl:
            running.crl_path = crl
            running.ca_pem_path = clients_ca_path(home.ca_dir)
            running.restart()
            return "restarted"
        running.reload()
        return "reloaded"


def broker_down(home: Home) -> int | None:
    """End the bench's broker and its tap; the broker's pid, or None if none ran."""
    with daemon.locked(home.ensure().broker_dir):
        stop_tap(home.broker_dir)
        running = MosquittoBroker.attach(home.broker_dir)
        if running is None:
            return None
        pid = running.pid
        running.stop()
        return pid


def broker_status(home: Home) -> dict[str, Any]:
    """The broker's state as JSON-ready values; ``accepting`` is whether a client gets in now.

    ``host`` and ``port`` are for boards; ``tap`` is None, or the tap that stands there.
    Error ``broker.down``.
    """
    running = MosquittoBroker.attach(home.broker_dir)
    if running is None:
        raise not_running()
    identity = Identity.read(running.identity_dir)
    fields = describe(identity.cert)
    crls = crl_states(home) if running.crl_path else []
    trouble = ""
    try:
        probe(
            loopback_of(running.host), running.port, identity.cert_der(),
            running.host_identity_dir,
        )  # fmt: skip
    except (OSError, KeyfobHostError) as error:
        trouble = error.cause if isinstance(error, KeyfobHostError) else str(error)
    tap = tap_of(home.broker_dir)
    if tap is not None and tap.pid is None:
        again = f"keyfob broker up --tap --port {tap.port} --bind {tap.host}"
        trouble = f"its tap has ended; start it again: {again}"
    return {
        "name": identity.name,
        "pid": running.pid,
        "host": tap.host if tap else running.host,
        "port": tap.port if tap else running.port,
        "tap": {
            "pid": tap.pid,
            "broker_port": running.port,
            "events": str(home.broker_dir / EVENTS),
        }
        if tap
        else None,
        "uptime_s": round(running.uptime_s, 1),
        "accepting": not trouble,
        "trouble": trouble,
        "sans": fields["sans"],
        "not_after": fields["not_after"],
        "days_left": fields["days_left"],
        "crl_next_update": crls[0].next_update.isoformat() if crls else None,
        "log": str(running.log_path),
    }


def not_running() -> KeyfobHostError:
    """The error for a command that needs the broker."""
    return KeyfobHostError(
        "broker.down",
        "this bench's broker is not running",
        fix="keyfob broker up",
        status=ExitStatus.NETWORK,
    )


def _only_identity(home: Home) -> str:
    known = sorted(one.parent.name for one in home.certs_dir.glob("broker/[!.]*/cert.pem"))
    if len(known) == 1:
        return known[0]
    if known:
        raise KeyfobHostError(
            "broker.which",
            "this bench has several broker identities",
            evidence=", ".join(known),
            fix=f"keyfob broker up --name {known[0]}",
        )
    raise KeyfobHostError(
        "cert.missing",
        "this bench has no broker identity yet",
        evidence=f"{home.certs_dir / 'broker'} is empty",
        fix="keyfob cert broker broker.keyfob.test --san IP:127.0.0.1",
        status=ExitStatus.IDENTITY,
    )


def _start_tap(home: Home, broker: MosquittoBroker, host: str, port: int) -> None:
    try:
        start_tap(home.broker_dir, host, port, (_LOOPBACK, broker.port))
    except KeyfobHostError as error:
        stop_tap(home.broker_dir)
        option = {
            "tap.port-taken": f"--port {port + 1 if port < 65535 else 0}",
            "tap.port-privileged": "--port 8883",
            "tap.bad-address": f"--bind {_LOOPBACK}",
        }.get(error.code)
        if option is not None:
            error.fix = f"keyfob broker up --tap {option}"
        raise


def _refuse_other(
    running: MosquittoBroker, before: TapState | None, name: str, host: str, port: int, tap: bool
) -> None:
    """Raise unless the running broker is the one asked for."""
    own_name = running.identity_dir.name
    has = before or running
    if (own_name, has.host, before is not None) == (name, host, tap) and port in (0, has.port):
        return
    ways = {True: " with a tap", False: " without a tap"} if tap != (before is not None) else {}
    raise KeyfobHostError(
        "broker.already-up",
        "this bench's broker runs already, with other settings",
        evidence=f"pid {running.pid}: {own_name} on {has.host}:{has.port}"
        f"{ways.get(before is not None, '')}; asked for: {name} on {host}:{port}"
        f"{ways.get(tap, '')}",
        fix="keyfob broker down, then the same command again",
    )
