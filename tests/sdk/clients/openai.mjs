// `openai` from npm: one JSON line of what it saw. Arguments: base URL, key, the prefix of the models.
import assert from "node:assert/strict"
import OpenAI from "openai"

const [baseURL, apiKey, side] = process.argv.slice(2)
const client = new OpenAI({ baseURL, apiKey })
const hello = [{ role: "user", content: "Hello!" }]
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false }
const tools = [{ type: "function", function: { name: "weather", description: "The weather", parameters } }]
const dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

const chat = await client.chat.completions.create({ model: side, messages: [{ role: "system", content: "Be short." }, ...hello] })
assert.equal(chat.choices[0].finish_reason, "stop")
assert.ok(chat.choices[0].message.content)
assert.equal(chat.usage.completion_tokens, 7)
assert.equal(chat.usage.total_tokens, chat.usage.prompt_tokens + 7)

const chunks = []
for await (const chunk of await client.chat.completions.create({ model: side, messages: hello, stream: true, stream_options: { include_usage: true } })) chunks.push(chunk)
assert.ok(chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.delta.content ?? "").join(""))
assert.deepEqual(chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.finish_reason).filter(Boolean), ["stop"])
assert.equal(chunks.at(-1).usage.completion_tokens, 7)

const used = []
for (const stream of [false, true]) {
  const ask = { model: `${side}-tools`, messages: hello, tools, tool_choice: "required" }
  const answer = stream ? await client.chat.completions.stream(ask).finalChatCompletion() : await client.chat.completions.create(ask)
  const calls = answer.choices[0].message.tool_calls
  assert.equal(answer.choices[0].finish_reason, "tool_calls")
  assert.equal(calls.length, 2)
  assert.equal(new Set(calls.map((call) => call.id)).size, 2)
  calls.forEach((call) => assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)), ["city"]))
  const { role, content, tool_calls } = answer.choices[0].message
  const results = calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "sunny" }))
  const next = await client.chat.completions.create({ model: side, messages: [...hello, { role, content, tool_calls }, ...results], tools })
  assert.ok(next.choices[0].message.content)
  used.push(calls.map((call) => call.function.name))
}

const ran = []
const runner = client.chat.completions.runTools({
  model: side,
  messages: hello,
  tools: [{ type: "function", function: { name: "weather", parameters, parse: JSON.parse, function: ({ city }) => ran.push(city) && "sunny" } }],
})
assert.ok(await runner.finalContent())

const shape = { type: "json_schema", json_schema: { name: "place", schema: parameters, strict: true } }
const parsed = await client.chat.completions.parse({ model: side, messages: hello, response_format: shape, max_completion_tokens: 100 })
assert.deepEqual(Object.keys(JSON.parse(parsed.choices[0].message.content)), ["city"])
assert.equal(parsed.choices[0].finish_reason, "stop")

const image = { type: "image_url", image_url: { url: `data:image/png;base64,${dot}` } }
const seen = await client.chat.completions.create({ model: side, messages: [{ role: "user", content: [{ type: "text", text: "What?" }, image] }] })
assert.ok(seen.choices[0].message.content)

const wrong = await client.chat.completions.create({ model: `${side}-wrong`, messages: hello }).catch((error) => error)
assert.ok(wrong instanceof OpenAI.BadRequestError, String(wrong))
assert.match(wrong.message, /asked for status 400/)
const busy = await client.chat.completions.create({ model: `${side}-busy`, messages: hello, stream: true }, { maxRetries: 0 }).catch((error) => error)
assert.ok(busy instanceof OpenAI.RateLimitError, String(busy))
const breaks = await (async () => {
  for await (const _ of await client.chat.completions.create({ model: `${side}-breaks`, messages: hello, stream: true }));
})().catch((error) => error)
assert.ok(breaks instanceof OpenAI.APIError, String(breaks))
console.log(JSON.stringify({ used, passed: true }))
