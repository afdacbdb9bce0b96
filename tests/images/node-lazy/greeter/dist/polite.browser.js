module.exports = () => document.title;
