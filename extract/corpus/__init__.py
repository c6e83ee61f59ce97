"""Audio files of a corpus: decoding, resampling, scanning every clip once."""
