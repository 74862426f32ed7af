"""Compares answers with the OpenAPI document: each one that httpx receives in these tests, by `watch_answers`."""

import json
import re
from functools import cache

import httpx
import jsonschema_rs
from harness import ROOT

DOCUMENT = ROOT / "docs" / "openapi.json"
# Paths of these begin so; other servers and ports have other paths.
PREFIXES = ("/api/v1/", "/docs")


class Description:
    """The OpenAPI document, prepared for many answers."""

    def __init__(self, document: dict):
        self.document = document
        self.paths = [(_pattern_of(path), path) for path in document["paths"]]

    def complaint(self, method: str, path: str, status: int, content_type: str, body: bytes) -> str | None:
        """What the document does not say of this answer, or None. A path that no operation has is none of its
        business, and neither is a method that is refused by 405. An answer may fit any operation with its path."""
        found = self.operations_at(path, method)
        if not found or status == 405:
            return None
        complaints = [self._complaint(key, name, status, content_type, body, method == "HEAD") for key, name in found]
        return None if None in complaints else f"{method} {path}: {complaints[0]}"

    def operations_at(self, path: str, method: str) -> list[tuple[str, str]]:
        """(path, method) in the document of all operations that a request may have reached."""
        name = "get" if method == "HEAD" else method.lower()
        return [
            (key, name)
            for pattern, key in self.paths
            if pattern.fullmatch(path) and name in self.document["paths"][key]
        ]

    def _complaint(self, key, name, status, content_type, body, is_head):
        response = self._response(key, name, status)
        if response is None:
            return f"the status {status} is not described for {name} {key}"
        contents = response.get("content", {})
        if is_head or (not body and (not contents or response.get("x-broadway-may-be-empty"))):
            return None
        media = content_type.partition(";")[0].strip()
        if media not in contents and "*/*" not in contents:
            return f"{name} {key} answers {status} with {media or 'no type'}, which is not described: {body[:200]!r}"
        if media != "application/json" or "schema" not in contents.get(media, {}):
            return None
        error = self._validator(key, name, status).first_error(json.loads(body))
        return None if error is None else f"{name} {key} answers {status}: {error.message} at {error.instance_path}"

    def _response(self, key, name, status):
        response = self.document["paths"][key][name]["responses"].get(str(status))
        if response is not None and "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        return response

    @cache  # noqa: B019 (one description lives as long as the tests)
    def _validator(self, key, name, status):
        schema = self._response(key, name, status)["content"]["application/json"]["schema"]
        whole = {"components": {"schemas": self.document["components"]["schemas"]}, "allOf": [schema]}
        return _FirstError(jsonschema_rs.Draft202012Validator(whole))


class _FirstError:
    """A validator that is fast for values that fit."""

    def __init__(self, validator):
        self.validator = validator

    def first_error(self, value):
        return None if self.validator.is_valid(value) else next(self.validator.iter_errors(value), None)


def _pattern_of(path: str) -> re.Pattern:
    return re.compile("[^/]+".join(re.escape(part) for part in re.split(r"\{\w+\}", path)))


@cache
def description() -> Description:
    """That of docs/openapi.json."""
    return Description(json.loads(DOCUMENT.read_text(encoding="utf-8")))


def watch_answers(complaints: list[str]) -> None:
    """From now on what is wrong with an answer to httpx is added to `complaints`. Of a stream the body is not read."""
    send = httpx.Client.send

    def send_and_check(client, request, *, stream=False, **more):
        answer = send(client, request, stream=stream, **more)
        path = request.url.path
        if path.startswith(PREFIXES):
            is_head = stream or request.method == "HEAD"
            complaint = description().complaint(
                "HEAD" if is_head and request.method == "GET" else request.method,
                path,
                answer.status_code,
                answer.headers.get("content-type", ""),
                b"" if is_head else answer.content,
            )
            if complaint is not None:
                complaints.append(complaint)
        return answer

    httpx.Client.send = send_and_check
