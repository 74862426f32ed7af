"""The proxy applies exactly its rules to a connection."""

import socket
import threading
import time

import pytest
from broadway_faults.proxy import DOWN, UP, Loop, Proxy


class Echo:
    """A server that answers every piece in upper case, and keeps the received bytes."""

    def __init__(self):
        self.received = []
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
                self.received.append(data)
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
    """Sends a piece; returns the answer, or None if the connection is reset."""
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


def wait_received(echo, text, seconds=3):
    deadline = time.monotonic() + seconds
    while text not in b"".join(echo.received):
        assert time.monotonic() < deadline, f"{text} was not received"
        time.sleep(0.01)


def test_without_rules_everything_passes(proxy):
    link = connect(proxy)
    assert ask(link, b"hello") == b"HELLO" and ask(link, b"again") == b"AGAIN"


def test_refused_connections_are_reset_and_open_ones_kept(proxy):
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
    assert is_silent(link) and echo.received == []
    proxy.heal()
    assert ask(link, b"found") == b"FOUND"


def test_a_request_arrives_and_its_answer_is_dropped(proxy, echo):
    link = connect(proxy)
    proxy.set(drop=(DOWN,))
    link.sendall(b"done")
    wait_received(echo, b"done")
    assert is_silent(link)


def test_what_is_held_arrives_when_it_is_released(proxy, echo):
    link = connect(proxy)
    proxy.set(hold=(UP,))
    link.sendall(b"later")
    assert is_silent(link) and echo.received == []
    proxy.heal()
    assert link.recv(4096) == b"LATER"


def test_a_matching_request_is_done_and_reset_before_the_answer(proxy, echo):
    proxy.set(match=b"insert", cut_reply=1)
    link = connect(proxy)
    assert ask(link, b"find") == b"FIND"
    assert ask(link, b"insert one") is None
    wait_received(echo, b"insert one")
    assert ask(connect(proxy), b"insert two") == b"INSERT TWO"


def test_a_matching_request_is_held_after_its_sender_disconnected(proxy, echo):
    proxy.set(match=b"insert", hold_match=True)
    link, other = connect(proxy), connect(proxy)
    link.sendall(b"insert late")
    assert ask(other, b"find") == b"FIND"
    assert b"insert late" not in b"".join(echo.received)
    proxy.heal()
    wait_received(echo, b"insert late")


def test_a_connection_is_reset_after_a_number_of_bytes(proxy, echo):
    proxy.set(cut_after=6)
    link = connect(proxy)
    link.sendall(b"0123456789")
    wait_received(echo, b"012345")
    time.sleep(0.1)
    assert b"6" not in b"".join(echo.received)


def test_delay_delays_each_piece(proxy):
    link = connect(proxy)
    proxy.set(delay_s=0.15)
    begun = time.monotonic()
    assert ask(link, b"slow") == b"SLOW"
    assert time.monotonic() - begun >= 0.3
