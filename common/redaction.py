"""Removes credentials from text that is printed or recorded: of URLs, of headers and of environment variables.

A URL keeps what it needs to be opened again by somebody with credentials of their own: the host, the path and the few
query parameters that choose a file or a version. Every other parameter is dropped, since signatures have many names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_KEPT_PARAMETERS = frozenset(
    {"alt", "download", "file", "filename", "files", "format", "generation", "path", "persistentid", "ref", "revision",
     "snapshot", "version", "versionid"}
)  # fmt: skip
_MASK = "***"
_SHORTEST_SECRET = 8
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/+)([^\s'\"<>`]*)")
_USER_BEFORE_SLASH = re.compile(r"[^/?#@]*:(?!\d*(?:[/?#]|$))[^@]*@")
"""A name, and a password that has a slash in it; a port of digits is not one."""
_USER = re.compile(r"[^/?#]*@")
_QUERY = re.compile(r"\?([^#]*)(#.*)?$")
_HEADER = re.compile(
    r"((?:proxy-)?authorization|cookie|x-api-key|x-auth-token|x-amz-security-token)"
    r"(['\"]?\s*[:=,]\s*)(?:'[^']*'|\"[^\"]*\"|[^\r\n,)\]}>]+)",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{6,}")
_SECRET_VARIABLE = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|ACCESS_KEY|API_KEY", re.IGNORECASE)


def redacted(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The text without passwords and signatures of URLs, without headers that authorise, and without secret variables.

    Args:
        text: Any text, such as the message of a library's error.
        environment: Variables whose values are masked where their names say that they are secret.
    """
    if ":/" in text:
        text = _URL.sub(_without_credentials, text)
    text = _SCHEME.sub(rf"\1 {_MASK}", _HEADER.sub(rf"\1\2{_MASK}", text))
    for name, value in environment.items():
        if len(value) >= _SHORTEST_SECRET and value in text and _SECRET_VARIABLE.search(name) and "/" not in value[:1]:
            text = text.replace(value, f"${name}")
    return text


def _without_credentials(match: re.Match[str]) -> str:
    scheme, slashes, rest = match.groups()
    nested = rest.find("://")  # a chain such as zip://a.h5::https://host/b.zip
    if nested > 0 and "::" in rest[:nested]:
        first, _, other = rest.partition("::")
        return f"{scheme}:{slashes}{_plain(scheme, first)}::{_URL.sub(_without_credentials, other)}"
    return f"{scheme}:{slashes}{_plain(scheme, rest)}"


def _plain(scheme: str, rest: str) -> str:
    user = _USER.match(rest) or _USER_BEFORE_SLASH.match(rest)
    if user:
        # Other protocols than HTTP name a user or a container there (sftp://user@host, abfs://container@account).
        name = "" if scheme.lower() in ("http", "https") else user[0][:-1].partition(":")[0] + "@"
        rest = name + rest[user.end() :]
    return _QUERY.sub(_plain_query, rest)


def _plain_query(match: re.Match[str]) -> str:
    kept = [p for p in match[1].split("&") if p.partition("=")[0].lower() in _KEPT_PARAMETERS]
    return f"?{'&'.join(kept)}" if kept else ""
