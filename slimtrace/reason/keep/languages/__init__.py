"""One finder for each language: the files that the code in use names."""
