"""Whether two runs come out the same, and what the second one lacked where they do not."""
