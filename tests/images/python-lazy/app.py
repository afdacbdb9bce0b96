import os
import signal
import sys

from flask import Flask, jsonify, render_template

app = Flask(__name__)


@app.get("/")
def index() -> str:
    return render_template("index.html", name="python-lazy")


@app.get("/lazy")
def lazy():
    from shop import rarely

    return jsonify(rarely.everything())


@app.get("/page")
def page() -> str:
    return render_template("lazy.html", words=["one", "two"])


if __name__ == "__main__":
    # process 1 of a container dies of no signal that it does not handle
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app.run(host="0.0.0.0", port=int(os.environ["PORT"]))
