"""Pages about runs and stores that need both stages: a run with its models and recordings, a folder of runs, a store."""
