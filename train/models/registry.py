"""The architectures that `fit --model` knows: an explicit list, one line each."""

from __future__ import annotations

from emofuse.common.registry import Registry
from emofuse.train.models import baselines, smcn
from emofuse.train.models.base import ModelSpec

MODELS: Registry[ModelSpec] = Registry("model")

MODELS.add("smcn", "Self-guided Modality Calibration Network (Hou et al., ICASSP 2022)", smcn.SPEC)
MODELS.add("concat", "GRU and attention per modality, concatenated (SMCN's row Cat)", baselines.CONCAT)
MODELS.add("audio", "GRU and attention on audio alone", baselines.AUDIO)
MODELS.add("text", "GRU and attention on text alone", baselines.TEXT)
MODELS.add("linear", "one linear layer on mean and deviation over time", baselines.LINEAR)
MODELS.add("weighted-layers", "learned sum over an encoder's layers, mean, linear (SUPERB)", baselines.WEIGHTED_LAYERS)
