"""How requests to the API can end without an answer to be used."""


class Unavailable(Exception):
    """No answer, or a temporary failure: retry after `pause_s`."""

    def __init__(self, why, pause_s):
        super().__init__(why)
        self.pause_s = pause_s


class Refused(Exception):
    """The server refused the request; the text has the reason."""

    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


class Interrupted(Unavailable):
    """`interrupt` ended the call."""


class Stopped(Exception):
    """`cut` ended the connection."""
