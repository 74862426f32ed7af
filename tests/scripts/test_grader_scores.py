"""Scores in the forms of Gradescope, PrairieLearn and JUnit, as the reference grader reads them."""

import json

import pytest
from broadway_tools.grader.scores import MAX_FILE_BYTES, read_scores
from broadway_tools.grader.scores_model import ScoresError, UnknownForm
from conftest import SCRIPTS

SAMPLES = SCRIPTS / "samples" / "results"
PATH = "/job/results.json"


def read(content, path=PATH):
    if isinstance(content, dict | list):
        content = json.dumps(content)
    return read_scores(content if isinstance(content, bytes) else content.encode(), path)


def refusal(content, path=PATH):
    with pytest.raises(ScoresError) as caught:
        read(content, path)
    return str(caught.value)


def totals(content, path=PATH):
    found = read(content, path)
    return found.score, found.max_score


def suite(*cases):
    return f"<testsuite>{''.join(cases)}</testsuite>"


# The samples


def test_the_sample_of_gradescope():
    found = read((SAMPLES / "gradescope.json").read_bytes())
    assert (found.form, found.score, found.max_score, found.output) == ("gradescope", 7.5, 8, "3 of 4 tests passed.")
    assert [test["name"] for test in found.tests] == [
        "1 compiles",
        "2.1 sorts 10 numbers",
        "2.2 sorts 10 million numbers",
        "extra credit: sorts in place",
    ]
    assert [test["status"] for test in found.tests] == ["passed", "passed", "failed", "passed"]
    assert [test["visibility"] for test in found.tests] == ["visible", "visible", "after_due_date", "hidden"]
    assert found.tests[2]["output"] == "**Too slow**: 12.5 s" and found.tests[2]["output_format"] == "md"


def test_the_sample_of_prairielearn():
    found = read((SAMPLES / "prairielearn.json").read_bytes())
    assert (found.form, found.score, found.max_score, found.is_gradable) == ("prairielearn", 0.75, 1, True)
    assert found.output == "Well done."
    assert found.tests == [
        {"name": "returns a list", "score": 1, "max_score": 1, "status": "passed"},
        {
            "name": "keeps the order",
            "score": 2,
            "max_score": 3,
            "status": "failed",
            "output": "Equal keys change places.\n[2b, 2a]",
        },
    ]


def test_the_sample_of_junit():
    found = read((SAMPLES / "junit.xml").read_bytes(), "/job/results.xml")
    assert (found.form, found.score, found.max_score) == ("junit", 2, 4), "a skipped test doesn't count"
    assert [(test["name"], test["status"]) for test in found.tests] == [
        ("queue.Order.first in, first out", "passed"),
        ("queue.Order.empty", "failed"),
        ("queue.Threads.two writers", "error"),
        ("last in, first out", "passed"),
        ("on Windows", "skipped"),
    ]
    assert found.tests[1]["output"] == "expected None, but was 0\nqueue.py:17: AssertionError"


# Gradescope


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"score": 5}, (5, None)),
        ({"score": 0}, (0, None)),
        ({"score": -2.5}, (-2.5, None)),
        ({"score": 12, "max_score": 10}, (12, 10)),
        ({"tests": [{"score": 0.1}, {"score": 0.2}]}, (0.3, None)),
        ({"tests": [{"score": -1, "max_score": 2}, {"score": 4, "max_score": 3}]}, (3, 5)),
        ({"tests": [{"score": 1, "max_score": 2}, {"score": 1}]}, (2, None)),
        ({"tests": [{"score": 1}, {"name": "no score"}]}, (1, None)),
        ({"score": None, "tests": [{"score": 3}]}, (3, None)),
        ({"score": 85.0, "tests": []}, (85, None)),
        (
            {"score": 1, "tests": None, "output": None, "extra_data": {"a": [1]}, "leaderboard": [], "unknown": 1},
            (1, None),
        ),
    ],
    ids=str,
)
def test_gradescope_totals(content, expected):
    assert totals(content) == expected


def test_a_test_of_gradescope_without_a_name_is_named_by_its_place():
    tests = [{"score": 1}, {"score": 1, "name": ""}, {"score": 1, "number": "2.1"}, {"score": 1, "name": "n" * 2000}]
    names = [test["name"] for test in read({"tests": tests}).tests]
    assert names[:3] == ["test 1", "test 2", "2.1"] and names[3] == "n" * 1024


def test_tests_of_the_same_name_are_all_kept():
    assert [test["name"] for test in read({"tests": [{"name": "a", "score": 1}] * 3}).tests] == ["a"] * 3


