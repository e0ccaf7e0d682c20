"""An upstream that answers from a script, in the wire forms of OpenAI's chat completions and of Anthropic's messages, whole and streamed.

The script is a list of turns, each a list of tool calls `(name, arguments)`. How far a conversation is, its request says: as many turns are
over as there are assistant turns with tool calls in it. After the last turn comes a text that quotes what the tools gave. A request that
does not offer the tool that is due (agents ask for titles and summaries beside their work) gets a plain text.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEFORE = "Let me look."
PLAIN = "A short title"
AFTER = "The tool gave: "


def text_of(content):
    """The text of a content, in either dialect: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(text_of(part.get("text", "")) for part in content or [] if isinstance(part, dict))


def pieces(text, size=5):
    return [text[start : start + size] for start in range(0, len(text), size)] or [""]


class Chat:
    """OpenAI chat completions."""

    path = "/v1/chat/completions"

    @staticmethod
    def offered(body):
        return {tool["function"]["name"] for tool in body.get("tools") or [] if tool.get("type") == "function"}

    @staticmethod
    def turns(body):
        return sum(1 for turn in body["messages"] if turn["role"] == "assistant" and turn.get("tool_calls"))

    @staticmethod
    def results(body):
        """What the tools of the last turn gave."""
        found = []
        for turn in body["messages"]:
            if turn["role"] == "assistant" and turn.get("tool_calls"):
                found = []
            elif turn["role"] == "tool":
                found.append(text_of(turn["content"]))
        return found

    @staticmethod
    def usage(inward, outward):
        return {
            "prompt_tokens": inward,
            "completion_tokens": outward,
            "total_tokens": inward + outward,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
        }

    @classmethod
    def whole(cls, body, number, text, calls):
        listed = [{"id": f"call_s{number:04d}{place:04d}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}} for place, (name, arguments) in enumerate(calls)]
        message = {"role": "assistant", "content": text, "refusal": None, "annotations": []} | ({"tool_calls": listed} if calls else {})
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if calls else "stop"}
        head = {"id": f"chatcmpl-s{number:06d}", "object": "chat.completion", "created": 1780000000, "model": body["model"]}
        return head | {"choices": [choice], "usage": cls.usage(100, 20), "service_tier": "default", "system_fingerprint": "fp_scripted"}

    @classmethod
    def stream(cls, body, number, text, calls):
        asked = (body.get("stream_options") or {}).get("include_usage")
        head = {"id": f"chatcmpl-s{number:06d}", "object": "chat.completion.chunk", "created": 1780000000, "model": body["model"], "service_tier": "default", "system_fingerprint": "fp_scripted"}

        def chunk(delta, reason=None):
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            return head | {"choices": [choice]} | ({"usage": None} if asked else {})

        yield None, chunk({"role": "assistant", "content": "", "refusal": None})
        for piece in pieces(text):
            yield None, chunk({"content": piece})
        for place, (name, arguments) in enumerate(calls):
            first = {"index": place, "id": f"call_s{number:04d}{place:04d}", "type": "function", "function": {"name": name, "arguments": ""}}
            yield None, chunk({"tool_calls": [first]})
            for piece in pieces(json.dumps(arguments)):
                yield None, chunk({"tool_calls": [{"index": place, "function": {"arguments": piece}}]})
        yield None, chunk({}, "tool_calls" if calls else "stop")
        if asked:
            yield None, head | {"choices": [], "usage": cls.usage(100, 20)}
        yield None, "[DONE]"

    @staticmethod
    def error(message):
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


class Messages:
    """Anthropic messages."""

    path = "/v1/messages"

    @staticmethod
    def blocks(turn):
        return turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]

    @staticmethod
    def offered(body):
        return {tool["name"] for tool in body.get("tools") or []}

    @classmethod
    def turns(cls, body):
        return sum(1 for turn in body["messages"] if turn["role"] == "assistant" and any(block["type"] == "tool_use" for block in cls.blocks(turn)))

    @classmethod
    def results(cls, body):
        found = []
        for turn in body["messages"]:
            if any(block["type"] == "tool_use" for block in cls.blocks(turn)):
                found = []
            found += [text_of(block.get("content")) for block in cls.blocks(turn) if block["type"] == "tool_result"]
        return found

    @staticmethod
    def usage(inward, outward):
        return {"input_tokens": inward, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": outward, "service_tier": "standard"}

    @classmethod
    def whole(cls, body, number, text, calls):
        content = [{"type": "text", "text": text}]
        content += [{"type": "tool_use", "id": f"toolu_s{number:04d}{place:04d}", "name": name, "input": arguments} for place, (name, arguments) in enumerate(calls)]
        head = {"id": f"msg_s{number:06d}", "type": "message", "role": "assistant", "model": body["model"], "content": content}
        return head | {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None, "usage": cls.usage(100, 20)}

    @classmethod
    def stream(cls, body, number, text, calls):
        start = cls.whole(body, number, text, calls) | {"content": [], "stop_reason": None, "usage": cls.usage(100, 1)}
        events = [{"type": "message_start", "message": start}, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, {"type": "ping"}]
        events += [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in pieces(text)]
        events += [{"type": "content_block_stop", "index": 0}]
        for place, (name, arguments) in enumerate(calls):
            block = {"type": "tool_use", "id": f"toolu_s{number:04d}{place:04d}", "name": name, "input": {}}
            events += [{"type": "content_block_start", "index": place + 1, "content_block": block}]
            deltas = ["", *pieces(json.dumps(arguments))]
            events += [{"type": "content_block_delta", "index": place + 1, "delta": {"type": "input_json_delta", "partial_json": piece}} for piece in deltas]
            events += [{"type": "content_block_stop", "index": place + 1}]
        events += [{"type": "message_delta", "delta": {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 20}}, {"type": "message_stop"}]
        for event in events:
            yield event["type"], event

    @staticmethod
    def error(message):
        return {"type": "error", "error": {"type": "invalid_request_error", "message": message}, "request_id": "req_scripted"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer(200, {"object": "list", "data": []})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = self.path.split("?")[0]
        if path == "/v1/messages/count_tokens":
            return self.answer(200, {"input_tokens": 100})
        dialect = next((dialect for dialect in (Chat, Messages) if dialect.path == path), None)
        if dialect is None:
            return self.answer(404, {"error": {"message": f"there is nothing at {path}", "type": "invalid_request_error"}})
        number, text, calls = self.server.scripted.next(dialect, path, dict(self.headers), body)
        if not body.get("stream"):
            return self.answer(200, dialect.whole(body, number, text, calls))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for name, value in dialect.stream(body, number, text, calls):
                data = value if isinstance(value, str) else json.dumps(value)
                frame = (f"event: {name}\n" if name else "") + f"data: {data}\n\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(frame.encode()), frame.encode()))
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


class Scripted:
    def __init__(self, *script):
        self.script, self.requests, self.lock = list(script), [], threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.scripted = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self, dialect, path, headers, body):
        """Keeps the request; its number, and what is answered: a text and calls."""
        with self.lock:
            self.requests.append({"path": path, "headers": headers, "body": body})
            number = len(self.requests)
        turn = dialect.turns(body)
        if turn < len(self.script) and {name for name, _ in self.script[turn]} <= dialect.offered(body):
            return number, BEFORE, self.script[turn]
        results = dialect.results(body)
        return (number, AFTER + " / ".join(results), []) if results and turn >= len(self.script) else (number, PLAIN, [])

    def bodies(self):
        with self.lock:
            return [request["body"] for request in self.requests]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Fixed:
    """An upstream that gives one answer to whatever is asked."""

    def __init__(self, text, kind):
        class Given(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length") or 0))
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Given)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
