"""Files that libc and other system libraries load on demand: one finder for each facility, each by evidence.

The evidence is what the files in use import from libraries (a program that calls getaddrinfo(3) may resolve
names) and name in strings, what the container opened, and the image's ENV. No finder keeps a file only because
images usually have it.
"""
