"""A finished run scored on another corpus, without training (`emofuse evaluate`)."""
