// `@anthropic-ai/sdk` from npm: one JSON line of what it saw. Arguments: base URL, key, the prefix of the models.
import assert from "node:assert/strict"
import Anthropic from "@anthropic-ai/sdk"

const [baseURL, apiKey, side] = process.argv.slice(2)
const client = new Anthropic({ baseURL, apiKey })
const hello = [{ role: "user", content: "Hello!" }]
const input_schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false }
const tools = [{ name: "weather", description: "The weather", input_schema }]
const dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
const limit = { max_tokens: 100 }

const chat = await client.messages.create({ model: side, ...limit, system: "Be short.", messages: hello })
assert.equal(chat.stop_reason, "end_turn")
assert.deepEqual(chat.content.map((block) => block.type), ["text"])
assert.equal(chat.usage.output_tokens, 7)

const kinds = []
const stream = client.messages.stream({ model: side, ...limit, messages: hello }).on("streamEvent", (event) => kinds.push(event.type))
assert.ok(await stream.finalText())
assert.equal((await stream.finalMessage()).usage.output_tokens, 7)
assert.equal(kinds[0], "message_start")
assert.equal(kinds.at(-1), "message_stop")

const used = []
for (const streamed of [false, true]) {
  const ask = { model: `${side}-tools`, ...limit, messages: hello, tools, tool_choice: { type: "any" } }
  const answer = streamed ? await client.messages.stream(ask).finalMessage() : await client.messages.create(ask)
  const uses = answer.content.filter((block) => block.type === "tool_use")
  assert.equal(answer.stop_reason, "tool_use")
  assert.equal(uses.length, 2)
  assert.equal(new Set(uses.map((use) => use.id)).size, 2)
  uses.forEach((use) => assert.deepEqual(Object.keys(use.input), ["city"]))
  const results = uses.map((use) => ({ type: "tool_result", tool_use_id: use.id, content: "sunny" }))
  const messages = [...hello, { role: "assistant", content: answer.content }, { role: "user", content: results }]
  assert.ok((await client.messages.create({ model: side, ...limit, messages, tools })).content[0].text)
  used.push(uses.map((use) => use.name))
}

const shaped = await client.messages.create({ model: side, ...limit, messages: hello, output_config: { format: { type: "json_schema", schema: input_schema } } })
assert.deepEqual(Object.keys(JSON.parse(shaped.content.find((block) => block.type === "text").text)), ["city"])
assert.equal(shaped.stop_reason, "end_turn")

const image = { type: "image", source: { type: "base64", media_type: "image/png", data: dot } }
assert.ok((await client.messages.create({ model: side, ...limit, messages: [{ role: "user", content: [{ type: "text", text: "What?" }, image] }] })).content[0].text)

const wrong = await client.messages.create({ model: `${side}-wrong`, ...limit, messages: hello }).catch((error) => error)
assert.ok(wrong instanceof Anthropic.BadRequestError, String(wrong))
assert.equal(wrong.error.error.type, "invalid_request_error")
assert.match(wrong.error.error.message, /asked for status 400/)
const busy = await client.messages.create({ model: `${side}-busy`, ...limit, messages: hello, stream: true }, { maxRetries: 0 }).catch((error) => error)
assert.ok(busy instanceof Anthropic.RateLimitError, String(busy))
const breaks = await client.messages.stream({ model: `${side}-breaks`, ...limit, messages: hello }).finalMessage().catch((error) => error)
assert.ok(breaks instanceof Anthropic.AnthropicError, String(breaks))
console.log(JSON.stringify({ used, passed: true }))
