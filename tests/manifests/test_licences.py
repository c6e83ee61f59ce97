"""The terms of the corpora."""

from __future__ import annotations

from emofuse.manifests.licences import LICENCES, UNKNOWN, licence_of


def test_every_licence_names_its_source_and_fits_a_table() -> None:
    for corpus, licence in LICENCES.items():
        assert licence_of(corpus) is licence
        assert licence.source.startswith("http") or corpus == "synthetic"
        assert len(licence.name) <= 22
        assert licence.terms
    assert licence_of("mine") == UNKNOWN
    assert licence_of("emobox-tess") is LICENCES["tess"]
