"""Scores that a stage has written as a file: in the form of Gradescope's autograders, of PrairieLearn's external
graders, or as JUnit XML. Students' code may have written the file, so everything about it is bounded."""

from broadway_tools.grader.json_stream import json_size
from broadway_tools.grader.output import HeadTail
from broadway_tools.grader.scores_gradescope import read_gradescope
from broadway_tools.grader.scores_json import Place, kind_of, parse_json
from broadway_tools.grader.scores_junit import read_junit
from broadway_tools.grader.scores_model import MOST_TESTS, UnknownForm
from broadway_tools.grader.scores_prairielearn import is_prairielearn, read_prairielearn

MAX_FILE_BYTES = 1024 * 1024
# Of all tests of a result as JSON, and of the output of one: the first limit that makes them fit is used. The API has
# the same limits.
MAX_TESTS_BYTES = 1024 * 1024
OUTPUT_BYTES = (16384, 2048, 256, 0)
UTF8_BOM, UTF16_BOMS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
BLANKS = b" \t\r\n"


def read_scores(content, path):
    """The Scores in a file's bytes; `path` is its path in the container. Raises ScoresError with a sentence that says
    which place is malformed; UnknownForm, one of these, if the file has none of the three forms."""
    start = content.removeprefix(UTF8_BOM).lstrip(BLANKS)
    if not start:
        raise UnknownForm("it is empty")
    if start[:1] == b"<" or (content[:2] in UTF16_BOMS and b"<" in content[2:4]):
        return _fit(read_junit(content))
    value = parse_json(content)
    if not isinstance(value, dict):
        raise UnknownForm(f"it must be an object, not {kind_of(value)}")
    top = Place(value, "")
    if is_prairielearn(top, path):
        return _fit(read_prairielearn(top))
    if not top.has("score") and not top.has("tests"):
        raise UnknownForm("it has neither a score nor tests")
    return _fit(read_gradescope(top))


def _fit(scores):
    """The same, with no more tests and output than the API keeps. `left_out` says how many tests there were besides."""
    if scores.output is not None:
        scores.output = _cut(scores.output, OUTPUT_BYTES[0])
    tests = scores.tests[:MOST_TESTS]
    for limit in OUTPUT_BYTES:
        fitting = [_with_output(test, limit) for test in tests]
        if json_size(fitting) <= MAX_TESTS_BYTES:
            break
    while json_size(fitting) > MAX_TESTS_BYTES:
        fitting = fitting[: len(fitting) // 2]
    scores.left_out = len(scores.tests) - len(fitting)
    scores.tests = fitting
    return scores


def _with_output(test, limit):
    if "output" not in test:
        return test
    cut = _cut(test["output"], limit)
    return {**test, "output": cut} if cut else {key: value for key, value in test.items() if key != "output"}


def _cut(text, limit):
    kept = HeadTail(limit)
    kept.write(text.encode("utf-8", "replace"))
    return kept.text()
