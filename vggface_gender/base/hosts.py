"""The hosts of one training: how they find each other, and what they tell each other.

A host is a process that trains on one device. Host 0 listens where `--coordinator` says; the others
call it there, and stay connected to the end, so that one which is gone is noticed. TensorFlow wants
the addresses of all from its start on: each sends host 0 its port and receives all addresses.

A message is JSON behind its length in 4 bytes. Nobody has to prove who they are, as between
TensorFlow's own connections: this is for a network whose machines trust each other.
"""

import contextlib
import json
import os
import select
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vggface_gender.base.errors import InputError
from vggface_gender.base.text import listed

PROTOCOL = "vggface-gender hosts 1"  # what a host begins with
WAIT = 300.0  # seconds in which all hosts have to come
GREETING = 5.0  # seconds that whoever calls has to say which host it is
GRACE = 30.0  # seconds after a failure in which a connection shows who is gone
LONGEST = 2**22  # bytes of a message
LONGEST_GREETING = 1000
_UNREADABLE = (OSError, ValueError, RecursionError)  # of a message that does not come whole


@dataclass(frozen=True)
class Place:
    """A host's place among the hosts of a training, as the command line gives it."""

    coordinator: tuple[str, int]  # host 0's name or address, and the port it listens on
    count: int
    index: int


class Lost(InputError):
    """A host is gone."""


class Hosts:
    """The hosts of a training, as one of them sees the others; by default there are none."""

    def __init__(
        self,
        index: int = 0,
        *,
        addresses: Sequence[str] = ("",),
        connections: Mapping[int, socket.socket] | None = None,
    ):
        """Keep what `meet` found.

        Args:
            index: this host's, from 0.
            addresses: every host's, as TensorFlow takes them.
            connections: host 0's to all others; another's to host 0.
        """
        self.index = index
        self.addresses = tuple(addresses)
        self._connections = dict(connections or {})

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.addresses)

    def gather(self, value: Any) -> list[Any]:
        """What every host gives here, in their order; each waits for all.

        Args:
            value: of what JSON has, under `LONGEST` bytes.

        Raises:
            Lost: a host is gone.
        """
        if self.index:
            self._send(0, value)
            return self._receive(0)
        return self.first([value, *(self._receive(number) for number in self._connections)])

    def first(self, value: Any) -> Any:
        """What host 0 gives here; it does not wait for the others.

        Args:
            value: see `gather`; of the other hosts it is left aside.

        Raises:
            Lost: a host is gone.
        """
        if self.index:
            return self._receive(0)
        for number in self._connections:
            self._send(number, value)
        return value

    def lost(self, *, within: float = GRACE) -> Lost | None:
        """The error to end with where a host is gone, after something that all take part in failed.

        Args:
            within: seconds to wait for a sign of it.
        """
        deadline = time.monotonic() + within
        numbers = {connection: number for number, connection in self._connections.items()}
        while numbers and (left := deadline - time.monotonic()) > 0:
            for connection in select.select(list(numbers), [], [], left)[0]:
                try:
                    self._receive(numbers[connection])  # what it still said before
                except Lost as lost:
                    return lost
        return None

    def _send(self, number: int, value: Any) -> None:
        try:
            send(self._connections[number], {"value": value})
        except OSError:
            raise self._gone(number) from None

    def _receive(self, number: int) -> Any:
        try:
            message = receive(self._connections[number])
            gone = message.get("gone")
            if gone is None:
                return message["value"]
        except (*_UNREADABLE, AttributeError, KeyError):
            gone = number
        raise self._gone(gone)

    def _gone(self, number: int) -> Lost:
        """The error of a host that is gone; host 0 tells the others, which can't see that."""
        if not self.index:
            for other in self._connections.values():
                with contextlib.suppress(OSError):
                    send(other, {"gone": number})
        return Lost(
            f"host {number} of {self.count} is gone (its own last line says why, unless it was "
            "killed): give the same command again on every host"
        )


def meet(place: Place, *, wait: float = WAIT) -> Hosts:
    """Wait until all hosts of a training are there.

    Args:
        place: this host's.
        wait: seconds at most.

    Raises:
        InputError: host 0 can't be reached, or refuses; or not all came in time.
    """
    name, port = place.coordinator
    own = _free_port()
    if place.index:
        return _call(place, own=own, wait=wait)
    try:
        server = socket.create_server(("", port))
    except OSError as error:
        why = os.strerror(error.errno or 0)  # its own text says the address once more
        raise InputError(
            f"--coordinator {name}:{port}: that port can't be opened here ({why}): name a free one"
        ) from None
    with server:
        return _host(server, place, own=f"{name}:{own}", wait=wait)


