"""The proxy does to a connection what its rules say, and nothing else."""

import socket
import threading
import time

import pytest
from broadway_faults.proxy import DOWN, UP, Loop, Proxy


class Echo:
    """A server that answers every piece with itself in capitals, and keeps what it has heard."""

    def __init__(self):
        self.heard = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            while data := connection.recv(4096):
                self.heard.append(data)
                connection.sendall(data.upper())
        except OSError:
            pass


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.listener.close()


@pytest.fixture
def proxy(echo):
    loop = Loop()
    made = Proxy(loop, "test", echo.port)
    yield made
    made.close()
    loop.close()


def connect(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=3)


def ask(link, text):
    """The answer, or None if the connection is cut."""
    try:
        link.sendall(text)
        return link.recv(4096) or None
    except ConnectionError:
        return None


def is_silent(link, seconds=0.3):
    link.settimeout(seconds)
    try:
        return link.recv(1) is None
    except TimeoutError:
        return True
    finally:
        link.settimeout(3)


def heard(echo, text, seconds=3):
    deadline = time.monotonic() + seconds
    while text not in b"".join(echo.heard):
        assert time.monotonic() < deadline, f"{text} was not heard"
        time.sleep(0.01)


def test_without_rules_everything_passes(proxy):
    link = connect(proxy)
    assert ask(link, b"hello") == b"HELLO" and ask(link, b"again") == b"AGAIN"


def test_refused_connections_are_reset_and_open_ones_live(proxy):
    before = connect(proxy)
    assert ask(before, b"a") == b"A"
    proxy.set(refuse=True)
    assert ask(connect(proxy), b"b") is None
    assert ask(before, b"c") == b"C"
    proxy.cut()
    assert ask(before, b"d") is None


def test_what_is_dropped_never_arrives(proxy, echo):
    link = connect(proxy)
    proxy.set(drop=(UP,))
    link.sendall(b"lost")
    assert is_silent(link) and echo.heard == []
    proxy.heal()
    assert ask(link, b"found") == b"FOUND"


def test_one_way_the_request_arrives_and_the_answer_does_not(proxy, echo):
    link = connect(proxy)
    proxy.set(drop=(DOWN,))
    link.sendall(b"done")
    heard(echo, b"done")
    assert is_silent(link)


def test_what_is_held_arrives_when_it_is_released(proxy, echo):
    link = connect(proxy)
    proxy.set(hold=(UP,))
    link.sendall(b"later")
    assert is_silent(link) and echo.heard == []
    proxy.heal()
    assert link.recv(4096) == b"LATER"


def test_a_matching_request_is_done_and_its_answer_cut(proxy, echo):
    proxy.set(match=b"insert", cut_reply=1)
    link = connect(proxy)
    assert ask(link, b"find") == b"FIND"
    assert ask(link, b"insert one") is None
    heard(echo, b"insert one")
    assert ask(connect(proxy), b"insert two") == b"INSERT TWO"


def test_a_matching_request_is_held_though_its_sender_waits_no_longer(proxy, echo):
    proxy.set(match=b"insert", hold_match=True)
    link, other = connect(proxy), connect(proxy)
    link.sendall(b"insert late")
    assert ask(other, b"find") == b"FIND"
    assert b"insert late" not in b"".join(echo.heard)
    proxy.heal()
    heard(echo, b"insert late")


def test_a_connection_is_cut_after_so_many_bytes(proxy, echo):
    proxy.set(cut_after=6)
    link = connect(proxy)
    link.sendall(b"0123456789")
    heard(echo, b"012345")
    time.sleep(0.1)
    assert b"6" not in b"".join(echo.heard)


def test_delay_holds_each_piece_for_its_time(proxy):
    link = connect(proxy)
    proxy.set(delay_s=0.15)
    begun = time.monotonic()
    assert ask(link, b"slow") == b"SLOW"
    assert time.monotonic() - begun >= 0.3
