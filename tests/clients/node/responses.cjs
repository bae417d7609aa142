// Responses, streamed; each request goes on from the answer before it, which the gateway has kept.
const { load, name, base, key, model, prompt, tools, told, tell } = require("./tools.cjs");
const OpenAI = load(name);

const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: 0 });
const offered = Object.entries(tools).map(([name, { parameters }]) => ({
  type: "function", name, parameters, description: name, strict: false,
}));

async function round(input, previous_response_id) {
  const stream = client.responses.stream({
    model, input, previous_response_id, tools: offered, reasoning: { summary: "auto" },
  });
  stream.on("response.output_text.delta", () => told.texts++);
  stream.on("response.function_call_arguments.delta", () => told.fragments++);
  stream.on("response.reasoning_summary_text.delta", () => told.thinking++);
  told.rounds++;
  return stream.finalResponse();
}

async function main() {
  let response = await round(prompt);
  for (;;) {
    const calls = response.output.filter(({ type }) => type === "function_call");
    if (!calls.length) break;
    const results = calls.map((call) => ({
      type: "function_call_output",
      call_id: call.call_id,
      output: tools[call.name].run(JSON.parse(call.arguments)),
    }));
    response = await round(results, response.id);
  }
  told.text = response.output_text;
  tell();
}

main();
