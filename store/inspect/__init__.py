"""Operations that read stores for people: describe, list, show, verify, measure precision."""
