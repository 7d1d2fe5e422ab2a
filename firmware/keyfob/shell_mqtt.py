"""The shell's ``mqtt`` commands, over the same client as an application's.

At the prompt a connection lasts until ``mqtt disconnect`` or the shell's end. A single
command opens one for itself; ``mqtt subscribe`` then shows messages until Ctrl-C.
"""

import asyncio

from micropython import const

from keyfob import config
from keyfob.client import Client
from keyfob.mqtt.publish import check_topic
from keyfob.outbox import Outbox
from keyfob.shell import first_word

_CONNECT_LIMIT_MS = const(60_000)
_ANSWER_LIMIT_MS = const(30_000)
_CLOSE_LIMIT_MS = const(5_000)
_POLL_MS = const(50)
_SHOWN_BYTES = const(256)
_USAGE = {
    "connect": "mqtt connect",
    "publish": "mqtt publish [-q 0|1|2] [-r] [-s] TOPIC TEXT",
    "subscribe": "mqtt subscribe [-q 0|1|2] FILTER",
    "disconnect": "mqtt disconnect",
    "status": "mqtt status",
}


async def run_mqtt(shell, rest: str) -> None:
    """``mqtt connect|publish|subscribe|disconnect|status``."""
    name, rest = first_word(rest)
    if name not in _USAGE:
        cause = "mqtt has no command %r." % name if name else "mqtt wants a command."
        shell.refuse(cause, "mqtt connect, publish, subscribe, disconnect or status")
        return
    options = _Options(rest)
    takes = {"publish": "qrs", "subscribe": "q"}.get(name, "")
    wants = {"publish": 2, "subscribe": 1}.get(name, 0)
    cause = options.refusal(takes, wants)
    if cause:
        shell.refuse(cause, _USAGE[name])
        return
    if not shell.link:
        shell.link = Link(shell)
    await getattr(shell.link, name)(options)


class _Options:
    """``-q QOS -r -s`` in front of the rest: at most a topic and a text with its spaces."""

    def __init__(self, rest: str) -> None:
        self.qos = 1
        self.given = ""
        self._bad = ""
        while rest[:1] == "-" and not self._bad:
            option, rest = first_word(rest)
            if option == "-q":
                qos, rest = first_word(rest)
                if qos not in ("0", "1", "2"):
                    self._bad = "-q " + qos
                    return
                self.qos = int(qos)
            if option not in ("-q", "-r", "-s"):
                self._bad = option
            self.given += option[1:]
        self.words = rest.split(None, 1)

    def refusal(self, takes: str, wants: int) -> str:
        """What is wrong, as a sentence; empty if nothing is."""
        if self._bad:
            return "There is no option %s." % self._bad
        for option in self.given:
            if option not in takes:
                return "-%s has no meaning here." % option
        if len(self.words) < wants:
            return "%s is missing." % ("TEXT" if self.words else "A topic")
        # A topic filter has no second word; a text may have any number.
        if len(self.words) > wants:
            return "%r is too much." % self.words[wants]
        return ""


