"""What a story did to the bench's board and broker is undone before the next one begins."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from keyfob_host.hil.bench import Bench, BenchOptions
from keyfob_host.home import Home
from keyfob_host.transport.files import hashes, list_tree

pytestmark = pytest.mark.mosquitto


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    home = Home(tmp_path_factory.mktemp("restores"))
    made = Bench(BenchOptions.resolve(kind="virtual-esp32", home=home))
    made.start()
    yield made
    made.stop()


def restored(bench: Bench) -> tuple[dict[str, str | None], dict[str, Any]]:
    """As the next story finds it: the board's program, its settings; it is connected."""
    bench.broker.restore()
    for index in range(2):
        bench.fresh_ntp(index)
    bench.board.restore()
    with bench.board.repl() as repl:
        program = [path for path in list_tree(repl) if path.endswith((".mpy", ".py"))]
        found = hashes(repl, program)
        settings = json.loads(repl.read("/keyfob.json"))
    settings["ntp"].pop("min_s")  # the day on which it was provisioned
    bench.board.restore()
    bench.board.connected()
    assert bench.board.fingerprint() == bench.board.events("store.loaded")[0]["cert"]
    return found, settings


def test_engine_clock_and_broker_of_a_story_are_gone_with_it(bench: Bench) -> None:
    before = restored(bench)
    bench.broker.configure({"tls_version": "tlsv1.3"})
    bench.board.use_engine("keyfob", versions=["1.3"])
    assert bench.board.wait_event("tls.up")["version"] == "TLSv1.3"
    bench.board.set_clock(time.time() - 86_400)
    assert restored(bench) == before
    assert bench.board.events("tls.up")[0]["version"] == "TLSv1.2"


def test_power_that_was_to_be_cut_later_is_not_cut_in_the_next_story(bench: Bench) -> None:
    before = restored(bench)
    bench.board.cut_power_at_write(1_000)
    assert not bench.board.has_lost_power()
    bench.board.undo()
    bench.board.cut_power_at_write(3)
    assert bench.board.provision_until_cut(bench.ca.authority.issue_device(bench.board.device_id))
    assert bench.board.has_lost_power()
    assert restored(bench) == before
    assert not bench.board.has_lost_power()
