"""Runs a case on one connection, and returns the outcome."""

import select
import socket
import struct
import time
from dataclasses import dataclass

from broadway_fuzz.answers import Malformed, parse_answers
from broadway_fuzz.case import AWAIT, FIN, PAUSE, RESET, SEND, Case, Step

CLOSED, BROKEN, OPEN, GIVEN_UP = "closed", "reset", "open", "given up"
CHUNK = 1 << 16
AWAIT_S = 1.0
STOP_SENDING_S = 3.0


@dataclass(frozen=True)
class Pace:
    """Seconds to wait for an answer before the client sends FIN, and for the end of the connection after that."""

    answer_s: float
    end_s: float


@dataclass
class Outcome:
    """The received bytes, and the end of the connection: CLOSED or BROKEN (reset) by the server, OPEN if the client
    timed out, GIVEN_UP if the client ended the connection."""

    received: bytes = b""
    end: str = OPEN


class Connection:
    """One connection of a case. It reads whenever possible, so that the server is never blocked in writing."""

    def __init__(self, address: tuple[str, int], source: str):
        self.socket = socket.socket()
        self.socket.bind((source, 0))
        self.socket.settimeout(5)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.outcome = Outcome()

    def close(self) -> None:
        self.socket.close()

    @property
    def is_over(self) -> bool:
        """True if the server has ended the connection."""
        return self.outcome.end in (CLOSED, BROKEN)

    def carry_out(self, step: Step) -> None:
        """One step of the case."""
        if step.verb == SEND:
            self._send(step.data)
        elif step.verb == PAUSE:
            self.read_until(lambda: False, step.milliseconds / 1000)
        elif step.verb == AWAIT:
            self.read_until(lambda: step.data in self.outcome.received, AWAIT_S)
        elif step.verb == FIN:
            self.finish()
        elif step.verb == RESET:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.close()
            self.outcome.end = GIVEN_UP

    def finish(self) -> None:
        """Sends FIN."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def read_until(self, condition, seconds: float) -> bool:
        """Reads until `condition()`, the end of the connection, or the end of the time."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if self.is_over or left <= 0:
                return False
            if select.select([self.socket], [], [], left)[0]:
                self._receive()
        return True

    def has_whole_answer(self) -> bool:
        """True if complete answers, and no beginning of another one, have arrived."""
        try:
            answers, rest = parse_answers(self.outcome.received, is_closed=False)
        except Malformed:
            return True  # waiting longer does not change the outcome
        return not rest and any(answer.status >= 101 for answer in answers)

    def has_event_stream(self) -> bool:
        """True if an event stream has begun, which ends only with its job."""
        return b"Content-Type: text/event-stream" in self.outcome.received

    def _send(self, data: bytes) -> None:
        view, deadline = memoryview(data), time.monotonic() + STOP_SENDING_S
        while view and not self.is_over and time.monotonic() < deadline:
            readable, writable, _ = select.select([self.socket], [self.socket], [], 0.2)
            if readable:
                self._receive()
            if writable and not self.is_over:
                view = view[self._send_some(view) :]

    def _send_some(self, view: memoryview) -> int:
        try:
            return self.socket.send(view[:CHUNK])
        except BlockingIOError:
            return 0
        except OSError:  # the server has closed the connection; earlier bytes can still be read
            self.read_until(lambda: False, 1)
            self.outcome.end = CLOSED if self.outcome.end == OPEN else self.outcome.end
            return 0

    def _receive(self) -> None:
        try:
            data = self.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.outcome.end = BROKEN
            return
        self.outcome.received += data
        if not data:
            self.outcome.end = CLOSED


def perform(case: Case, address: tuple[str, int], source: str, pace: Pace) -> Outcome:
    """Runs a case. Raises OSError if the connection can't be opened."""
    connection = Connection(address, source)
    try:
        for step in case.steps:
            if connection.is_over:
                break
            connection.carry_out(step)
        if connection.outcome.end == OPEN:
            connection.read_until(connection.has_whole_answer, 0 if case.is_aborted else pace.answer_s)
            connection.finish()
            if connection.read_until(connection.has_event_stream, pace.end_s):
                connection.outcome.end = GIVEN_UP
    finally:
        connection.close()
    return connection.outcome
