"""Links to recordings stay relative and quoted, whatever their names; clips inside the page have a limit."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import soundfile

from emofuse.common.errors import SeveralProblemsError, UsageError
from emofuse.common.page.render import safe_link
from emofuse.manifests.schema import Utterance
from emofuse.report.material.embedding import Embedding
from emofuse.train.runs.recordings import Recordings, audio_roots
from emofuse.train.runs.run_stores import CorpusUtterance

HOSTILE = [
    "javascript:x.wav",
    "a b#c?.wav",
    "<img src=x onerror=alert(1)>.wav",
    "data:audio,x",
    "100%25.wav",
    "ü/'\".wav",
]


def tone(path: Path, seconds: float = 0.5) -> Path:
    """A WAV file with a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(16_000 * seconds)) / 16_000
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 300 * times), 16_000, format="WAV")
    return path


def recordings(root: Path, page_folder: Path, *names: str, embedding: Embedding | None = None) -> Recordings:
    """Recordings of one utterance per file, whose ids are the files' names."""
    members = {n: CorpusUtterance(corpus="tiny", utterance=Utterance(id=n, audio=n)) for n in names}
    return Recordings(members, {"tiny": root}, page_folder, embedding)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_link_leads_to_the_file_whatever_its_name(name: str, tmp_path: Path) -> None:
    tone(tmp_path / "audio" / name)
    for folder in (tmp_path / "audio", tmp_path / "runs" / "one"):
        link = recordings(tmp_path / "audio", folder, name).sound(name)
        assert link is not None
        assert safe_link(link) == link
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
        assert link.startswith(("./", "../"))
        assert not set(link) & set(" <>\"'#?")
        assert Path(os.path.normpath(folder / unquote(parts.path))) == tmp_path / "audio" / name


def test_a_part_of_a_recording_is_a_fragment(tmp_path: Path) -> None:
    tone(tmp_path / "long.wav", 3)
    for start, end, expected in ((1.5, 2.25, "#t=1.5,2.25"), (None, 2.0, "#t=0,2"), (1.0, None, "#t=1")):
        utterance = Utterance(id="u", audio="long.wav", start=start, end=end)
        member = {"u": CorpusUtterance(corpus="tiny", utterance=utterance)}
        assert Recordings(member, {"tiny": tmp_path}, tmp_path).sound("u") == f"./long.wav{expected}"


def test_missing_recordings_are_one_remark(tmp_path: Path) -> None:
    found = recordings(tmp_path, tmp_path, "a.wav", "b\x1b.wav")
    assert [found.sound(id) for id in ("b\x1b.wav", "a.wav", "a.wav", "unknown")] == [None] * 4
    assert found.remarks == [f"2 recordings are not below {tmp_path}, such as b\N{REPLACEMENT CHARACTER}.wav"]


def test_a_folder_of_recordings_without_effect_is_said(tmp_path: Path) -> None:
    text_only = {"u": CorpusUtterance(corpus="tiny", utterance=Utterance(id="u", text="yes"))}
    assert Recordings(text_only, {"tiny": tmp_path}, tmp_path).remarks == [
        "--audio-root has no effect: the store of tiny names no recordings"
    ]
    assert "; name it with --store" in Recordings({}, {"tiny": tmp_path}, tmp_path).remarks[0]
    assert Recordings(text_only, {}, tmp_path).remarks == []


def test_a_clip_inside_the_page_is_the_recording(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 1.0)
    link = recordings(tmp_path, tmp_path, "a.wav", embedding=Embedding()).sound("a.wav")
    assert link is not None
    kind, _, content = link.partition(",")
    assert kind == "data:audio/mpeg;base64"
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content)))
    assert rate == 16_000
    assert len(samples) / rate == pytest.approx(1.0, abs=0.2)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * rate / len(samples) == pytest.approx(300, abs=3)


def test_too_long_unreadable_and_too_many_clips_are_links(tmp_path: Path) -> None:
    tone(tmp_path / "long.wav", 16)
    (tmp_path / "text.wav").write_text("no audio")
    tone(tmp_path / "a.wav")
    tone(tmp_path / "b.wav")
    found = recordings(tmp_path, tmp_path, "long.wav", "text.wav", "a.wav", "b.wav", embedding=Embedding(4_000))
    links = [str(found.sound(id)) for id in ("long.wav", "text.wav", "a.wav", "b.wav", "b.wav", "a.wav")]
    assert [link[:5] for link in links] == ["./lon", "./tex", "data:", "./b.w", "./b.w", "./a.w"], "each player counts"
    assert found.remarks == ["4 clips are links, not embedded: longer than 15 s, not readable, or beyond 4.0 kB in all"]


def test_a_clip_without_room_leaves_it_to_shorter_ones(tmp_path: Path) -> None:
    tone(tmp_path / "long.wav", 10)
    tone(tmp_path / "short.wav", 0.5)
    found = recordings(tmp_path, tmp_path, "long.wav", "short.wav", embedding=Embedding(6_000))
    assert [str(found.sound(id))[:5] for id in ("long.wav", "short.wav")] == ["./lon", "data:"]


def test_roots_of_one_and_of_several_corpora(tmp_path: Path) -> None:
    (tmp_path / "x=y").mkdir()
    assert audio_roots([str(tmp_path)], ["a", "b"]) == {"a": tmp_path, "b": tmp_path}
    assert audio_roots([f"a={tmp_path}"], ["a", "b"]) == {"a": tmp_path}
    assert audio_roots([str(tmp_path / "x=y")], ["a"]) == {"a": tmp_path / "x=y"}
    with pytest.raises(SeveralProblemsError) as raised:
        audio_roots([f"a={tmp_path}", str(tmp_path / "x=y"), "nowhere"], ["a"])
    assert [str(p).partition(":")[0] for p in raised.value.problems] == [
        "--audio-root names two folders for a",
        "--audio-root nowhere",
    ]
    with pytest.raises(UsageError, match="nowhere is not a folder; pass the folder that `extract` read with --root"):
        audio_roots(["nowhere"], ["a"])
