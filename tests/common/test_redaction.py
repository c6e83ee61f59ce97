"""Credentials are removed from text; what opens a URL for somebody else stays."""

from __future__ import annotations

import json
import pickle

import pytest

from emofuse.common.location import Url, parse_location
from emofuse.common.redaction import redacted


@pytest.mark.parametrize(
    ("url", "without"),
    [
        ("https://host/a.h5", "https://host/a.h5"),
        ("https://me:pa@ss@host:8080/a.h5", "https://host:8080/a.h5"),
        ("https://me:pa/ss@host/a.h5", "https://host/a.h5"),
        ("https://t0ken@host/a.h5", "https://host/a.h5"),
        ("https:/me:pass@host/a.h5", "https:/host/a.h5"),
        ("https://host:8080/a@b/c.h5", "https://host:8080/a@b/c.h5"),
        ("https://host/a.h5?X-Amz-Signature=12&versionId=7&X-Amz-Credential=a%2Fb", "https://host/a.h5?versionId=7"),
        ("https://host/a.h5?sv=1&sig=x%3D#part", "https://host/a.h5"),
        ("https://host/a.h5?whatever=1", "https://host/a.h5"),
        ("https://host/get?file=a.h5&token=1", "https://host/get?file=a.h5"),
        ("s3://bucket/a@b.h5", "s3://bucket/a@b.h5"),
        ("sftp://me:pass@host/a.h5", "sftp://me@host/a.h5"),
        ("abfs://container@account.dfs.core.windows.net/a.h5", "abfs://container@account.dfs.core.windows.net/a.h5"),
        ("simplecache::https://me:pass@host/a.h5?sig=1", "simplecache::https://host/a.h5"),
        ("zip://a.h5::https://me:pass@host/b.zip?sig=1", "zip://a.h5::https://host/b.zip"),
        ("--store=https://me:pass@host/a.h5", "--store=https://host/a.h5"),
        ("'https://me:pass@h/a?sig=1' and https://me:pass@h/b?sig=2", "'https://h/a' and https://h/b"),
    ],
)
def test_urls(url: str, without: str) -> None:
    assert redacted(url, {}) == without


@pytest.mark.parametrize(
    "text",
    [
        "headers=<CIMultiDictProxy('Host': 'h', 'Authorization': 'Basic aHVudGVyMg==')>",
        "Authorization: Bearer aHVudGVyMg.x-y",
        "authorization=aHVudGVyMg==",
        "{'X-Api-Key': 'aHVudGVyMg'}",
        "Cookie: session=aHVudGVyMg",
        "sent Bearer aHVudGVyMg to it",
    ],
)
def test_headers(text: str) -> None:
    assert "aHVudGVyMg" not in redacted(text, {})
    assert "***" in redacted(text, {})


def test_values_of_secret_variables() -> None:
    environment = {
        "HF_TOKEN": "hf_abcdefgh",
        "HOME": "/home/someone",
        "MY_PASSWORD": "short",
        "SSH_TOKEN": "/run/secret",
    }
    text = "hf_abcdefgh of /home/someone is short, /run/secret"
    assert redacted(text, environment) == "$HF_TOKEN of /home/someone is short, /run/secret"


def test_other_text_is_as_it_was() -> None:
    for text in ("fit --store a.h5: UA 0.912 (95 %: 0.8 to 0.9)", "basic features", "C:\\a\\b?c", "cookies are sweet"):
        assert redacted(text, {}) == text


def test_a_location_is_text_without_credentials_only() -> None:
    url = parse_location("https://me:pass@host/a.h5?sig=1")
    assert isinstance(url, Url)
    assert (str(url), f"{url}", repr(url)) == ("https://host/a.h5", "https://host/a.h5", "'https://host/a.h5'")
    assert pickle.loads(pickle.dumps(url)) == url == parse_location(url)
    with pytest.raises(TypeError):
        json.dumps(url)
