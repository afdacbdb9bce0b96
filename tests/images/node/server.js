"use strict";

const express = require("express");

const app = express();
app.get("/", (request, response) => response.json({ hello: "node" }));

const server = app.listen(Number(process.env.PORT), () => console.log("listening"));

// As process 1 node has no default action for these signals.
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}