def _host(server: socket.socket, place: Place, *, own: str, wait: float) -> Hosts:
    """Host 0 waits for the others."""
    deadline = time.monotonic() + wait
    addresses, connections = {0: own}, dict[int, socket.socket]()
    where = "{}:{}".format(*place.coordinator)
    print(f"waiting for {place.count - 1} of {place.count} hosts at {where}", file=sys.stderr)
    while len(addresses) < place.count:
        server.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            connection, (address, _) = server.accept()
        except TimeoutError:
            missing = [str(number) for number in range(place.count) if number not in addresses]
            raise InputError(
                f"of {place.count} hosts {listed(missing, 5)} did not come to {where} within "
                f"{wait:.0f} seconds: start the command on every host"
            ) from None
        try:
            connection.settimeout(GREETING)
            greeting = receive(connection, longest=LONGEST_GREETING)
            number, port = _greeted(greeting)
            if refused := _refusal(place, number, count=greeting.get("count"), here=connections):
                send(connection, {"refused": refused})
                connection.close()
                continue
        except (*_UNREADABLE, AttributeError):  # whoever that was: no host
            connection.close()
            continue
        addresses[number], connections[number] = f"{address}:{port}", _kept(connection)
    hosts = Hosts(
        addresses=[addresses[number] for number in range(place.count)],
        connections=dict(sorted(connections.items())),
    )
    hosts.first(hosts.addresses)
    return hosts


def _greeted(greeting: Mapping) -> tuple[int, int]:
    """A calling host's number and its port for TensorFlow.

    Raises:
        ValueError: it is no greeting.
    """
    number, port = greeting.get("index"), greeting.get("port")
    if greeting.get("protocol") != PROTOCOL or not isinstance(number, int):
        raise ValueError("no greeting")
    if not isinstance(port, int) or not 0 < port < 2**16:
        raise ValueError("no port")
    return number, port


def _refusal(
    place: Place, number: int, *, count: Any, here: Mapping[int, socket.socket]
) -> str | None:
    """Why a host that calls is not one of these."""
    if count != place.count:
        return f"host 0 was started with --hosts {place.count}: give the same on every host"
    # Who waits says nothing, so what can be read of it is its end: it was started once more.
    is_there = number in here and not select.select([here[number]], [], [], 0)[0]
    if is_there or not 0 < number < place.count:
        return f"host {number} is there already: give every host a --host-index of its own"
    return None


def _call(place: Place, *, own: int, wait: float) -> Hosts:
    """Another host calls host 0, and waits until all have."""
    deadline = time.monotonic() + wait
    where = "{}:{}".format(*place.coordinator)
    connection = _connected(place, deadline=deadline, wait=wait)
    greeting = {"protocol": PROTOCOL, "index": place.index, "count": place.count, "port": own}
    try:
        send(connection, greeting)
        # Host 0 may have begun to wait later; that it ends is noticed at once.
        connection.settimeout(wait + GREETING)
        answer = receive(connection)
        refused, addresses = answer.get("refused"), answer.get("value")
    except _UNREADABLE as error:
        raise InputError(
            f"{where}: host 0 ended, or is no training's, before all hosts were there ({error})"
        ) from None
    if refused or not isinstance(addresses, list) or len(addresses) != place.count:
        raise InputError(f"{where}: {refused or 'no training listens there'}")
    return Hosts(place.index, addresses=addresses, connections={0: _kept(connection)})


def _connected(place: Place, *, deadline: float, wait: float) -> socket.socket:
    """A connection with host 0, which may be started later than this host."""
    name, port = place.coordinator
    while True:
        try:
            left = max(0.1, deadline - time.monotonic())
            connection = socket.create_connection((name, port), timeout=left)
            # A port that nobody listens on yet can be taken for the caller's own.
            if connection.getsockname() != connection.getpeername():
                return connection
            connection.close()
            why = "nobody listens there"
        except OSError as error:
            why = error.strerror or str(error)
            if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
                raise InputError(f"--coordinator {name}:{port}: {why}: name host 0") from None
        if time.monotonic() > deadline:
            raise InputError(
                f"{name}:{port} can't be reached within {wait:.0f} seconds ({why}): start the "
                "command on host 0, and see that its port is open"
            )
        time.sleep(0.2)


def _kept(connection: socket.socket) -> socket.socket:
    """A connection that waits as long as it takes, and notices a machine that is off."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return connection


def _free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def send(connection: socket.socket, message: Mapping) -> None:
    """Send a message.

    Raises:
        OSError: the connection is broken.
    """
    body = json.dumps(message).encode()
    connection.sendall(len(body).to_bytes(4, "big") + body)


def receive(connection: socket.socket, *, longest: int = LONGEST) -> dict:
    """Wait for a message.

    Args:
        longest: bytes that it may have.

    Raises:
        OSError: the connection is closed or broken, or its time is over.
        ValueError: it is no such message.
    """
    size = int.from_bytes(_exactly(connection, 4), "big")
    if size > longest:
        raise ValueError("no message of a host")
    message = json.loads(_exactly(connection, size))
    if not isinstance(message, dict):
        raise ValueError("no message of a host")
    return message


def _exactly(connection: socket.socket, count: int) -> bytes:
    got = bytearray()
    while len(got) < count:
        part = connection.recv(count - len(got))
        if not part:
            raise ConnectionError("the connection is closed")
        got += part
    return bytes(got)
