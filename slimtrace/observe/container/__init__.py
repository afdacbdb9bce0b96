"""A running container: started, driven, confined for a trial, attached to, stopped."""
