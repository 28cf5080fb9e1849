"""What a request that failed, or an answer that refused, says to people: one line, never raw bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

__all__ = ["describe_answer", "describe_failure"]

_MOST = 200
"""Characters of what a server says."""

_CAUSES = {
    "ConnectionRefusedError": "connection refused: nothing listens there",
    "ConnectTimeoutError": "no connection in time",
    "ReadTimeoutError": "no answer in time",
    "RemoteDisconnected": "the connection was closed without an answer; does the server want https://?",
    "BadStatusLine": "what answers does not speak HTTP; is it a port of gRPC?",
}
_TLS_CAUSES = {
    "WRONG_VERSION_NUMBER": "the server does not speak TLS; is it http:// instead of https://?",
    "RECORD_LAYER_FAILURE": "the server does not speak TLS; is it http:// instead of https://?",
}


def describe_failure(error: BaseException) -> str:
    """Why there was no answer: the innermost cause, which says more than the wrapping of it."""
    causes = _causes(error)
    names = [type(cause).__name__ for cause in causes]
    said = next((_CAUSES[name] for name in names if name in _CAUSES), None) or _describe_innermost(causes[-1])
    return f"the proxy: {said}" if "ProxyError" in names else said


def _describe_innermost(innermost: BaseException) -> str:
    if type(innermost).__name__ == "gaierror":
        return f"the host's name is not known ({getattr(innermost, 'strerror', innermost)})"
    if tls := _TLS_CAUSES.get(getattr(innermost, "reason", None) or ""):
        return tls
    if doubt := getattr(innermost, "verify_message", ""):
        return f"the server's certificate is not trusted: {doubt}"
    if isinstance(innermost, OSError) and innermost.strerror:
        return f"{innermost.strerror}: {innermost.filename}" if innermost.filename else innermost.strerror
    return f"{type(innermost).__name__}: {innermost}"


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what led to it; urllib3 has that as the cause, the context, a reason or an argument."""
    found = [error]
    while len(found) < 10:
        last = found[-1]
        reason = getattr(last, "reason", None)
        argument = last.args[-1] if last.args else None
        candidates = (reason, getattr(last, "original_error", None), last.__cause__, argument, last.__context__)
        following = next((one for one in candidates if isinstance(one, BaseException) and one not in found), None)
        if following is None:
            break
        found.append(following)
    return found


def describe_answer(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """`404 Not Found`, or with what the server says about it: the message of a document, or a short text."""
    said = " ".join(_text(headers.get("Content-Type", "").lower(), body).split())
    said = re.sub(rf"^{status}\b[\s:]*", "", said)[:_MOST]
    if not said and status in HTTPStatus._value2member_map_:
        said = HTTPStatus(status).phrase
    return f"{status} {said}".rstrip()


def _text(content_type: str, body: bytes) -> str:
    if "protobuf" in content_type:
        return _status_message(body)
    text = body.decode("utf-8", "replace")
    if "json" in content_type:
        try:
            return _document_message(json.loads(text)) or text
        except ValueError:
            pass
    if title := re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL):
        return title[1]
    return text if text.replace("\n", " ").replace("\r", " ").replace("\t", " ").isprintable() else ""


def _document_message(document: Any) -> str:
    """`message`, as google.rpc.Status has it, or `error`, as most others have it; either may be inside the other."""
    while isinstance(document, dict):
        document = document.get("message") or document.get("error") or document.get("detail")
    return document if isinstance(document, str) else ""


def _status_message(body: bytes) -> str:
    """`message`, the field 2 of an encoded google.rpc.Status; nothing where the body is no such thing."""
    try:
        at = 0
        while at < len(body):
            tag, at = _varint(body, at)
            value, at = _varint(body, at)  # the code, or a length
            if tag & 7 == 2:
                if tag >> 3 == 2:
                    return body[at : at + value].decode()
                at += value
            elif tag & 7:
                break
    except (IndexError, UnicodeDecodeError):
        pass
    return ""


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where the next one does (protobuf's "Base 128 Varints")."""
    number = shift = 0
    while True:
        byte = body[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
