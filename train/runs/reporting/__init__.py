"""What a run says: metrics.json, the printed tables, the report, and the caveats that all of them show."""
