"""Reads the arguments of a request, from its query and its body, as docs/protocol.md#requests-and-answers describes."""

import json
from email import policy
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qsl


class BadBody(Exception):
    """The body can't be read; the text has the reason."""


def read_query(query: str) -> dict[str, Any]:
    """The arguments of a query."""
    return dict(parse_qsl(query, keep_blank_values=True))


def read_body(body: bytes, content_type: str) -> dict[str, Any]:
    """The arguments of a body in one of the three forms. Raises BadBody."""
    if not body:
        return {}
    if body.lstrip()[:1] == b"{" or content_type.startswith("application/json"):
        return _read_object(body)
    if content_type.startswith("multipart/form-data"):
        return _read_multipart(body, content_type)
    try:
        return _typed(read_query(body.decode()))
    except UnicodeDecodeError as error:
        raise BadBody(f"the body is not UTF-8: {error}") from error


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)
    except ValueError as error:
        raise BadBody(f"the body is not JSON in UTF-8: {error}") from error
    if not isinstance(value, dict):
        raise BadBody("the body is not a JSON object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_multipart(body: bytes, content_type: str) -> dict[str, Any]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = BytesParser(policy=policy.HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise BadBody("the body is not multipart")
    fields = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        fields[str(name)] = (part.get_payload(decode=True) or b"").decode("utf-8", "replace")
    return _typed(fields)


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    """Booleans and logs of a form, which are text there."""
    typed = dict(fields)
    if fields.get("success") in ("true", "false"):
        typed["success"] = fields["success"] == "true"
    if "logs" in fields:
        try:
            typed["logs"] = json.loads(fields["logs"])
        except ValueError as error:
            raise BadBody(f"logs: not JSON: {error}") from error
    return typed
