"""The one broker of a bench: what ``keyfob broker up``, ``status`` and ``down`` do.

`broker.MosquittoBroker` runs any mosquitto; here it gets this bench's CA, a broker
identity that boards could accept, and the host's own identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keyfob_host import daemon
from keyfob_host.broker import MosquittoBroker
from keyfob_host.broker_probe import probe
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


def broker_up(
    home: Home,
    *,
    name: str | None,
    sans: Sequence[str],
    host: str,
    port: int,
    unlock: Callable[[], Authority],
) -> tuple[MosquittoBroker, bool]:
    """Start the bench's broker, or find it running: (broker, whether it was started now).

    ``name`` is its identity (None: the only one there is), ``sans`` what its
    certificate must cover; one that is missing is issued if ``sans`` says for what.
    ``unlock`` is called only if something must be signed. Errors: ``ca.missing``,
    ``cert.*``, ``broker.*``.
    """
    ca = load_ca_cert(home.ca_dir)
    with daemon.locked(home.ensure().broker_dir):
        chosen = name or _only_identity(home)
        running = MosquittoBroker.attach(home.broker_dir)
        if running is not None:
            _refuse_other(running, chosen, host, port)
            return running, False
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
            host=host,
            port=port,
            persistence=True,
            host_identity_dir=bench.host_dir(home),
            crl_path=crl_path(home) if crl_path(home).exists() else None,
        )
        return broker.start(), True


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
    """End the bench's broker; its pid, or None if none ran."""
    with daemon.locked(home.ensure().broker_dir):
        running = MosquittoBroker.attach(home.broker_dir)
        if running is None:
            return None
        pid = running.pid
        running.stop()
        return pid


def broker_status(home: Home) -> dict[str, Any]:
    """The broker's state as JSON-ready values; ``accepting`` is whether a client gets in now.

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
    return {
        "name": identity.name,
        "pid": running.pid,
        "host": running.host,
        "port": running.port,
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


def _refuse_other(running: MosquittoBroker, name: str, host: str, port: int) -> None:
    """Raise unless the running broker is the one asked for."""
    has = (running.identity_dir.name, running.host, running.port)
    if has[:2] == (name, host) and port in (0, running.port):
        return
    raise KeyfobHostError(
        "broker.already-up",
        "this bench's broker runs already, with other settings",
        evidence=f"pid {running.pid}: {has[0]} on {has[1]}:{has[2]}; "
        f"asked for: {name} on {host}:{port}",
        fix="keyfob broker down, then the same command again",
    )