def test_defaults_at_the_top_of_gradescope_are_those_of_each_test():
    top = {"visibility": "hidden", "test_output_format": "html"}
    tests = [
        {"score": 1, "output": "x"},
        {"score": 1, "output": "y", "output_format": "ansi", "visibility": "visible"},
        {"score": 1, "output": "z", "output_format": "text"},
        {"score": 1},
    ]
    found = read({**top, "tests": tests}).tests
    assert [test["visibility"] for test in found] == ["hidden", "visible", "hidden", "hidden"]
    assert [test.get("output_format") for test in found] == ["html", "ansi", None, None]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"tests": []}, "there is no score: neither at the top nor in one of the tests"),
        ({"tests": [{"name": "a"}]}, "there is no score: neither at the top nor in one of the tests"),
        ({"score": "5"}, "score: must be a number, not a string"),
        ({"score": True}, "score: must be a number, not a boolean"),
        ({"score": 1, "tests": {}}, "tests: must be a list, not an object"),
        ({"score": 1, "tests": [1]}, "tests[0]: must be an object, not a number"),
        ({"score": 1, "tests": [{}, {"score": "1/2"}]}, "tests[1].score: must be a number, not a string"),
        ({"score": 1, "tests": [{"max_score": []}]}, "tests[0].max_score: must be a number, not a list"),
        ({"score": 1, "tests": [{"name": 5}]}, "tests[0].name: must be a string, not a number"),
        ({"score": 1, "tests": [{"status": "ok"}]}, "tests[0].status: 'ok' is not one of passed, failed"),
        (
            {"score": 1, "tests": [{"visibility": "hiden"}]},
            "tests[0].visibility: 'hiden' is not one of visible, hidden, after_due_date, after_published",
        ),
        (
            {"score": 1, "tests": [{"output_format": "pdf"}]},
            "tests[0].output_format: 'pdf' is not one of text, html, simple_format, md, ansi",
        ),
        ({"score": 1, "output": ["a"]}, "output: must be a string, not a list"),
        ({"score": 1e10}, "score: must be between -1000000000 and 1000000000"),
        ({"tests": [{"score": 1e9}, {"score": 1e9}]}, "tests: their scores are more than 1000000000 together"),
        ({"score": 1, "tests": [{}] * 10001}, "tests: must have at most 10000 items, not 10001"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_malformed_gradescope_file_is_refused_with_the_place(content, sentence):
    assert refusal(content) == sentence


# PrairieLearn


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"gradable": True, "score": 0.85}, (0.85, 1)),
        ({"gradable": True, "score": 1.1}, (1.1, 1)),
        ({"gradable": True, "score": 0}, (0, 1)),
        ({"gradable": True, "score": -0.25}, (-0.25, 1)),
        ({"gradable": False, "message": "no such file"}, (None, None)),
        ({"gradable": False, "score": 0.5}, (None, None)),
        ({"score": 0.5, "tests": [{"name": "a", "points": 1}]}, (0.5, 1)),
    ],
    ids=str,
)
def test_prairielearn_totals_are_fractions(content, expected):
    assert totals(content) == expected


def test_a_file_at_prairielearns_path_has_its_form():
    content = {"score": 0.5}
    assert totals(content) == (0.5, None)
    assert totals(content, "/grade/results/results.json") == (0.5, 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"gradable": True}, "score: is required, unless gradable is false"),
        ({"gradable": True, "score": None}, "score: is required, unless gradable is false"),
        ({"gradable": "yes", "score": 1}, "gradable: must be true or false, not a string"),
        ({"gradable": True, "score": 85}, "score: must be a fraction, where 1 is the full score, not 85"),
        (
            {"gradable": True, "score": 1, "tests": [{"points": "1"}]},
            "tests[0].points: must be a number, not a string",
        ),
        ({"gradable": True, "score": 1, "tests": [{"message": 1}]}, "tests[0].message: must be a string, not a number"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_malformed_prairielearn_file_is_refused_with_the_place(content, sentence):
    assert refusal(content) == sentence


# JUnit


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<testsuites/>", (0, 0)),
        (suite("<testcase name='a'/>"), (1, 1)),
        (f"<testsuites>{suite(suite(suite('<testcase/>')), '<testcase/>')}</testsuites>", (2, 2)),
        (suite("<testcase><failure/><error/></testcase>", "<testcase><skipped/></testcase>"), (0, 1)),
        (suite("<testcase status='notrun'/>", "<testcase status='run'/>"), (1, 1)),
        ("<testsuite tests='9' failures='9'><testcase/></testsuite>", (1, 1)),
        (suite("<properties><property name='a'/></properties><testcase/><system-out>x</system-out>"), (1, 1)),
        ("<!DOCTYPE testsuite>" + suite("<testcase/>"), (1, 1)),
    ],
    ids=str,
)
def test_junit_counts_what_passed_of_what_ran(content, expected):
    assert totals(content) == expected


