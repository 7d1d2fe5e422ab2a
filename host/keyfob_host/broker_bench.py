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
from keyfob_host.pki.authority import CERT_FILE, Authority, load_ca_cert
from keyfob_host.pki.describe import describe
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.names import host_san, san_text


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
        if not bench.host_identity_fits(home):
            bench.renew_host_identity(home, authority or unlock())
        broker = MosquittoBroker(
            home.broker_dir,
            identity_dir=folder,
            ca_pem_path=home.ca_dir / CERT_FILE,
            host=host,
            port=port,
            persistence=True,
            host_identity_dir=bench.host_dir(home),
        )
        return broker.start(), True


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
