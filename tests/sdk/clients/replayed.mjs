// What a client from npm hears of recorded answers. Arguments: the gateway's URL, key, which client.
// A JSON list of {model, stream} on stdin; for each one JSON line: {model, text, tools, end, usage} or {model, error}.
import { text as all } from "node:stream/consumers"
import { createAnthropic } from "@ai-sdk/anthropic"
import { createOpenAI } from "@ai-sdk/openai"
import Anthropic from "@anthropic-ai/sdk"
import { generateText, streamText } from "ai"
import OpenAI from "openai"

const [url, apiKey, which] = process.argv.slice(2)
const messages = [{ role: "user", content: "Hello!" }]

function openai() {
  const { completions } = new OpenAI({ baseURL: `${url}/v1`, apiKey }).chat
  return async ({ model, stream }) => {
    const ask = { model, messages }
    const answer = stream ? await completions.stream({ ...ask, stream_options: { include_usage: true } }).finalChatCompletion() : await completions.create(ask)
    const [{ message, finish_reason: end }] = answer.choices
    const tools = (message.tool_calls ?? []).map((call) => [call.function.name, JSON.parse(call.function.arguments)])
    return { text: message.content ?? "", tools, end, usage: [answer.usage.prompt_tokens, answer.usage.completion_tokens] }
  }
}

function anthropic() {
  const client = new Anthropic({ baseURL: url, apiKey })
  return async ({ model, stream }) => {
    const ask = { model, messages, max_tokens: 4096 }
    const { content, stop_reason: end, usage } = stream ? await client.messages.stream(ask).finalMessage() : await client.messages.create(ask)
    const text = content.map((block) => (block.type === "text" ? block.text : "")).join("")
    const tools = content.filter((block) => block.type === "tool_use").map((block) => [block.name, block.input])
    const inward = usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0)
    return { text, tools, end, usage: [inward, usage.output_tokens] }
  }
}

function vercel(named) {
  return async ({ model, stream }) => {
    const ask = { model: named(model), prompt: "Hello!" }
    const answer = stream ? streamText({ ...ask, onError() {} }) : await generateText(ask)
    const usage = await answer.usage
    const tools = (await answer.toolCalls).map((call) => [call.toolName, call.input])
    return { text: await answer.text, tools, end: await answer.finishReason, usage: [usage.inputTokens, usage.outputTokens] }
  }
}

const at = { baseURL: `${url}/v1`, apiKey }
const clients = { openai, anthropic, "vercel-openai": () => vercel(createOpenAI(at).chat), "vercel-anthropic": () => vercel(createAnthropic(at)) }
const heard = clients[which]()
const rows = JSON.parse(await all(process.stdin))
const worker = async () => {
  for (let row; (row = rows.shift()); ) {
    const said = await heard(row).catch((error) => ({ error: String(error) }))
    console.log(JSON.stringify({ model: row.model, ...said }))
  }
}
await Promise.all(Array.from({ length: 8 }, worker))