class Link:
    """The shell's connection, and what was heard of it."""

    def __init__(self, shell) -> None:
        self._shell = shell
        self._client: Client | None = None
        self._outbox: Outbox | None = None
        self._events: dict[str, dict] = {}  # the last one of each name
        self._tasks: dict[str, asyncio.Task] = {}  # one a topic filter

    def heard(self, name: str, event: dict) -> None:
        """An event was emitted; the shell tells it."""
        self._events[name] = event

    async def connect(self, options: _Options) -> None:
        if not await self._connected():
            return
        if self._shell.stays:
            print("connected; events and messages appear as they come")
        else:
            print("connected, and disconnected again")

    async def publish(self, options: _Options) -> None:
        topic, text = options.words
        payload, retain = text.encode(), "r" in options.given
        if "s" in options.given and not self._client:
            check_topic(topic)
            Outbox(config.load()["outbox"]).put(topic, payload, options.qos, retain)
            print("stored; it goes out with the next connection")
            return
        client = await self._connected()
        if not client:
            return
        if "s" in options.given:
            await client.publish(topic, payload, options.qos, retain, store=True)
            print("stored; it goes out in its turn")
            return
        try:
            await asyncio.wait_for_ms(
                client.publish(topic, payload, options.qos, retain), _ANSWER_LIMIT_MS
            )
        except asyncio.TimeoutError:
            self._shell.refuse("The broker did not acknowledge it in time.", "mqtt status")
            return
        print("the broker has it" if options.qos else "sent")

    async def subscribe(self, options: _Options) -> None:
        topic_filter = options.words[0]
        if topic_filter in self._tasks:
            self._shell.refuse("%s is shown already." % topic_filter, "mqtt status")
            return
        client = await self._connected()
        if not client:
            return
        inbox = await client.subscribe(topic_filter, options.qos)
        waited_ms = 0
        while not inbox.is_granted and "error" not in self._events:
            if waited_ms >= _ANSWER_LIMIT_MS:
                self._shell.refuse("The broker did not answer in time.", "mqtt status")
                return
            await asyncio.sleep_ms(_POLL_MS)
            waited_ms += _POLL_MS
        if "error" in self._events:
            return  # told already: the broker refuses, or the connection ended
        task = asyncio.create_task(self._show(inbox))
        self._tasks[topic_filter] = task
        print("waiting for messages of " + topic_filter)
        if not self._shell.stays:
            await task

    async def disconnect(self, options: _Options) -> None:
        if not self._client:
            self._shell.refuse("There is no connection of the shell's.", "mqtt connect")
            return
        await self.close()
        print("disconnected")

    async def status(self, options: _Options) -> None:
        up = self._events.get("mqtt.up")
        if self._client and self._client.is_connected() and up:
            print("connected     %s:%d as %s" % (up["host"], up["port"], up["client_id"]))
            secured = self._events["tls.up"]
            print("secured       %s, %s" % (secured["version"], secured["cipher"]))
            print("session       %s" % ("kept by the broker" if up["session_present"] else "new"))
        else:
            broker = config.load()["broker"]
            print("disconnected  broker is %s:%d" % (broker["host"], broker["port"]))
        for topic_filter in sorted(self._tasks):
            print("subscribed    " + topic_filter)
        outbox = self._outbox or Outbox(config.load()["outbox"])
        print("stored        %d messages, %d bytes" % (outbox.count, outbox.size))
        error = self._events.get("error")
        if error:
            print("last error    %s: %s" % (error["code"], repr(error["detail"])[1:-1]))

    async def close(self) -> None:
        """Disconnect, so that the broker does not send the will. Within five seconds."""
        client, self._client = self._client, None
        self._outbox = None
        for topic_filter in self._tasks:
            self._tasks[topic_filter].cancel()
        self._tasks = {}
        if client:
            try:
                await asyncio.wait_for_ms(client.__aexit__(None, None, None), _CLOSE_LIMIT_MS)
            except asyncio.TimeoutError:
                pass  # the connection is gone either way

    async def _connected(self):
        """The client once it is connected; None if it is not within the limit, which is told."""
        self._events.pop("error", None)
        client = self._client
        if not client:
            settings = config.load()
            self._outbox = Outbox(settings["outbox"])
            client = self._client = Client(settings, self._outbox)
            await client.__aenter__()
        waited_ms = 0
        while not client.is_connected():
            error = self._events.get("error")
            if waited_ms >= _CONNECT_LIMIT_MS or (error and error["retry"] == "stop"):
                await self.close()
                cause = error["code"] if error else "no answer within a minute"
                self._shell.refuse("Not connected: %s." % cause, "mqtt connect, once it is mended")
                return None
            await asyncio.sleep_ms(_POLL_MS)
            waited_ms += _POLL_MS
        return client

    async def _show(self, inbox) -> None:
        while True:
            message = await inbox.get()
            mark = " (retained)" if message.retain else ""
            self._shell.say("%s%s  %s" % (message.topic, mark, _text(message.payload)))


def _text(payload: bytes) -> str:
    """As text if it is that, else in hexadecimal; not more than fits a few lines."""
    more = "" if len(payload) <= _SHOWN_BYTES else " and %d more" % (len(payload) - _SHOWN_BYTES)
    payload = payload[:_SHOWN_BYTES]
    try:
        text = payload.decode()
        if all(character >= " " for character in text):
            return text + more
    except UnicodeError:
        pass  # no text
    return " ".join("%02x" % byte for byte in payload) + more
