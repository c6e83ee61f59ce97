"""torchaudio and transformers with this torch, each time in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRELUDE = "from emofuse.extract.audio.torchaudio_compat import import_torchaudio, import_transformers\n"


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRELUDE + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_module_loads_nothing_heavy() -> None:
    assert python("import sys; print([m for m in ('torch', 'torchaudio', 'transformers') if m in sys.modules])") == "[]"


def test_torchaudio_runs_what_is_used_of_it() -> None:
    code = """
torchaudio = import_torchaudio()
assert import_torchaudio() is torchaudio
import torch
from torchaudio.compliance import kaldi
wave = torch.sin(torch.arange(16000.))[None]
print(list(kaldi.fbank(wave, num_mel_bins=26).shape))
print(list(torchaudio.functional.resample(wave, 16000, 8000).shape))
print(list(torchaudio.functional.compute_deltas(wave.reshape(4, 4000)).shape))
"""
    assert python(code).splitlines() == ["[98, 26]", "[1, 8000]", "[4, 4000]"]


@pytest.mark.slow
def test_transformers_finds_its_speech_models_and_runs_them() -> None:
    code = """
transformers = import_transformers()
import torch
small = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=[8] * 7,
             num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)
model = transformers.HubertModel(transformers.HubertConfig(**small)).eval()
print(list(model(torch.zeros(1, 800)).last_hidden_state.shape))
"""
    assert python(code) == "[1, 2, 16]"


def test_an_extension_that_cannot_load_is_replaced_and_a_loadable_one_kept() -> None:
    code = """
import sys
import torch
# Whether or not the extension loads beside this torch, here it does not.
def load_library(path): raise OSError("libcudart.so.13: cannot open shared object file")
torch.ops.load_library = load_library
torchaudio = import_torchaudio()
extension = sys.modules["torchaudio._extension"]
print(extension._IS_TORCHAUDIO_EXT_AVAILABLE, extension.__spec__.name)
try:
    torchaudio.functional.forced_align(torch.zeros(1, 4, 3), torch.ones(1, 2, dtype=torch.int32))
except RuntimeError as error:
    print("forced_align needs torchaudio's native extension" in str(error))
try:
    extension.unheard_of
except AttributeError as error:
    print(error)
"""
    assert python(code).splitlines() == [
        "False torchaudio._extension",
        "True",
        "module 'torchaudio._extension' has no attribute 'unheard_of'",
    ]


@pytest.mark.parametrize(
    ("call", "missing"), [("import_torchaudio", "torchaudio"), ("import_transformers", "transformers")]
)
def test_without_the_package_one_line_says_what_to_install(call: str, missing: str) -> None:
    code = f"""
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == {missing!r} else find(name, package)
from emofuse.common.errors import UsageError
try:
    {call}()
except UsageError as error:
    print(error)
"""
    assert python(code) == f"extract needs {missing}, not installed here: pip install 'emofuse[extract]'"
