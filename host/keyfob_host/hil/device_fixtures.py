"""Fixtures of the advisor's cases: a device of any make, and a broker that does as it is told.

`keyfob_host.hil.plugin` takes them over. Nothing of the bench is imported until one is
asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from keyfob_host.hil.bench import Bench
    from keyfob_host.hil.bench_broker import BenchBroker
    from keyfob_host.hil.bench_ca import BenchCa
    from keyfob_host.hil.device import Device
    from keyfob_host.hil.external import ExternalBench
    from keyfob_host.hil.scripted.broker import ScriptedBroker


@pytest.fixture
def device(
    request: pytest.FixtureRequest, keyfob_bench: Bench | ExternalBench, broker: BenchBroker
) -> Iterator[Device]:
    """The device under test, of which nothing is known but that it speaks MQTT over TLS."""
    from keyfob_host.hil.device import BoardDevice, ExternalDevice
    from keyfob_host.hil.external import ExternalBench

    if isinstance(keyfob_bench, ExternalBench):
        keyfob_bench.wait_here()
        yield ExternalDevice(keyfob_bench)
        return
    board = request.getfixturevalue("board")
    yield BoardDevice(board, keyfob_bench.options.capabilities())
    # It may be waiting, or have learned what only the case was to tell it.
    board.must_restart = True


@pytest.fixture
def scripted(
    keyfob_bench: Bench | ExternalBench, device: Device, broker: BenchBroker, ca: BenchCa
) -> Iterator[ScriptedBroker]:
    """A scripted broker in mosquitto's place, with its name; the device is about to connect."""
    from keyfob_host.hil.scripted.broker import ScriptedBroker

    identity = ca.authority.issue_broker(broker.host, [broker.host])
    before = broker.relay.target[1]
    with ScriptedBroker(identity, keyfob_bench.evidence) as made:
        keyfob_bench.evidence.add("scripted broker", made.text)
        broker.answer(made.port)
        device.restart()
        broker.relay.cut()
        try:
            yield made
        finally:
            broker.answer(before)
            keyfob_bench.evidence.remove("scripted broker")
