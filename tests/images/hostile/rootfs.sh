#!/bin/sh
# Run in an empty folder that becomes the image's root. printf's %b octal escapes
# keep this file itself plain ASCII.
set -eu

mkdir data bin

put() {
    # The x saves newlines at a name's end from the command substitution.
    name=$(printf '%bx' "$1")
    printf 'content\n' >"data/${name%x}"
}

put 'new\nline'
put 'ends in newline\n'
put 'carriage\rreturn'
put 'tab\tand space '
put 'red \0033[31m text'
put 'clears \0033[2J\0033[H the screen'
put 'title \0033]0;owned\0007'
put '[bold red]markup'
put 'not utf-8 \0377\0376\0200'
put 'right to left \0342\0200\0256 override'
# shellcheck disable=SC2016
put '"quoted" \0047and\0047 $(touch owned) `touch owned`'
put '-rf'
put '<script>alert(1)'

# A slash cannot be in a name, but a path can close a tag that nothing opened.
mkdir 'data/markup ['
put 'markup [/bold]'
