//! What a request says: its endpoint, its limits, its texts, and the wishes that it carries.

use serde_json::Value;

use crate::errors::{Family, Refusal};
use crate::tokens::Counter;

/// Most choices that one request may ask for.
const CHOICES_MAX: u64 = 128;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    Responses,
    Embeddings,
    Messages,
    CountTokens,
}

impl Endpoint {
    /// The endpoint of a path without the leading `/v1`.
    pub(crate) fn of(path: &str) -> Option<Endpoint> {
        Some(match path {
            "/chat/completions" => Endpoint::Chat,
            "/completions" => Endpoint::Completions,
            "/responses" => Endpoint::Responses,
            "/embeddings" => Endpoint::Embeddings,
            "/messages" => Endpoint::Messages,
            "/messages/count_tokens" => Endpoint::CountTokens,
            _ => return None,
        })
    }

    /// Whose words it speaks.
    pub(crate) fn family(self) -> Family {
        match self {
            Endpoint::Messages | Endpoint::CountTokens => Family::Anthropic,
            _ => Family::OpenAi,
        }
    }

    fn limit_names(self) -> &'static [&'static str] {
        match self {
            Endpoint::Chat => &["max_completion_tokens", "max_tokens"],
            Endpoint::Responses => &["max_output_tokens"],
            _ => &["max_tokens"],
        }
    }
}

/// A tool that the caller offers.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) parameters: Value,
}

/// What the caller says about the use of tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Free,
    Never,
    Any,
    This(String),
}

/// A request, as far as it matters here.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) endpoint: Endpoint,
    /// The model as it was asked for, with its suffix.
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Most output tokens of one choice.
    pub(crate) limit: Option<u64>,
    /// Answers to give: `n`, times the prompts of a completion.
    pub(crate) choices: u64,
    pub(crate) tools: Vec<Tool>,
    pub(crate) tool_choice: Choice,
    /// Most tool calls at once.
    pub(crate) one_call: bool,
    /// Schema of the answer, where one is asked for.
    pub(crate) schema: Option<Value>,
    pub(crate) body: Value,
}

impl Input {
    /// Reads a body; refuses what a provider would.
    pub(crate) fn read(endpoint: Endpoint, body: &[u8]) -> Result<Input, Refusal> {
        let body: Value = serde_json::from_slice(body).map_err(|e| Refusal::new(400, format!("the body is not valid JSON: {e}")))?;
        let model = body.get("model").and_then(Value::as_str).filter(|model| !model.is_empty());
        let model = model.ok_or_else(|| Refusal::new(400, "you must provide a model parameter"))?.to_string();
        check_texts(endpoint, &body)?;
        let limit = endpoint.limit_names().iter().find_map(|name| body.get(name).and_then(Value::as_u64));
        if endpoint == Endpoint::Messages && limit.is_none() {
            return Err(Refusal::new(400, "max_tokens: field required"));
        }
        let n = body.get("n").and_then(Value::as_u64).unwrap_or(1).max(1);
        let prompts = if endpoint == Endpoint::Completions { items(body.get("prompt")) } else { 1 };
        Ok(Input {
            endpoint,
            model,
            stream: body.get("stream").and_then(Value::as_bool).unwrap_or(false) && streams(endpoint),
            include_usage: body.pointer("/stream_options/include_usage").and_then(Value::as_bool).unwrap_or(false),
            limit,
            choices: n.saturating_mul(prompts).min(CHOICES_MAX),
            tools: tools(&body),
            tool_choice: tool_choice(&body),
            one_call: one_call(&body),
            schema: schema(&body),
            body,
        })
    }

    /// Wishes in the model's name: `sim:output=max,latency_ms=50`. A suffix without `=` is part of the name.
    pub(crate) fn model_wishes(&self) -> impl Iterator<Item = (&str, &str)> {
        let suffix = self.model.rsplit_once(':').map_or("", |(_, suffix)| suffix);
        suffix.split(',').filter_map(|pair| pair.split_once('='))
    }

    /// Wishes in the body's `x_sim`.
    pub(crate) fn body_wishes(&self) -> impl Iterator<Item = (&str, String)> {
        let fields = self.body.get("x_sim").and_then(Value::as_object);
        fields.into_iter().flatten().map(|(name, value)| match value {
            Value::String(text) => (name.as_str(), text.clone()),
            Value::Null => (name.as_str(), String::new()),
            other => (name.as_str(), other.to_string()),
        })
    }

