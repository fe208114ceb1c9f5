//! The body of a chat call.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use crate::contract::ui_stream::Json;

/// One chat call.
#[derive(Clone, Copy, Debug)]
pub struct ChatCall<'a> {
    /// The provider's name of the model.
    pub model: &'a str,
    /// The conversation so far, oldest first.
    pub messages: &'a [Message],
    /// What the model may call; none if empty.
    pub tools: &'a [Tool],
}

/// A message of the conversation, as the model is to see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// What the service demands.
    System(String),
    /// What the person said.
    User(String),
    /// What the model said.
    Assistant(String),
    /// What the model called, what it said before, and what came back.
    ToolUse {
        /// Empty if it only called.
        said: String,
        /// At least one; several ran at once.
        rounds: Vec<ToolRound>,
    },
}

/// One call of a tool together with its result.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolRound {
    /// The call's id, unique within the conversation.
    pub id: String,
    /// The tool.
    pub name: String,
    /// A JSON object.
    pub arguments: Json,
    /// What the model reads: JSON, or words about a failure.
    pub result: String,
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// When to call it, in words for the model.
    pub description: String,
    /// The JSON schema of its arguments.
    pub parameters: Json,
}

impl ChatCall<'_> {
    /// The bytes to post. Usage is always sent by the provider; asking for it has no effect.
    pub fn body(&self) -> Vec<u8> {
        let tools: Vec<ToolWire<'_>> = self.tools.iter().map(ToolWire::of).collect();
        let body = Body {
            model: self.model,
            messages: Messages(self.messages),
            parallel_tool_calls: (!tools.is_empty()).then_some(true),
            tools,
            stream: true,
        };
        serde_json::to_vec(&body).expect("strings under fixed names can be written")
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Messages<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolWire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    stream: bool,
}

#[derive(Serialize)]
struct ToolWire<'a> {
    r#type: &'static str,
    function: FunctionWire<'a>,
}

#[derive(Serialize)]
struct FunctionWire<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Json,
}

impl<'a> ToolWire<'a> {
    fn of(tool: &'a Tool) -> Self {
        let Tool { name, description, parameters } = tool;
        Self { r#type: "function", function: FunctionWire { name, description, parameters } }
    }
}

/// Written as more messages than there are: a tool use is one of the model and one a result.
struct Messages<'a>(&'a [Message]);

#[derive(Serialize)]
struct MessageWire<'a> {
    role: &'static str,
    /// `null` beside calls: some providers refuse an empty string there.
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallWire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[derive(Serialize)]
struct CallWire<'a> {
    id: &'a str,
    r#type: &'static str,
    function: CalledWire<'a>,
}

#[derive(Serialize)]
struct CalledWire<'a> {
    name: &'a str,
    /// A string, though it holds JSON.
    arguments: &'a str,
}

impl<'a> MessageWire<'a> {
    fn said(role: &'static str, content: &'a str) -> Self {
        Self { role, content: Some(content), tool_calls: Vec::new(), tool_call_id: None }
    }

    fn called(said: &'a str, rounds: &'a [ToolRound]) -> Self {
        let calls = rounds.iter().map(|round| CallWire {
            id: &round.id,
            r#type: "function",
            function: CalledWire { name: &round.name, arguments: round.arguments.as_str() },
        });
        let content = (!said.is_empty()).then_some(said);
        Self { role: "assistant", content, tool_calls: calls.collect(), tool_call_id: None }
    }

    fn answered(round: &'a ToolRound) -> Self {
        Self { tool_call_id: Some(&round.id), ..Self::said("tool", &round.result) }
    }
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(None)?;
        for message in self.0 {
            match message {
                Message::System(text) => list.serialize_element(&MessageWire::said("system", text)),
                Message::User(text) => list.serialize_element(&MessageWire::said("user", text)),
                Message::Assistant(text) => {
                    list.serialize_element(&MessageWire::said("assistant", text))
                }
                Message::ToolUse { said, rounds } => {
                    list.serialize_element(&MessageWire::called(said, rounds))?;
                    rounds
                        .iter()
                        .try_for_each(|round| list.serialize_element(&MessageWire::answered(round)))
                }
            }?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_without_tools_does_not_speak_of_them() {
        let messages = [Message::System("Be brief.".into()), Message::User("Hi".into())];
        let body = ChatCall { model: "fake/model", messages: &messages, tools: &[] }.body();
        assert_eq!(
            String::from_utf8(body).unwrap(),
            concat!(
                r#"{"model":"fake/model","messages":[{"role":"system","content":"Be brief."},"#,
                r#"{"role":"user","content":"Hi"}],"stream":true}"#,
            ),
        );
    }

    #[test]
    fn every_tool_call_is_followed_by_its_result() {
        let round = |id: &str, result: &str| ToolRound {
            id: id.into(),
            name: "search_web".into(),
            arguments: Json::from_text(r#"{"query":"a \"b\""}"#).unwrap(),
            result: result.into(),
        };
        let messages = [
            Message::ToolUse { said: String::new(), rounds: vec![round("c1", "{}")] },
            Message::ToolUse {
                said: "Again.".into(),
                rounds: vec![round("c2", "busy"), round("c3", "")],
            },
            Message::Assistant("Done.".into()),
        ];
        let tools = [Tool {
            name: "search_web".into(),
            description: "Searches.".into(),
            parameters: Json::from_text(r#"{"type":"object"}"#).unwrap(),
        }];
        let body = ChatCall { model: "m", messages: &messages, tools: &tools }.body();
        let function = r#"{"name":"search_web","arguments":"{\"query\":\"a \\\"b\\\"\"}"}"#;
        let call = |id| format!(r#"{{"id":"{id}","type":"function","function":{function}}}"#);
        let expected = [
            r#"{"model":"m","messages":["#.to_owned(),
            format!(r#"{{"role":"assistant","content":null,"tool_calls":[{}]}},"#, call("c1")),
            r#"{"role":"tool","content":"{}","tool_call_id":"c1"},"#.to_owned(),
            format!(
                r#"{{"role":"assistant","content":"Again.","tool_calls":[{},{}]}},"#,
                call("c2"),
                call("c3")
            ),
            r#"{"role":"tool","content":"busy","tool_call_id":"c2"},"#.to_owned(),
            r#"{"role":"tool","content":"","tool_call_id":"c3"},"#.to_owned(),
            r#"{"role":"assistant","content":"Done."}],"#.to_owned(),
            r#""tools":[{"type":"function","function":{"name":"search_web","#.to_owned(),
            r#""description":"Searches.","parameters":{"type":"object"}}}],"#.to_owned(),
            r#""parallel_tool_calls":true,"stream":true}"#.to_owned(),
        ];
        assert_eq!(String::from_utf8(body).unwrap(), expected.concat());
    }
}
