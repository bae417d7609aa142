// Messages by the SDK's tool runner, which first tries to leave the history to the server.
const { load, name, base, key, model, prompt, tools, told, tell } = require("./tools.cjs");
const Anthropic = load(name);
const { betaTool } = load(`${name}/helpers/beta/json-schema`);

const client = new Anthropic({ baseURL: base, apiKey: key, maxRetries: 0 });
const runner = client.beta.messages.toolRunner({
  model,
  stream: true,
  max_tokens: 4096,
  messages: [{ role: "user", content: prompt }],
  tools: Object.entries(tools).map(([name, { parameters, run }]) =>
    betaTool({ name, description: name, inputSchema: parameters, run }),
  ),
});

async function main() {
  let message;
  for await (const stream of runner) {
    stream.on("text", () => told.texts++);
    stream.on("inputJson", () => told.fragments++);
    message = await stream.finalMessage();
    told.rounds++;
  }
  told.text = message.content.find(({ type }) => type === "text").text;
  tell();
}

main();
