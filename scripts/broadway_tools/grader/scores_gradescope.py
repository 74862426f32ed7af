"""results.json as Gradescope's autograders write it."""

from broadway_tools.grader.scores_model import Scores, ScoresError, make_test, total

STATUSES = ("passed", "failed")
VISIBILITIES = ("visible", "hidden", "after_due_date", "after_published")
OUTPUT_FORMATS = ("text", "html", "simple_format", "md", "ansi")


def read_gradescope(top):
    """The Scores in such an object, a Place. The score is the one at the top, else the sum of the tests'. Raises
    ScoresError."""
    visibility = top.choice("visibility", VISIBILITIES)
    output_format = top.choice("test_output_format", OUTPUT_FORMATS)
    top.choice("output_format", OUTPUT_FORMATS)
    places = enumerate(top.places("tests"), 1)
    tests = [_read_test(place, number, visibility, output_format) for number, place in places]
    score, max_score = top.number("score"), top.number("max_score")
    scores = [test["score"] for test in tests if "score" in test]
    if score is None and not scores:
        raise ScoresError("there is no score: neither at the top nor in one of the tests")
    if score is None:
        score = total(scores)
    if max_score is None and tests and all("max_score" in test for test in tests):
        max_score = total(test["max_score"] for test in tests)
    return Scores("gradescope", score, max_score, tests, output=top.text("output"))


def _read_test(place, number, visibility, output_format):
    score, max_score = place.number("score"), place.number("max_score")
    status = place.choice("status", STATUSES)
    if status is None and score is not None and max_score is not None:
        status = "passed" if score >= max_score else "failed"
    place.choice("name_format", OUTPUT_FORMATS)
    output = place.text("output")
    shown_as = place.choice("output_format", OUTPUT_FORMATS) or output_format
    return make_test(
        _name(place, number),
        score=score,
        max_score=max_score,
        status=status,
        output=output,
        output_format=shown_as if output is not None and shown_as != "text" else None,
        visibility=place.choice("visibility", VISIBILITIES) or visibility,
    )


def _name(place, number):
    """Its name, with its number before; of a test without both its place in the list."""
    words = [word for word in (place.text("number"), place.text("name")) if word]
    return " ".join(words) or f"test {number}"
