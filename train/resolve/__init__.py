"""From the options of a call to a checked plan: protocol, features, task, leakage. Nothing is trained here."""
