export default (name) => `hello ${name}, from a module`;
