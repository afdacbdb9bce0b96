module.exports = { word: "a" };
