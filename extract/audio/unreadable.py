"""What a file is that no audio decoder reads, and what to do about it."""

from __future__ import annotations

import re

_HEAD = 4096
_SPHERE_CODING = re.compile(rb"sample_coding\s+-s\d+\s+(\S*)")
_SHORTEN = "decompress it with `sph2pipe -f rif IN OUT`"


def what_it_is(data: bytes) -> str | None:
    """The kind of a file by its bytes, with what to do; None where it is unknown."""
    head = data[:_HEAD]
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"version https://git-lfs.github.com/spec/"):
        return "is a Git LFS pointer, not the audio: run `git lfs pull` in its repository"
    if text.startswith(b"/annex/objects/"):
        return "is a git-annex pointer, not the audio: run `git annex get` in its repository"
    if re.match(rb"<(!doctype\s+html|html|head|body)\b", text, re.IGNORECASE):
        return "is an HTML page, such as a login or an error page, not the audio: download the file again"
    if head.startswith(b"NIST_1A"):
        coding = _SPHERE_CODING.search(head)
        name = coding[1].decode("ascii", "replace") if coding else "unknown"
        method = re.search("shorten|shortpack|wavpack", name)
        if method is None:
            return f"is a SPHERE file with sample coding {name!r}, which cannot be decoded"
        return f"is a SPHERE file compressed with {method[0]}: {_SHORTEN}"
    if head.startswith(b"ajkg"):
        return "is compressed with shorten: decompress it with `ffmpeg -i IN OUT.wav` or `shorten -x IN OUT`"
    if head[4:8] == b"ftyp" and b"moov" not in _mp4_boxes(data):
        return "is an mp4 file without its index (moov), as of an interrupted recording or copy: download it again"
    if head.startswith(b"PK\x03\x04") or head.startswith(b"\x1f\x8b"):
        return "is a compressed archive, not audio: unpack it"
    return _as_text(head)


def _mp4_boxes(data: bytes) -> set[bytes]:
    """The names of the boxes at the top level of an mp4 file."""
    names, position = set(), 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        names.add(data[position + 4 : position + 8])
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size < 8:  # 0: the last box reaches to the end
            break
        position += size
    return names


def _as_text(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8-sig") if len(head) < _HEAD else head[:-4].decode("utf-8-sig", errors="ignore")
    except UnicodeDecodeError:
        return None
    if not text.strip() or not all(c.isprintable() or c in "\t\r\n" for c in text):
        return None
    words = " ".join(text.split())
    return f"is a text file, not audio; it begins with {words[:40]!r}"
