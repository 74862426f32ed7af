"""The checks of tests/night/run find what is wrong; the picture has a row for each order."""

import pytest
from nights import build, complaints, play
from picture import draw

FINE = {"seed": 1, "lost": 0, "twice": 0, "given_up": 0, "shared_s": 900.0, "share_ratio": 10.2, "flooded_wait_s": 20.0}
FINE["courses"] = [{"foretold": {"error": -0.1}}, {"foretold": None}]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"lost": 1}, "1 jobs lost"),
        ({"twice": 2}, "2 jobs twice"),
        ({"given_up": 1}, "1 jobs given_up"),
        ({"shared_s": 100.0}, "for 100 s only"),
        ({"share_ratio": 9.4}, "graders' time 9.40:1"),
        ({"share_ratio": 10.6}, "graders' time 10.60:1"),
        ({"flooded_wait_s": 700.0}, "waited 700 s"),
        ({"courses": [{"foretold": {"error": -0.2}}]}, "foretold 20 % off"),
    ],
)
def test_what_is_wrong_is_named(wrong, words):
    assert complaints(FINE) == []
    (complaint,) = complaints({**FINE, **wrong})
    assert words in complaint


@pytest.fixture(scope="module")
def program():
    return build("night/night")


def test_a_night_is_the_same_twice_and_fails_in_other_orders(program):
    night = play(program, 3)
    assert night == play(program, 3) and complaints(night) == []
    for order in ("turns", "fifo"):
        assert any("graders' time" in each for each in complaints(play(program, 3, order)))


def test_the_picture_has_a_row_for_each_order(program):
    text = draw([play(program, 2, order, curves=True) for order in ("shares", "turns", "fifo")])
    for words in ("shares by virtual time", "in rotation", "First come"):
        assert words in text
