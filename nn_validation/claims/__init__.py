"""Claims decided by trained networks: their evidence is committed records, so that deciding them needs no torch."""
