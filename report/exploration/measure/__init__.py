"""What is measured of a store: its features, the audio behind them, copies, and the errors of a run."""
