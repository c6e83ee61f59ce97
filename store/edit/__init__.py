"""Operations that change stores: copy, remove, merge, repack."""
