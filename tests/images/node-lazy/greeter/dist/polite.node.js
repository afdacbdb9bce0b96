"use strict";

module.exports = (name) => `${require("#words").dear} ${name}: ${require("greeter")(name)}`;
