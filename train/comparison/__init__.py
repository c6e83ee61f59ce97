"""Whether two runs differ beyond chance: paired tests, intervals and effect sizes (`emofuse compare`)."""
