// The three tools of an agent, and what they are asked with. Node's packages are beside the tests, not beside this file.
const { execSync } = require("node:child_process");
const fs = require("node:fs");
const { createRequire } = require("node:module");

const [packages, name, base, key, model, prompt] = process.argv.slice(2);

const object = (properties) => ({
  type: "object",
  properties: Object.fromEntries(Object.keys(properties).map((name) => [name, { type: "string" }])),
  required: Object.keys(properties),
});

const tools = {
  read_file: { parameters: object({ path: 0 }), run: ({ path }) => fs.readFileSync(path, "utf8") },
  write_file: {
    parameters: object({ path: 0, content: 0 }),
    run: ({ path, content }) => (fs.writeFileSync(path, content), "written"),
  },
  run: { parameters: object({ command: 0 }), run: ({ command }) => execSync(command, { encoding: "utf8" }) },
};

// What a run tells the test: the answer, and how many pieces of text and of arguments came on the way.
const told = { text: "", rounds: 0, texts: 0, fragments: 0, thinking: 0 };
const tell = () => console.log(JSON.stringify(told));

module.exports = { load: createRequire(`${packages}/x`), name, base, key, model, prompt, tools, told, tell };
