//! A chat request as OpenRouter takes it, checked strictly: a client that sends what a provider
//! behind OpenRouter would refuse is refused here.

use serde_json::Value;

/// What was asked of the model, checked.
#[derive(Debug, PartialEq)]
pub(super) struct Prompt {
    pub(super) model: String,
    /// In order, as they were sent.
    pub(super) messages: Vec<Value>,
    /// Names of the tools that the model may call; none when `tool_choice` is `none`.
    pub(super) tools: Vec<String>,
    /// The longest answer, in tokens (here: pieces).
    pub(super) max_tokens: Option<usize>,
}

/// Reads the body.
///
/// # Errors
/// One sentence that names what is wrong, and where.
pub(super) fn read(body: &Value) -> Result<Prompt, String> {
    let model = text(body, "model").ok_or("model: expected a string that is not empty")?;
    if body["stream"] != Value::Bool(true) {
        return Err("stream: expected true, this stand-in streams only".into());
    }
    let messages = body["messages"].as_array().filter(|messages| !messages.is_empty());
    let messages = messages.ok_or("messages: expected an array that is not empty")?;
    check_messages(messages)?;
    let mut tools = tool_names(&body["tools"])?;
    if body["tool_choice"] == "none" {
        tools.clear();
    }
    let limit = body.get("max_tokens").filter(|limit| !limit.is_null());
    let max_tokens = match limit.map(|limit| limit.as_u64().filter(|limit| *limit > 0)) {
        None => None,
        Some(None) => return Err("max_tokens: expected a number above 0".into()),
        Some(Some(limit)) => Some(usize::try_from(limit).unwrap_or(usize::MAX)),
    };
    Ok(Prompt { model: model.to_owned(), messages: messages.clone(), tools, max_tokens })
}

/// The text of a message: a string, or the text parts of an array.
pub(super) fn content(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join(" ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

/// The role of a message, empty when it has none.
pub(super) fn role(message: &Value) -> &str {
    message["role"].as_str().unwrap_or("")
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value[name].as_str().filter(|text| !text.is_empty())
}

/// Every message by itself, and every tool call with its one result right behind it.
fn check_messages(messages: &[Value]) -> Result<(), String> {
    let mut unanswered: Vec<String> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = role(message);
        if role != "tool" && !unanswered.is_empty() {
            let missing = unanswered.join(", ");
            return Err(format!("messages[{at}]: expected the tool results of {missing}"));
        }
        match role {
            "system" | "developer" | "user" if content(message).is_empty() => {
                return Err(format!("messages[{at}].content: expected text for role {role}"));
            }
            "system" | "developer" | "user" => {}
            "assistant" => unanswered = calls_of(message, at)?,
            "tool" => {
                let id = text(message, "tool_call_id").unwrap_or("");
                let Some(place) = unanswered.iter().position(|each| each == id) else {
                    return Err(format!(
                        "messages[{at}].tool_call_id: {id:?} answers no tool call before it"
                    ));
                };
                unanswered.remove(place);
                if !message["content"].is_string() && !message["content"].is_array() {
                    return Err(format!("messages[{at}].content: expected a string"));
                }
            }
            other => return Err(format!("messages[{at}].role: unknown role {other:?}")),
        }
    }
    if unanswered.is_empty() {
        return Ok(());
    }
    Err(format!("messages: the tool calls {} have no result", unanswered.join(", ")))
}

/// The identifiers of an assistant message's tool calls.
fn calls_of(message: &Value, at: usize) -> Result<Vec<String>, String> {
    let Some(calls) = message["tool_calls"].as_array().filter(|calls| !calls.is_empty()) else {
        if content(message).is_empty() {
            return Err(format!(
                "messages[{at}]: an assistant message needs content or tool_calls"
            ));
        }
        return Ok(Vec::new());
    };
    let mut ids = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        let place = format!("messages[{at}].tool_calls[{number}]");
        let id = text(call, "id").ok_or(format!("{place}.id: expected a string"))?;
        if call["type"] != "function" || text(&call["function"], "name").is_none() {
            return Err(format!("{place}: expected type function with a name"));
        }
        let arguments = call["function"]["arguments"].as_str();
        let arguments =
            arguments.ok_or(format!("{place}.function.arguments: expected a string"))?;
        let parsed = serde_json::from_str::<Value>(arguments);
        if !arguments.is_empty() && !parsed.is_ok_and(|value| value.is_object()) {
            return Err(format!("{place}.function.arguments: expected a JSON object"));
        }
        if ids.iter().any(|each| each == id) {
            return Err(format!("{place}.id: {id:?} comes twice"));
        }
        ids.push(id.to_owned());
    }
    Ok(ids)
}

fn tool_names(tools: &Value) -> Result<Vec<String>, String> {
    if tools.is_null() {
        return Ok(Vec::new());
    }
    let tools = tools.as_array().ok_or("tools: expected an array")?;
    let mut names = Vec::new();
    for (at, tool) in tools.iter().enumerate() {
        let function = &tool["function"];
        let name = text(function, "name").filter(|name| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            name.len() <= 64 && name.bytes().all(plain)
        });
        let name = name.filter(|_| tool["type"] == "function");
        let name = name.ok_or(format!("tools[{at}]: expected type function with a plain name"))?;
        if !function["parameters"].is_null() && !function["parameters"].is_object() {
            return Err(format!("tools[{at}].function.parameters: expected a JSON schema"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(messages: Value) -> String {
        read(&json!({"model": "m", "stream": true, "messages": messages})).unwrap_err()
    }

    fn call(id: &str) -> Value {
        json!({"id": id, "type": "function", "function": {"name": "search_web", "arguments": "{}"}})
    }

    #[test]
    fn a_call_with_its_result_is_taken() {
        let messages = json!([
            {"role": "user", "content": "search rust"},
            {"role": "assistant", "content": null, "tool_calls": [call("a"), call("b")]},
            {"role": "tool", "tool_call_id": "b", "content": "{}"},
            {"role": "tool", "tool_call_id": "a", "content": "{}"},
        ]);
        let prompt = read(&json!({"model": "m", "stream": true, "messages": messages})).unwrap();
        assert_eq!(prompt.messages.len(), 4);
    }

    #[test]
    fn an_unpaired_call_or_result_is_refused() {
        let user = json!({"role": "user", "content": "x"});
        let asks = json!({"role": "assistant", "content": null, "tool_calls": [call("a")]});
        let result = json!({"role": "tool", "tool_call_id": "z", "content": "{}"});
        assert_eq!(refusal(json!([user, asks])), "messages: the tool calls a have no result");
        assert_eq!(
            refusal(json!([user, asks, user])),
            "messages[2]: expected the tool results of a"
        );
        assert_eq!(
            refusal(json!([user, result])),
            "messages[1].tool_call_id: \"z\" answers no tool call before it"
        );
    }

    #[test]
    fn what_the_model_cannot_read_is_refused_by_name() {
        assert_eq!(refusal(json!([])), "messages: expected an array that is not empty");
        assert_eq!(
            refusal(json!([{"role": "robot", "content": "x"}])),
            "messages[0].role: unknown role \"robot\""
        );
        assert_eq!(
            refusal(json!([{"role": "user", "content": ""}])),
            "messages[0].content: expected text for role user"
        );
        let silent = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
        assert_eq!(read(&silent).unwrap_err(), "stream: expected true, this stand-in streams only");
    }
}
