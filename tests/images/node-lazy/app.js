"use strict";

const path = require("path");
const express = require("express");

const app = express();
app.get("/", (request, response) => response.json({ hello: "node-lazy" }));

// Nothing below is touched by a probe of "/".
app.use("/static", express.static(path.join(__dirname, "public")));

app.get("/builtin", (request, response) => {
  const zlib = require("zlib");
  response.json({ length: zlib.gunzipSync(zlib.gzipSync("lazy")).length });
});

app.get("/local", (request, response) => response.json(require("./lib/late")));

app.get("/package", (request, response) => response.send(require("greeter/polite")("you")));

app.get("/module", async (request, response) => {
  const { greeting } = await import("./lib/module.mjs");
  response.send(greeting);
});

app.get("/word/:name", (request, response) => response.json(require("./lib/words/" + request.params.name)));

app.get("/latin", (request, response) => {
  response.set("Content-Type", "text/plain");
  response.send(require("iconv-lite").encode("grüezi 日本", "shift_jis"));
});

const server = app.listen(Number(process.env.PORT), () => console.log("listening"));

// As process 1 node has no default action for these signals.
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}
