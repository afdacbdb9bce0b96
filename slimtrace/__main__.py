"""Where the program begins: Ctrl-C is to end it without a word until the command line can speak."""

import signal


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from slimtrace import cli

    cli.main()


if __name__ == "__main__":
    main()
