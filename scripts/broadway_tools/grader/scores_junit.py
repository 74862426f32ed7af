"""JUnit XML. Its score is the number of tests that passed, of those that ran.

Expat reads it; a document type with entities is refused, since expanding them is how XML exhausts its readers."""

from xml.parsers import expat

from broadway_tools.grader.output import HeadTail
from broadway_tools.grader.scores_model import MOST_READ, Scores, ScoresError, UnknownForm, make_test

MAX_DEPTH = 64
OUTPUT_BYTES = 16384
ROOTS = ("testsuites", "testsuite")
# An element in a test, and the status of a test that has one; the first of these counts. Some writers have an
# attribute for tests that were not run.
OUTCOMES = {"error": "error", "failure": "failed", "skipped": "skipped"}
NOT_RUN = ("notrun", "disabled", "skipped")


def read_junit(content):
    """The Scores in XML, in any encoding that expat knows. Nested suites are one list. Raises ScoresError."""
    reader = _Reader()
    try:
        reader.parser.Parse(content, True)
    except expat.ExpatError as error:
        sentence = expat.errors.messages.get(error.code, "it is malformed")
        raise ScoresError(f"{_place(error.lineno, error.offset)}: it is not XML: {sentence}") from None
    except (LookupError, ValueError) as error:  # an encoding that is not known
        raise reader.error(f"it is not XML: {error}") from None
    tests = reader.tests
    passed = sum(test["status"] == "passed" for test in tests)
    return Scores("junit", passed, sum(test["status"] != "skipped" for test in tests), tests)


class _Reader:
    """The handlers of a parser, and the tests that they have read."""

    def __init__(self):
        self.tests = []
        self._open = []  # the names of the elements around
        self._test = None  # of the open testcase: its attributes
        self._outcomes = set()  # the names of its elements that say how it ended
        self._output = None
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._take_text
        self.parser.EntityDeclHandler = self._refuse_entity

    def error(self, sentence, kind=ScoresError):
        """An error about the place that is read."""
        return kind(f"{_place(self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber)}: {sentence}")

    def _start(self, name, attributes):
        if not self._open and name not in ROOTS:
            raise self.error(f"the root is {name[:40]}, not testsuites or testsuite", UnknownForm)
        self._open.append(name)
        if len(self._open) > MAX_DEPTH:
            raise self.error(f"it is nested deeper than {MAX_DEPTH} levels")
        if name == "testcase":
            if self._test is not None:
                raise self.error("a testcase is within another one")
            if len(self.tests) == MOST_READ:
                raise self.error(f"there are more than {MOST_READ} testcases")
            self._test, self._outcomes, self._output = attributes, set(), HeadTail(OUTPUT_BYTES)
        elif self._test is not None and name in OUTCOMES:
            self._outcomes.add(name)
            if attributes.get("message"):
                self._output.write(f"{attributes['message']}\n".encode())

    def _take_text(self, text):
        if self._test is not None and OUTCOMES.keys() & {self._open[-1]}:
            self._output.write(text.encode())

    def _end(self, name):
        self._open.pop()
        if name == "testcase":
            name = self._test.get("name") or f"test {len(self.tests) + 1}"
            group = self._test.get("classname")
            self.tests.append(
                make_test(
                    f"{group}.{name}" if group else name,
                    status=self._status(),
                    output=self._output.text().strip() or None,
                )
            )
            self._test = None

    def _status(self):
        for name, status in OUTCOMES.items():
            if name in self._outcomes:
                return status
        return "skipped" if self._test.get("status") in NOT_RUN else "passed"

    def _refuse_entity(self, name, *_):
        raise self.error(f"it declares the entity {name[:40]}, and entities are not read")


def _place(line, column):
    return f"line {line}, column {column + 1}"
