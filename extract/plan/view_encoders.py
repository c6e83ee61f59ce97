"""The encoders behind the views of one feature; they share their weights."""

from __future__ import annotations

from dataclasses import dataclass

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import Encoder
from emofuse.extract.encoders.blocks.pooled_text import Poolable
from emofuse.extract.encoders.registry import ENCODERS
from emofuse.extract.plan.job import EncoderRecipe
from emofuse.extract.plan.views import MEAN, POOLED, VIEWS


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewEncoders:
    """The encoders of a recipe."""

    built: Encoder
    """Gives the layers that are asked for."""
    all_layers: Encoder
    """Gives every layer where a view needs them; otherwise `built`."""
    pooled: Encoder | None = None
    """Gives the checkpoint's own pooling, in a pass of its own."""

    def shown(self, view: str) -> Encoder:
        """The encoder whose layers a view stores: a mean has all that are computed."""
        return self.all_layers if view == MEAN else self.computing(view) if view == POOLED else self.built

    def computing(self, view: str) -> Encoder:
        """The encoder that runs for a view."""
        if view != POOLED:
            return self.all_layers
        assert self.pooled is not None
        return self.pooled


def build_encoders(recipe: EncoderRecipe) -> ViewEncoders:
    """Build what computes a recipe's views.

    Raises:
        UsageError: As the encoders do; or the view `pooled` is asked for, and the encoder has no pooling.
    """
    built = ENCODERS[recipe.encoder].build(recipe.options)
    all_layers = built.with_all_layers() if MEAN in recipe.views else built
    if POOLED not in recipe.views:
        return ViewEncoders(built=built, all_layers=all_layers)
    if not isinstance(built, Poolable):
        others = ", ".join(view for view in VIEWS if view != POOLED)
        raise UsageError(f"encoder {recipe.encoder} has no pooling of its own; valid views for it: {others}")
    return ViewEncoders(built=built, all_layers=all_layers, pooled=built.pooled())
