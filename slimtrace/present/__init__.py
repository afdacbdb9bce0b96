"""What a person sees: the live view, the summaries, the answers. The only package that imports rich."""
