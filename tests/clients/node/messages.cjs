// Messages, streamed, with thinking; whole histories, as the API wants them.
const { load, name, base, key, model, prompt, tools, told, tell } = require("./tools.cjs");
const Anthropic = load(name);

const client = new Anthropic({ baseURL: base, apiKey: key, maxRetries: 0 });
const offered = Object.entries(tools).map(([name, { parameters }]) => ({
  name, description: name, input_schema: parameters,
}));

async function main() {
  const messages = [{ role: "user", content: prompt }];
  for (;;) {
    const stream = client.messages.stream({
      model, messages, tools: offered, max_tokens: 4096, thinking: { type: "enabled", budget_tokens: 2048 },
    });
    stream.on("text", () => told.texts++);
    stream.on("inputJson", () => told.fragments++);
    stream.on("thinking", () => told.thinking++);
    const { role, content, stop_reason } = await stream.finalMessage();
    told.rounds++;
    messages.push({ role, content });
    if (stop_reason !== "tool_use") break;
    const results = content
      .filter(({ type }) => type === "tool_use")
      .map(({ id, name, input }) => ({ type: "tool_result", tool_use_id: id, content: tools[name].run(input) }));
    messages.push({ role: "user", content: results });
  }
  told.text = messages.at(-1).content.find(({ type }) => type === "text").text;
  tell();
}

main();
