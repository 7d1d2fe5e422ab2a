"""A short conversation with labgrid's coordinator: places, resources, acquire, release.

labgrid speaks gRPC since 25.0; messages and their meaning are those of its own package, which
is imported here alone. A place stays acquired when the conversation ends, as with
``labgrid-client``, so none is held open while a board is worked with: processes are started
then, and gRPC's threads do not bear that. Not checked: who we are; a coordinator believes it.
"""

from __future__ import annotations

import getpass
import os
import queue
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from keyfob_host.errors import KeyfobHostError
from keyfob_host.hil.labgrid import words

DEFAULT_ADDRESS = "127.0.0.1:20408"
_PORT = 20408
_CONNECT_TIMEOUT_S = 5.0
_TALK_TIMEOUT_S = 30.0  # an exporter starts its ser2net meanwhile


def own_name() -> str:
    """Who we are to labgrid: ``host/user``, as its own client says it."""
    host = os.environ.get("LG_HOSTNAME") or socket.gethostname()
    return f"{host}/{os.environ.get('LG_USERNAME') or getpass.getuser()}"


def full_address(address: str) -> str:
    """``host:port`` of ``address``, which may leave out the port. Error: ``labgrid.bad-address``"""
    host, colon, port = address.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = address, str(_PORT)
    if not host or not port.isdigit() or int(port) > 0xFFFF:
        raise words.bad_address(address)
    return f"{host}:{port}"


class Coordinator:
    """An open conversation; a context manager. ``places`` by name, ``resources`` by path:
    exporter, group, class, name.

    Errors: ``labgrid.not-installed``, ``labgrid.no-coordinator``, ``labgrid.no-answer``.
    """

    def __init__(self, address: str) -> None:
        self.address = full_address(address)
        self.places: dict[str, Any] = {}
        self.resources: dict[tuple[str, str, str, str], Any] = {}
        self._grpc, self._messages, stubs, self._common, version = _packages()
        _check_listens(self.address)
        self._sent: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._syncs = 0
        self._channel = self._grpc.insecure_channel(self.address)
        self._stub = stubs.CoordinatorStub(self._channel)
        try:
            self._begin(version)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Coordinator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the conversation; what is acquired stays so."""
        self._sent.put(None)
        self._channel.close()

    def find(self, place: str) -> Any:
        """The place of that name or alias. Error: ``labgrid.unknown-place``."""
        for one in self.places.values():
            if place == one.name or place in one.aliases:
                return one
        raise words.unknown_place(place, list(self.places), self.address)

    def acquire(self, place: str) -> None:
        """Error: ``labgrid.not-acquired``, with the coordinator's words."""
        with self._answered(place):
            request = self._messages.AcquirePlaceRequest(placename=place)
            self._stub.AcquirePlace(request, timeout=_TALK_TIMEOUT_S)
            self._sync()

    def release(self, place: str) -> None:
        """Harmless if it is not ours any more."""
        with self._answered(place):
            request = self._messages.ReleasePlaceRequest(placename=place, fromuser=own_name())
            self._stub.ReleasePlace(request, timeout=_TALK_TIMEOUT_S)

    def serial_ports(self, place: Any) -> dict[tuple[str, str, str, str], Any]:
        """The network serial ports that ``place`` matches, by path."""
        return {
            path: resource
            for path, resource in self.resources.items()
            if resource.cls == "NetworkSerialPort" and place.hasmatch(path)
        }

    def _begin(self, version: str) -> None:
        startup = self._messages.ClientInMessage()
        startup.startup.version, startup.startup.name = version, own_name()
        wanted = self._messages.ClientInMessage(), self._messages.ClientInMessage()
        wanted[0].subscribe.all_places = wanted[1].subscribe.all_resources = True
        for message in (startup, *wanted):
            self._sent.put(message)
        sent = iter(self._sent.get, None)
        try:
            # Whether it is a coordinator; a stream would be waited for much longer.
            self._stub.GetPlaces(self._messages.GetPlacesRequest(), timeout=_CONNECT_TIMEOUT_S)
            self._received = self._stub.ClientStream(sent, timeout=_TALK_TIMEOUT_S)
            self._sync()
        except self._grpc.RpcError as error:
            raise words.no_answer(self.address, _details(error)) from None

    def _sync(self) -> None:
        """Read on until the coordinator has told all that it knew when it was asked."""
        self._syncs += 1
        message = self._messages.ClientInMessage()
        message.sync.id = self._syncs
        self._sent.put(message)
        for received in self._received:
            for update in received.updates:
                self._update(update)
            if received.HasField("sync") and received.sync.id == self._syncs:
                return
        raise words.no_answer(self.address, "the coordinator ended the conversation")

    def _update(self, update: Any) -> None:
        kind = update.WhichOneof("kind")
        if kind == "place":
            self.places[update.place.name] = self._common.Place.from_pb2(update.place)
        elif kind == "del_place":
            self.places.pop(update.del_place, None)
        elif kind in ("resource", "del_resource"):
            path = update.resource.path if kind == "resource" else update.del_resource
            exporter, group, name = path.exporter_name, path.group_name, path.resource_name
            for known in list(self.resources):
                if (known[0], known[1], known[3]) == (exporter, group, name):
                    del self.resources[known]
            if kind == "resource":
                data = self._common.ResourceEntry.data_from_pb2(update.resource)
                entry = self._common.ResourceEntry(data)
                self.resources[exporter, group, entry.cls, name] = entry

    @contextmanager
    def _answered(self, place: str) -> Iterator[None]:
        try:
            yield
        except self._grpc.RpcError as error:
            raise words.not_acquired(place, _details(error), self.address) from None


def changed_text(place: Any) -> str:
    """When the place was last acquired, released or edited, as labgrid shows it."""
    return datetime.fromtimestamp(place.changed).isoformat(" ", "seconds")


def _packages() -> tuple[Any, Any, Any, Any, str]:
    # Its remarks about forked processes mean nothing to who runs a suite.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        import grpc
        from labgrid.remote import common
        from labgrid.remote.generated import labgrid_coordinator_pb2 as messages
        from labgrid.remote.generated import labgrid_coordinator_pb2_grpc as stubs
        from labgrid.util import labgrid_version
    except ImportError as error:
        raise words.not_installed(error) from None
    return grpc, messages, stubs, common, str(labgrid_version())


def _check_listens(address: str) -> None:
    """gRPC would try for a long time, and not say why it did not come through."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise _no_coordinator(address, error) from None


def _no_coordinator(address: str, error: OSError) -> KeyfobHostError:
    return words.no_coordinator(address, str(error))


def _details(error: Any) -> str:
    details = error.details() if hasattr(error, "details") else ""
    return str(details or error).partition("\n")[0]
