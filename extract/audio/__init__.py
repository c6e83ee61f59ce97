"""Reading a corpus's audio: decoding, resampling, and a scan of every clip before any encoder runs."""