    /// Input tokens: all texts of the request and the tools it offers, nothing for the marks around them.
    pub(crate) fn tokens(&self, counter: &mut Counter) -> u64 {
        let mut sum = 0;
        self.each_text(&mut |text| sum += counter.count(text));
        sum += ["prompt", "input"].iter().filter_map(|name| self.body.get(name)).map(ready_tokens).sum::<u64>();
        for name in ["tools", "functions"] {
            if let Some(offered) = self.body.get(name).filter(|list| list.as_array().is_some_and(|list| !list.is_empty())) {
                sum += counter.count(&offered.to_string());
            }
        }
        sum
    }

    /// The text that stands last, to be said again.
    pub(crate) fn last_text(&self) -> String {
        let mut last = String::new();
        self.each_text(&mut |text| text.clone_into(&mut last));
        last
    }

    fn each_text(&self, see: &mut dyn FnMut(&str)) {
        for name in ["system", "instructions", "messages", "prompt", "suffix", "input"] {
            if let Some(value) = self.body.get(name) {
                texts(value, see);
            }
        }
    }
}

fn streams(endpoint: Endpoint) -> bool {
    !matches!(endpoint, Endpoint::Embeddings | Endpoint::CountTokens)
}

fn check_texts(endpoint: Endpoint, body: &Value) -> Result<(), Refusal> {
    let (name, lists_only) = match endpoint {
        Endpoint::Chat | Endpoint::Messages | Endpoint::CountTokens => ("messages", true),
        Endpoint::Completions => ("prompt", false),
        Endpoint::Responses | Endpoint::Embeddings => ("input", false),
    };
    let good = match body.get(name) {
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::String(_)) => !lists_only,
        None => endpoint == Endpoint::Responses && (body.get("prompt").is_some() || body.get("previous_response_id").is_some()),
        _ => false,
    };
    if good { Ok(()) } else { Err(Refusal::new(400, format!("{name}: a list with at least one entry is required"))) }
}

/// How many separate texts a prompt or an input holds: a list of numbers is one text, made of tokens.
pub(crate) fn items(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::Array(list)) if !list.iter().any(Value::is_number) => list.len() as u64,
        _ => 1,
    }
}

/// Tokens that the caller counted already: numbers in a prompt.
fn ready_tokens(value: &Value) -> u64 {
    match value {
        Value::Number(_) => 1,
        Value::Array(list) => list.iter().map(ready_tokens).sum(),
        _ => 0,
    }
}

/// Calls `see` with every string that a model reads as text; ids, kinds and inline data are none.
fn texts(value: &Value, see: &mut dyn FnMut(&str)) {
    const NOT_TEXT: [&str; 18] = [
        "type",
        "role",
        "id",
        "tool_call_id",
        "tool_use_id",
        "call_id",
        "item_id",
        "file_id",
        "url",
        "image_url",
        "data",
        "file_data",
        "media_type",
        "detail",
        "status",
        "signature",
        "encrypted_content",
        "cache_control",
    ];
    match value {
        Value::String(text) => see(text),
        Value::Array(list) => list.iter().for_each(|item| texts(item, see)),
        Value::Object(fields) => {
            for (_, inner) in fields.iter().filter(|(name, _)| !NOT_TEXT.contains(&name.as_str())) {
                texts(inner, see);
            }
        }
        _ => {}
    }
}

/// Tools in any of the three forms: `function: {name, parameters}`, `{name, parameters}`, `{name, input_schema}`.
fn tools(body: &Value) -> Vec<Tool> {
    let offered = body.get("tools").or_else(|| body.get("functions")).and_then(Value::as_array);
    let read = |tool: &Value| {
        let function = tool.get("function").unwrap_or(tool);
        let parameters = function.get("parameters").or_else(|| function.get("input_schema")).cloned().unwrap_or(Value::Null);
        Some(Tool { name: function.get("name")?.as_str()?.to_string(), parameters })
    };
    offered.into_iter().flatten().filter_map(read).collect()
}

