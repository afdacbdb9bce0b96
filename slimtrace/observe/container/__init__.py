"""A container that runs: started, driven, asked, confined for a trial, attached to, stopped."""
