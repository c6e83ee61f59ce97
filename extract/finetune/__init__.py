"""Fits an encoder's weights further, fold by fold, on labels that its fold may see."""
