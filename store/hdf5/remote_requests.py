"""Requests to the server of a remote store: with a time limit, repeated after a passing failure, with clear errors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from emofuse.common.errors import DataError, UsageError
from emofuse.common.location import Url
from emofuse.common.redaction import redacted

TIMEOUT_VARIABLE = "EMOFUSE_REMOTE_TIMEOUT"
_DEFAULT_SECONDS, _ATTEMPTS, _FIRST_PAUSE = 10.0, 3, 0.5
_SLOWEST = 20_000
"""Bytes per second of a link that is slow, and not broken."""
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""HTTP codes of a server that may answer the next request."""

T = TypeVar("T")


def timeout_seconds() -> float:
    """How long a server may send nothing.

    Raises:
        UsageError: The variable is not a positive number.
    """
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        seconds = float(text) if text else _DEFAULT_SECONDS
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{TIMEOUT_VARIABLE} is {text!r}, expected seconds, such as 60")
    return seconds


def http_options(url: Url) -> dict[str, Mapping[str, Any]]:
    """What fsspec passes to HTTP file systems: the time limit of each read from a connection."""
    protocols = {part.partition("://")[0] for part in url.with_credentials.split("::")} & {"http", "https"}
    if not protocols:
        return {}
    try:
        from aiohttp import ClientTimeout
    except ModuleNotFoundError:  # fsspec says so itself
        return {}
    seconds = timeout_seconds()
    limit = ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
    return {protocol: {"timeout": limit} for protocol in protocols}


def requested(url: Url, what: str, call: Callable[..., T], *, total: bool, count: int = 0) -> T:
    """The result of a request, which is repeated after a timeout or another passing failure.

    Args:
        url: The store.
        what: What is requested, for errors: `the size`.
        call: Does the request; takes `timeout` (seconds) if `total`.
        total: Whether the file system can limit the time of the whole request.
        count: The bytes of the answer.

    Raises:
        UsageError: No file there, or access is refused.
        DataError: No answer, or an answer that is an error.
    """
    seconds = timeout_seconds()
    limit = {"timeout": seconds + count / _SLOWEST} if total else {}
    for attempt in range(_ATTEMPTS):
        try:
            return call(**limit)
        except Exception as error:
            cause = _cause(error)
            if attempt + 1 < _ATTEMPTS and _is_passing(cause):
                time.sleep(min(_FIRST_PAUSE * 2**attempt, seconds))
                continue
            raise _clear_error(url, what, cause, seconds) from None
    raise AssertionError("unreachable")


def _cause(error: Exception) -> BaseException:
    """The error of the request: over HTTP, fsspec turns each into `FileNotFoundError` while it looks for the size."""
    cause = error.__cause__ if isinstance(error, FileNotFoundError) else None
    is_of_http = cause is not None and (_is_timeout(cause) or type(cause).__module__.startswith("aiohttp"))
    return cause if cause is not None and is_of_http else error


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status", None) or getattr(error, "code", None)
    return status if isinstance(status, int) else None


def _is_timeout(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or type(error).__name__ == "FSTimeoutError"


def _is_passing(error: BaseException) -> bool:
    lost = isinstance(error, ConnectionResetError) or type(error).__name__ in (
        "ServerDisconnectedError",
        "ClientPayloadError",
    )
    return _is_timeout(error) or lost or _status(error) in _PASSING


def _clear_error(url: Url, what: str, error: BaseException, seconds: float) -> UsageError | DataError:
    status = _status(error)
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE) or isinstance(error, FileNotFoundError | IsADirectoryError):
        return UsageError(f"no store at {url}" + (f" (HTTP {_phrase(status)})" if status else ""))
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or isinstance(error, PermissionError):
        code = f"HTTP {_phrase(status)}" if status else "permission denied"
        return UsageError(f"access to {url} is refused ({code}): check your credentials for this server")
    if status is not None:
        often = f", {_ATTEMPTS} times" if status in _PASSING else ""
        return DataError(f"{url}: reading {what} failed: HTTP {_phrase(status)}{often}")
    if _is_timeout(error):
        return DataError(
            f"{url}: the server sent nothing for {seconds:g} s, {_ATTEMPTS} times, when asked for {what}; "
            f"for a slow link set {TIMEOUT_VARIABLE} to more seconds"
        )
    if type(error).__name__ in ("ClientConnectorError", "ClientConnectorDNSError") or isinstance(
        error, ConnectionError
    ):
        return UsageError(f"{url}: the server cannot be reached: {redacted(str(error))}")
    return DataError(f"{url}: reading {what} failed: {redacted(str(error)) or type(error).__name__}")


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