def test_the_output_of_junit_is_that_of_its_failures():
    failure = "<failure message='a &lt; b'>one &#10;two</failure>"
    (test,) = read(suite(f"<testcase><system-out>no</system-out>{failure}<error>e</error></testcase>")).tests
    assert test == {"name": "test 1", "status": "error", "output": "a < b\none \ntwoe"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_junit_in_other_encodings(encoding):
    name = {"utf-8-sig": "utf-8"}.get(encoding, encoding)
    text = f'<?xml version="1.0" encoding="{name}"?>' + suite("<testcase name='grün'/>")
    assert read(text.encode(encoding)).tests == [{"name": "grün", "status": "passed"}]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("<testsuite>\n<testcase>\n</testsuite>", "line 3, column 3: it is not XML: mismatched tag"),
        ("<testsuite>", "line 1, column 12: it is not XML: no element found"),
        (suite("<testcase>&nbsp;</testcase>"), "line 1, column 22: it is not XML: undefined entity"),
        ("<testsuite/><testsuite/>", "line 1, column 13: it is not XML: junk after document element"),
        (b"<testsuite name='\xff'/>", "line 1, column 18: it is not XML: not well-formed (invalid token)"),
        (suite("<testcase><testcase/></testcase>"), "line 1, column 22: a testcase is within another one"),
        ("<testsuite>" * 65, "line 1, column 705: it is nested deeper than 64 levels"),
        (suite("<testcase/>" * 10001), "line 1, column 110012: there are more than 10000 testcases"),
        (
            '<?xml version="1.0" encoding="x-none"?><testsuite/>',
            "line 1, column 31: it is not XML: unknown encoding: x-none",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_malformed_xml_is_refused_with_the_place(content, sentence):
    assert refusal(content) == sentence


@pytest.mark.parametrize(
    "declaration",
    [
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">',
        '<!ENTITY a SYSTEM "file:///etc/passwd">',
        '<!ENTITY % a SYSTEM "http://127.0.0.1/x"> %a;',
    ],
)
def test_entities_are_not_read(declaration):
    text = f"<!DOCTYPE testsuite [{declaration}]><testsuite><testcase name='&a;'/></testsuite>"
    assert "it declares the entity a, and entities are not read" in refusal(text)


# What they have in common


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"score": 1,\n "tests": [}', "line 2, column 12: it is not JSON: Expecting value"),
        ('{"score": 1', "line 1, column 12: it is not JSON: Expecting ',' delimiter"),
        ('{"score": 1} x', "line 1, column 14: it is not JSON: Extra data"),
        ('{"score": 1}'.encode("utf-16"), "line 1: byte 1 is not UTF-8"),
        (b'{"score": 1,\n"output": "gr\xfcn"}', "line 2: byte 27 is not UTF-8"),
        ('{"score": NaN}', "score: must be a number, not NaN"),
        ('{"score": 1, "tests": [{"score": -Infinity}]}', "tests[0].score: must be between -1000000000 and 1000000000"),
        ('{"score": 1e999}', "score: must be between -1000000000 and 1000000000"),
        ('{"score": ' + "9" * 100_000 + "}", "score: must be between -1000000000 and 1000000000"),
        ("[" * 1_000_000, "it is nested deeper than 64 levels"),
        ('{"score": 1, "extra_data": ' + "[" * 70 + "]" * 70 + "}", "it is nested deeper than 64 levels"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_json_is_refused_with_the_place(content, sentence):
    assert refusal(content) == sentence


@pytest.mark.parametrize("content", ["", " \n", b"\xef\xbb\xbf", "[]", "5", "{}", '{"points": 1}', "<html/>"], ids=repr)
def test_another_kind_of_file_has_a_form_that_is_unknown(content):
    with pytest.raises(UnknownForm):
        read(content)


def test_a_byte_order_mark_and_blanks_before_it_don_t_matter():
    assert totals(b'\xef\xbb\xbf \r\n{"score": 1}') == (1, None)
    assert totals("\n <testsuite><testcase/></testsuite>") == (1, 1)


def test_nul_and_lone_surrogates_become_a_replacement():
    found = read(r'{"score": 1, "tests": [{"name": "a\u0000b\ud800", "output": "\u0000\ud800"}]}').tests
    (test,) = json.loads(json.dumps(found))
    assert "\0" not in test["name"] + test["output"]
    (test["name"] + test["output"]).encode()


def test_more_tests_than_the_api_keeps_are_counted_in_the_score():
    found = read(suite("<testcase/>" * 1005))
    assert (found.score, found.max_score, len(found.tests), found.left_out) == (1005, 1005, 1000, 5)


def test_long_outputs_are_cut_so_that_all_tests_fit():
    tests = [{"name": f"test {number}", "score": 1, "output": "x" * 4000} for number in range(900)]
    found = read({"tests": tests})
    assert len(found.tests) == 900 and found.left_out == 0 and len(json.dumps(found.tests)) < 1024 * 1024
    assert all("bytes cut" in test["output"] for test in found.tests)
    (alone,) = read({"tests": [{"score": 1, "output": "y" * 100_000}]}).tests
    assert len(alone["output"]) <= 16384


def test_a_large_file_of_many_values_is_read_in_a_moment():
    values = ",".join(["[]"] * ((MAX_FILE_BYTES - 100) // 3))
    assert totals(f'{{"score": 1, "extra_data": [{values}]}}') == (1, None)
