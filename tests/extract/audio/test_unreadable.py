"""Files that are not audio, or that no decoder reads, are named for what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from emofuse.extract.audio.clips import AudioError, probe

SPHERE = (
    b"NIST_1A\n   1024\nsample_count -i 8000\nsample_n_bytes -i 1\nchannel_count -i 1\nsample_rate -i 8000\n"
    b"sample_coding -s26 ulaw,embedded-shorten-v2.00\nend_head\n"
)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 84642\n",
            "is a Git LFS pointer.*`git lfs pull`",
        ),
        (b"/annex/objects/SHA256E-s1--00.wav\n", "is a git-annex pointer.*`git annex get`"),
        (
            b"\xef\xbb\xbf\n<!DOCTYPE html><html><body>Sign in</body></html>\n",
            "is an HTML page.*download the file again",
        ),
        (b'{"error": "quota"}\n', r"is a text file, not audio; it begins with '\{\"error\": \"quota\"\}'"),
        ("Grüße\n".encode() * 2000, "is a text file, not audio; it begins with 'Grüße Grüße"),
        (
            SPHERE.ljust(1024) + b"ajkg\x02" + bytes(range(256)) * 8,
            "is a SPHERE file compressed with shorten.*sph2pipe",
        ),
        (b"ajkg\x02" + bytes(range(256)) * 8, "is compressed with shorten"),
        (
            b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00\x00\x00\x10\x00mdat" + bytes(range(256)) * 16,
            "is an mp4 file without",
        ),
        (b"PK\x03\x04" + bytes(100), "is a compressed archive"),
        (bytes(range(256)) * 8, "cannot be decoded: "),
    ],
)
def test_the_reason_says_what_the_file_is(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(AudioError, match=reason) as caught:
        probe(tmp_path / "a.wav")
    assert len(str(caught.value)) < 130
