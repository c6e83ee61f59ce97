"""Pages that need both stages: of a run with its models and recordings, of a folder of runs, of a store."""
