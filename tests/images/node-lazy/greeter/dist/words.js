module.exports = { dear: "dear" };
