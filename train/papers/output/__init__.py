"""What is written of a table of results: its text, its page, marks and notes of its rows."""
