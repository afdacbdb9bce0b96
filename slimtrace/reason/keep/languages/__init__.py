"""What the code in use names: one finder a language."""
