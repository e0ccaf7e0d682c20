// Vercel's `ai`: one JSON line of what it saw. Arguments: the gateway's URL, key, the prefix of the models, the dialect that it speaks.
import assert from "node:assert/strict"
import { createAnthropic } from "@ai-sdk/anthropic"
import { createOpenAI } from "@ai-sdk/openai"
import { APICallError, Output, generateText, isStepCount, stepCountIs, streamText, tool } from "ai"
import { z } from "zod"

const [url, apiKey, side, speaks] = process.argv.slice(2)
const provider = speaks === "openai" ? createOpenAI({ baseURL: `${url}/v1`, apiKey }) : createAnthropic({ baseURL: `${url}/v1`, apiKey })
const model = (name) => (speaks === "openai" ? provider.chat(name) : provider(name))
const prompt = "Hello!"
const steps = isStepCount ?? stepCountIs

const chat = await generateText({ model: model(side), system: "Be short.", prompt })
assert.ok(chat.text)
assert.equal(chat.finishReason, "stop")
assert.equal(chat.usage.outputTokens, 7)

const stream = streamText({ model: model(side), prompt })
let text = ""
for await (const piece of stream.textStream) text += piece
assert.ok(text)
assert.equal(await stream.finishReason, "stop")
assert.equal((await stream.usage).outputTokens, 7)

const used = []
for (const streamed of [false, true]) {
  const ran = []
  const weather = tool({ description: "The weather", inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => ran.push(city) && "sunny" })
  // the first step calls twice, the second, which has both results, says it
  const ask = { model: model(`${side}-tools`), prompt, tools: { weather }, toolChoice: "required", stopWhen: steps(2), prepareStep: ({ stepNumber }) => (stepNumber ? { model: model(side), toolChoice: "auto" } : {}) }
  const answer = streamed ? streamText(ask) : await generateText(ask)
  assert.ok(await answer.text)
  const done = await answer.steps
  assert.deepEqual(done.map((step) => step.finishReason), ["tool-calls", "stop"])
  assert.equal(done[0].toolResults.length, 2)
  assert.equal(ran.length, 2)
  used.push(done[0].toolCalls.map((call) => call.toolName))
}

const shaped = await generateText({ model: model(side), prompt, output: Output.object({ schema: z.object({ city: z.string() }) }) })
assert.deepEqual(Object.keys(shaped.output), ["city"])

const dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
const content = [{ type: "text", text: "What?" }, { type: "file", data: dot, mediaType: "image/png" }]
assert.ok((await generateText({ model: model(side), messages: [{ role: "user", content }] })).text)

const wrong = await generateText({ model: model(`${side}-wrong`), prompt }).catch((error) => error)
assert.ok(APICallError.isInstance(wrong), String(wrong))
assert.equal(wrong.statusCode, 400)
assert.match(wrong.message, /asked for status 400/)
const busy = await generateText({ model: model(`${side}-busy`), prompt, maxRetries: 0 }).catch((error) => error)
assert.equal(busy.statusCode, 429)
const seen = []
for await (const part of streamText({ model: model(`${side}-breaks`), prompt, maxRetries: 0, onError() {} }).fullStream ?? []) seen.push(part.type)
assert.ok(seen.includes("error"), seen.join())
console.log(JSON.stringify({ used, passed: true }))
