"""Hosts meet, tell each other things, and notice who is gone; strangers don't disturb."""

import dataclasses
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import ports
import pytest

from vggface_gender.base import hosts, training_options
from vggface_gender.base.errors import InputError
from vggface_gender.base.hosts import Place


def met(*places: Place, wait: float = 10) -> list:
    """What each comes to: its hosts, or the error; all at the same time, the last one first."""

    def meet(place):
        try:
            return hosts.meet(place, wait=wait)
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(len(places)) as threads:
        return [one.result() for one in [threads.submit(meet, place) for place in places]]


def three() -> list[hosts.Hosts]:
    address = "localhost", ports.free()
    return met(*(Place(address, 3, index) for index in range(3)))


def at_once(functions) -> list:
    with ThreadPoolExecutor(len(functions)) as threads:
        return [one.result() for one in [threads.submit(function) for function in functions]]


def close(one: hosts.Hosts) -> None:
    for connection in one._connections.values():
        connection.close()


def test_all_get_every_address_and_what_every_host_says():
    found = three()
    assert [one.index for one in found] == [0, 1, 2]
    assert len({one.addresses for one in found}) == 1
    names, ports = zip(*(address.rsplit(":", 1) for address in found[0].addresses), strict=True)
    assert names == ("localhost", "127.0.0.1", "127.0.0.1") and len(set(ports)) == 3
    values = [{"loss": 1 / 3}, None, ["ä"]]
    pairs = zip(found, values, strict=True)
    said = at_once([lambda one=one, value=value: one.gather(value) for one, value in pairs])
    assert said == [values] * 3
    assert at_once([lambda one=one: one.first(one.index) for one in found]) == [0] * 3
    assert found[0].first("it waits for nobody") and found[1].first(None)


def test_a_single_host_says_it_to_itself():
    alone = hosts.Hosts()
    assert (alone.count, alone.index) == (1, 0)
    assert alone.gather(1) == [1] and alone.first(2) == 2
    assert alone.lost() is None


def test_all_hear_which_host_is_gone():
    first, second, third = three()
    assert first.lost(within=0.1) is None and third.lost(within=0.1) is None
    close(second)
    lost = at_once([first.lost, third.lost])
    assert all("host 1 of 3 is gone" in str(error) for error in lost)
    with pytest.raises(hosts.Lost, match="host 1 of 3 is gone"):
        first.gather(None)


def test_that_host_0_is_gone_is_noticed_by_who_waits_for_it():
    first, second, _ = three()
    close(first)
    with pytest.raises(hosts.Lost, match="host 0 of 3 is gone"):
        second.first(None)


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"",
        b"\0\0\0\x04null",
        b"\0\0\0\x02[]",
        b"\0\0\0\x03{}}",
        b"\0\0\x03\xe8" + b"[" * 1000,
        *(
            len(body).to_bytes(4, "big") + body
            for body in (
                json.dumps({"protocol": hosts.PROTOCOL, "index": "1", "port": 5}).encode(),
                json.dumps({"protocol": hosts.PROTOCOL, "index": 1, "port": 70000}).encode(),
            )
        ),
    ],
)
def test_strangers_are_left_aside(words, monkeypatch):
    monkeypatch.setattr(hosts, "GREETING", 0.2)
    port = ports.free()

    def disturb():
        for _ in range(50):
            try:
                with socket.create_connection(("127.0.0.1", port)) as stranger:
                    stranger.sendall(words)
                    time.sleep(0.4)
                return
            except ConnectionRefusedError:
                time.sleep(0.02)

    stranger = threading.Thread(target=disturb)
    stranger.start()
    place = Place(("127.0.0.1", port), 2, 0)
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(hosts.meet, place)
        stranger.join()
        found = [
            threads.submit(hosts.meet, dataclasses.replace(place, index=1)).result(),
            waiting.result(),
        ]
    assert found[0].addresses == found[1].addresses


