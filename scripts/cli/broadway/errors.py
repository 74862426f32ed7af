"""What a client raises. The text of each error is one sentence for people; none has a token in it."""


class BroadwayError(Exception):
    """Any failure of a request."""


class Refused(BroadwayError):
    """The server refused the request. `status` is the answer's; `is_repetition`: an earlier attempt of the same
    request, whose answer was lost, may have been carried out."""

    def __init__(self, sentence: str, status: int, is_repetition: bool = False) -> None:
        super().__init__(sentence)
        self.status = status
        self.is_repetition = is_repetition


class NotFound(Refused):
    """There is no such run, job, grader, config or path, or it belongs to another course."""


class Unavailable(BroadwayError):
    """No server has served the request in time."""


class BadAnswer(Unavailable):
    """What answered is no Broadway, or one of another version: the answer has another form."""
