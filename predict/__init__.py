"""A finished run on new recordings: extracts with the run's own encoders, then asks its models (`emofuse predict`).

The one package that needs both stages; no other package imports it.
"""
