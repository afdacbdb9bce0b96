"""What the system loads on demand: one finder a facility, each by evidence.

The evidence is what the files in use take from libraries (a program that calls getaddrinfo(3) may resolve
names) and name in strings, what the run opened, and the image's ENV. None of these keeps anything because
images usually have it.
"""
