import greet from "greeter";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
export const greeting = `${greet("module")} ${require("./table.json").two}`;
