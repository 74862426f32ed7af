"""The OpenAPI document, where it is served, the page that shows it, and what the tests find by comparing answers."""

import gzip
import json
import re
import subprocess

import httpx
import jsonschema
import pytest
from broadway import ROUTE, error_of
from described import DOCUMENT, Description, description
from harness import BUILD

PATH = f"{ROUTE}/openapi.json"
COMMITTED = DOCUMENT.read_text(encoding="utf-8")


def operations():
    """Each (path, method, operation) of the document."""
    for path, item in description().document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_the_committed_document_is_the_one_of_the_binary():
    printed = subprocess.run([BUILD / "broadway-api", "--print-openapi"], capture_output=True, check=True, text=True)
    assert printed.stdout == COMMITTED, "write it anew: build/release/broadway-api --print-openapi >docs/openapi.json"


def test_the_document_is_served_without_a_credential(stack):
    answer = stack.api.request("GET", PATH)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert answer.text == COMMITTED


def test_a_client_that_has_the_document_gets_304(stack):
    first = stack.api.request("GET", PATH)
    again = stack.api.request("GET", PATH, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    other = stack.api.request("GET", PATH, headers={"If-None-Match": '"another"'})
    assert other.status_code == 200


def test_head_of_the_document_has_its_length(stack):
    answer = stack.api.request("HEAD", PATH)
    assert (answer.status_code, int(answer.headers["content-length"])) == (200, len(COMMITTED.encode()))


@pytest.mark.parametrize("path", [PATH, "/docs", "/docs/page.js"])
def test_the_document_and_its_page_can_only_be_read(stack, path):
    answer = stack.api.request("POST", path)
    assert answer.status_code == 405 and answer.headers["allow"] == "GET, HEAD"


def test_each_schema_is_a_schema():
    for schema in description().document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_each_parameter_in_a_path_is_described():
    for path, method, operation in operations():
        named = [it["name"] for it in operation["parameters"] if it["in"] == "path"]
        assert named == re.findall(r"\{(\w+)\}", path), f"{method} {path}"


def test_each_operation_names_its_credentials():
    schemes = set(description().document["components"]["securitySchemes"])
    used = {name for *_, operation in operations() for way in operation["security"] for name in way}
    assert used == schemes


# ---- The page


def page(stack):
    answer = stack.api.request("GET", "/docs")
    if answer.status_code == 404:
        assert error_of(answer).startswith("this server was built without npm")
        pytest.skip("this build has no viewer")
    return answer


def test_the_page_allows_no_script_of_its_own_and_no_frame(stack):
    policy = page(stack).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["script-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"


def test_the_page_loads_from_this_server_alone(stack):
    text = page(stack).text
    assert re.findall(r"<script(?! src=)|\bon\w+=|style=", text) == []
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert "/docs/page.js" in loaded and all(it.startswith(("/docs/", "/api/v1/", "data:,")) for it in loaded)
    for path in (it for it in loaded if it.startswith("/docs/")):
        answer = stack.api.request("GET", path)
        assert answer.status_code == 200 and answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"].startswith(("text/css", "text/javascript")) and len(answer.text) > 100


def test_the_page_is_small(stack):
    page(stack)
    size = 0
    for path in ("/docs", "/docs/page.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"):
        with httpx.stream("GET", stack.urls[0] + path, trust_env=False) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers.get("content-encoding") != "gzip" or len(gzip.decompress(raw)) > len(raw)
        size += len(raw)
    assert size < 600 * 1024


def test_an_unknown_file_of_the_page_is_404(stack):
    page(stack)
    for name in ("nothing.js", "page", "page.js.gz.gz", "swagger-ui.css.", "index.htm"):
        answer = stack.api.request("GET", f"/docs/{name}")
        assert answer.status_code == 404, name


# ---- The comparison of answers with the document, which all tests have


def complaint(method="POST", path=f"{ROUTE}/grading_run", status=200, media="application/json", body=None):
    return description().complaint(
        method, path, status, media, json.dumps({"id": "0" * 24} if body is None else body).encode()
    )


def test_an_answer_as_described_is_no_complaint():
    assert complaint() is None
    assert complaint(status=400, body={"error": "a sentence"}) is None
    assert complaint(path=f"{ROUTE}/nowhere", status=418) is None


def test_an_undescribed_status_is_a_complaint():
    assert "the status 201 is not described" in complaint(status=201)
    assert "the status 418 is not described" in complaint(status=418, body={"error": "a sentence"})


def test_an_undescribed_body_is_a_complaint():
    assert "answers 200" in complaint(body={"id": 7})
    assert "answers 200" in complaint(body={"id": "0" * 24, "more": 1})
    assert "answers 400" in complaint(status=400, body={"sentence": "a sentence"})


def test_an_undescribed_type_is_a_complaint():
    assert "which is not described" in complaint(media="text/html")


def test_a_body_may_fit_any_operation_with_the_path():
    document = {
        "components": {"schemas": {}},
        "paths": {
            path: {"get": {"responses": {"200": {"content": {"application/json": {"schema": {"type": kind}}}}}}}
            for path, kind in (("/api/v1/{a}/x", "string"), ("/api/v1/y/{b}", "integer"))
        },
    }
    both = Description(document)
    for body, fits in ((b'"text"', True), (b"7", True), (b"[]", False)):
        assert (both.complaint("GET", "/api/v1/y/x", 200, "application/json", body) is None) == fits
