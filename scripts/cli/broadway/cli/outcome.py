"""How a command ends: exit codes, and the error that ends it with a sentence."""

SUCCESS, FAILED, USAGE, NOT_FOUND, REFUSED, UNAVAILABLE, DETACHED = 0, 1, 2, 3, 4, 5, 130


class Problem(Exception):
    """What was given can't be used; the text is one sentence that says what to do."""

    def __init__(self, sentence: str, code: int = USAGE) -> None:
        super().__init__(sentence)
        self.code = code
