// Chat Completions by the SDK's own runner, which streams and calls the tools itself.
const { load, name, base, key, model, prompt, tools, told, tell } = require("./tools.cjs");
const OpenAI = load(name);

const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: 0 });
const runner = client.chat.completions.runTools({
  model,
  stream: true,
  messages: [{ role: "user", content: prompt }],
  tools: Object.entries(tools).map(([name, { parameters, run }]) => ({
    type: "function",
    function: { name, parameters, description: name, parse: JSON.parse, function: run },
  })),
});
runner.on("chunk", ({ choices: [choice] }) => {
  told.texts += Boolean(choice?.delta.content);
  told.fragments += choice?.delta.tool_calls?.length ?? 0;
});
runner.on("chatCompletion", () => told.rounds++);

runner.finalContent().then((text) => {
  told.text = text;
  tell();
});
