"""What is shown: console lines and tables, progress, notebook display, LaTeX; and its formats."""
