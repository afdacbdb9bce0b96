import os
import signal
import sys

from flask import Flask, render_template

app = Flask(__name__)


@app.get("/")
def index() -> str:
    return render_template("index.html", name="python")


if __name__ == "__main__":
    # process 1 of a container dies of no signal that it does not handle
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app.run(host="0.0.0.0", port=int(os.environ["PORT"]))
