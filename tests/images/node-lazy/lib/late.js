"use strict";

module.exports = { late: true, table: require("./table.json") };
