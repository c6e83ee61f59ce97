"""A bidirectional GRU as one operator, for exporters: `torch.export` would unroll `nn.GRU` over the example's frames.

The operator has a shape and no implementation; the exporter of each format translates it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

torch.library.define("emofuse::bigru", "(Tensor x, Tensor lengths, Tensor[] weights) -> Tensor")


@torch.library.register_fake("emofuse::bigru")  # type: ignore[untyped-decorator]
def _shape(x: Tensor, lengths: Tensor, weights: Sequence[Tensor]) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], 2 * weights[1].shape[1])


def bigru(x: Tensor, lengths: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """[B, T, D] -> [B, T, 2 H], zero on padding.

    Args:
        x: Padding may hold anything.
        lengths: Number of frames before padding [B].
        weights: `weight_ih`, `weight_hh`, `bias_ih` and `bias_hh` of `nn.GRU`, forward and then backward.
    """
    found: Tensor = torch.ops.emofuse.bigru(x, lengths, list(weights))
    return found
