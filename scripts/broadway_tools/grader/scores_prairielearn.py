"""results.json as PrairieLearn's external graders write it. Its score is a fraction; its tests have points."""

from broadway_tools.grader.scores_model import Scores, make_test

PATH = "/grade/results/results.json"
MAX_SCORE = 1
# More than with any extra credit: a percentage, or points.
HIGHEST_SCORE = 2


def is_prairielearn(top, path):
    """Whether an object, a Place, has this form, and not Gradescope's; a file at PrairieLearn's own path always has."""
    if path == PATH or top.has("gradable"):
        return True
    return any(test.has("points") or test.has("max_points") for test in top.places("tests"))


def read_prairielearn(top):
    """The Scores in such an object. A submission that is not gradable has no score. Raises ScoresError."""
    is_gradable = top.boolean("gradable")
    score = top.number("score")
    if is_gradable is False:
        score = None
    elif score is None:
        raise top.error("score", "is required, unless gradable is false")
    elif score > HIGHEST_SCORE:
        raise top.error("score", f"must be a fraction, where 1 is the full score, not {score:g}")
    return Scores(
        "prairielearn",
        score,
        None if score is None else MAX_SCORE,
        [_read_test(place, number) for number, place in enumerate(top.places("tests"), 1)],
        output=_join(top),
        is_gradable=is_gradable,
    )


def _read_test(place, number):
    points, max_points = place.number("points"), place.number("max_points")
    is_known = points is not None and max_points is not None
    return make_test(
        place.text("name") or f"test {number}",
        score=points,
        max_score=max_points,
        status=("passed" if points >= max_points else "failed") if is_known else None,
        output=_join(place),
    )


def _join(place):
    """Its message and its output; None if it has neither."""
    words = [word for word in (place.text("message"), place.text("output")) if word]
    return "\n".join(words) or None