def test_who_does_not_belong_is_told_why():
    address = "127.0.0.1", ports.free()
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(hosts.meet, Place(address, 3, index)) for index in (0, 1)]
        time.sleep(0.5)  # until host 1 is there
        (same,) = met(Place(address, 3, 1))
        (other,) = met(Place(address, 2, 1))
        (beyond,) = met(Place(address, 3, 3))
        (last,) = met(Place(address, 3, 2))
        assert [one.result().count for one in waiting] == [3, 3] and last.index == 2
    assert "host 1 is there already: give every host a --host-index of its own" in same
    assert "host 0 was started with --hosts 3: give the same on every host" in other
    assert "--host-index of its own" in beyond


def test_a_host_that_was_started_once_more_takes_its_place():
    address = "127.0.0.1", ports.free()
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(hosts.meet, Place(address, 3, 0))
        with hosts._connected(Place(address, 3, 1), deadline=time.monotonic() + 9, wait=9) as gone:
            greeting = {"protocol": hosts.PROTOCOL, "index": 1, "count": 3, "port": 7}
            hosts.send(gone, greeting)
            time.sleep(0.2)
        again = threads.submit(hosts.meet, Place(address, 3, 1))
        last = threads.submit(hosts.meet, Place(address, 3, 2))
        assert first.result().addresses == again.result().addresses == last.result().addresses


def test_who_waits_in_vain_says_for_whom():
    port = ports.free()
    (alone,) = met(Place(("127.0.0.1", port), 3, 0), wait=0.3)
    assert alone.startswith("of 3 hosts 1, 2 did not come to 127.0.0.1:")
    (called,) = met(Place(("127.0.0.1", port), 3, 1), wait=0.3)
    assert "can't be reached" in called and "start the command on host 0" in called
    (nobody,) = met(Place(("no-such-host.invalid", port), 2, 1), wait=0.3)
    assert "no-such-host.invalid" in nobody
    with socket.create_server(("", port)):
        (taken,) = met(Place(("127.0.0.1", port), 2, 0), wait=0.3)
    assert "can't be opened here" in taken


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--coordinator a:1", "--coordinator goes with --distribute multihost"),
        ("--distribute mirrored --hosts 2", "--hosts goes with --distribute multihost"),
        ("--distribute multihost --hosts 2 --host-index 0", "give --coordinator"),
        ("--distribute multihost --coordinator a:1 --hosts 2", "give --host-index"),
        ("--distribute multihost --coordinator a:1 --hosts 1 --host-index 0", "2 or more"),
        (
            "--distribute multihost --coordinator a:1 --hosts 2 --host-index 2",
            "--host-index 2: of 2 hosts it is 0 to 1",
        ),
        (
            "--distribute multihost --coordinator a:1 --hosts 2 --host-index 0 "
            "--find-learning-rate",
            "on one host",
        ),
        (
            "--distribute multihost --coordinator a:1 --hosts 2 --host-index 0 --sweep ema=0,0.5",
            "on one host",
        ),
    ],
)
def test_options_that_dont_go_together_are_refused(given, said):
    from vggface_gender import multitask

    arguments = multitask.parser().parse_args(["--dataset", "UTKFace", *given.split()])
    with pytest.raises(InputError, match=said):
        training_options.place(arguments)


@pytest.mark.parametrize("address", ["a", ":1", "a:", "a:0", "a:65536", "a:-1", "a:1x"])
def test_a_coordinator_is_a_host_and_a_port(address, capsys):
    from vggface_gender import transfer

    with pytest.raises(SystemExit, match="2"):
        transfer.parser().parse_args(["--dataset", "UTKFace", "--coordinator", address])
    assert "is not HOST:PORT" in capsys.readouterr().err


def test_of_a_host_alone_nothing_is_asked():
    from vggface_gender import multitask

    arguments = multitask.parser().parse_args(["--dataset", "UTKFace"])
    assert training_options.place(arguments) is None
    line = "--dataset UTKFace --distribute multihost --coordinator h0:7 --hosts 2 --host-index 1"
    arguments = multitask.parser().parse_args(line.split())
    assert training_options.place(arguments) == Place(("h0", 7), 2, 1)