fn tool_choice(body: &Value) -> Choice {
    let Some(choice) = body.get("tool_choice") else { return Choice::Free };
    let word = choice.as_str().or_else(|| choice.get("type").and_then(Value::as_str)).unwrap_or("auto");
    let name = choice.get("name").or_else(|| choice.pointer("/function/name")).and_then(Value::as_str);
    match (word, name) {
        ("none", _) => Choice::Never,
        ("required" | "any", _) => Choice::Any,
        ("function" | "tool", Some(name)) => Choice::This(name.to_string()),
        _ => Choice::Free,
    }
}

fn one_call(body: &Value) -> bool {
    let parallel = body.get("parallel_tool_calls").and_then(Value::as_bool).unwrap_or(true);
    let disabled = body.pointer("/tool_choice/disable_parallel_tool_use").and_then(Value::as_bool).unwrap_or(false);
    !parallel || disabled
}

/// The schema that the answer must fit; `{}` (any object) where only JSON is asked for.
fn schema(body: &Value) -> Option<Value> {
    let asked =
        ["/response_format", "/text/format", "/output_config/format", "/output_format"].iter().find_map(|path| body.pointer(path))?;
    match asked.get("type").and_then(Value::as_str)? {
        "json_schema" => asked.pointer("/json_schema/schema").or_else(|| asked.get("schema")).cloned(),
        "json_object" => Some(serde_json::json!({"type": "object", "required": ["answer"], "properties": {"answer": {"type": "string"}}})),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tokens::count;

    fn read(endpoint: Endpoint, body: &Value) -> Input {
        Input::read(endpoint, body.to_string().as_bytes()).expect("a valid request")
    }

    #[test]
    fn texts_are_counted_and_nothing_else() {
        let body = json!({"model": "m", "messages": [
            {"role": "system", "content": "You are helpful."},
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]});
        let expected = count("You are helpful.") + count("What is this?");
        assert_eq!(read(Endpoint::Chat, &body).tokens(&mut Counter::default()), expected);
    }

    #[test]
    fn prompts_may_be_tokens_already() {
        let body = json!({"model": "m", "prompt": [[1, 2, 3], [4, 5]], "n": 2});
        let input = read(Endpoint::Completions, &body);
        assert_eq!((input.tokens(&mut Counter::default()), input.choices), (5, 4));
        let flat = read(Endpoint::Embeddings, &json!({"model": "m", "input": [1, 2, 3]}));
        assert_eq!((flat.tokens(&mut Counter::default()), items(flat.body.get("input"))), (3, 1));
    }

    #[test]
    fn tools_count_and_are_read_in_each_form() {
        let parameters = json!({"type": "object"});
        let chat = json!({"model": "m", "messages": [{"role": "user", "content": ""}], "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}}});
        let input = read(Endpoint::Chat, &chat);
        assert_eq!((input.tools[0].name.as_str(), &input.tool_choice), ("f", &Choice::This("f".into())));
        assert!(input.tokens(&mut Counter::default()) > 5);
        let messages = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": ""}], "tools": [{"name": "g", "input_schema": parameters}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true}});
        let input = read(Endpoint::Messages, &messages);
        assert_eq!((input.tools[0].name.as_str(), &input.tool_choice, input.one_call, input.limit), ("g", &Choice::Any, true, Some(9)));
    }

    #[test]
    fn wishes_stand_in_model_and_body() {
        let body = json!({"model": "ft:sim:output=max,latency_ms=5", "input": "x", "x_sim": {"status": 429, "cut": "3b", "reset": true}});
        let input = read(Endpoint::Responses, &body);
        assert_eq!(input.model_wishes().collect::<Vec<_>>(), [("output", "max"), ("latency_ms", "5")]);
        assert_eq!(input.body_wishes().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" "), "cut=3b reset=true status=429");
        assert_eq!(read(Endpoint::Responses, &json!({"model": "ft:gpt:org", "input": "x"})).model_wishes().count(), 0);
    }

    #[test]
    fn what_a_provider_refuses_is_refused() {
        for (endpoint, body) in [
            (Endpoint::Chat, "{"),
            (Endpoint::Chat, r#"{"messages":[{}]}"#),
            (Endpoint::Chat, r#"{"model":"m","messages":[]}"#),
            (Endpoint::Messages, r#"{"model":"m","messages":[{}]}"#),
            (Endpoint::Embeddings, r#"{"model":"m"}"#),
        ] {
            assert_eq!(Input::read(endpoint, body.as_bytes()).expect_err(body).status, 400);
        }
    }
}
