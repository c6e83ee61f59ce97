"""Steps that readers of corpora share: finding audio, reading tables, checking cuts."""
