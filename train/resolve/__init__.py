"""From options to a checked plan: protocol, features, task, leakage; nothing is trained here."""
