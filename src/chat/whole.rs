//! An answer that is read whole by somebody who shows no stream.

use std::sync::Arc;

use sendcat_actors::stream_log::AnswerReader;
use serde_json::Value;

use super::engine::{Ask, Begun, ChatRefusal, Engine};

/// What an answer came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole {
    /// It came to its end: its texts, a blank line between two.
    Finished(String),
    /// It failed, or was aborted, after its first content.
    Cut,
}

/// Bytes that are taken from the log at once.
const READ_BYTES: usize = 64 * 1024;

impl Engine {
    /// Begins an answer, or joins the one of its key, and reads it to its end.
    ///
    /// # Errors
    /// [`ChatRefusal`] if none could begin, or the provider failed before any content.
    pub async fn answer_whole(&self, ask: Ask) -> Result<Whole, ChatRefusal> {
        let Begun { mut reader, .. } = self.begin(ask).await?;
        let parts = all_of(&mut reader).await;
        Ok(read(parts.iter().flat_map(|part| part.split("\n\n"))))
    }
}

async fn all_of(reader: &mut AnswerReader) -> Vec<Arc<str>> {
    let mut all = Vec::new();
    while let Some(parts) = reader.next(READ_BYTES).await {
        all.extend(parts);
    }
    all
}

fn read<'a>(events: impl Iterator<Item = &'a str>) -> Whole {
    let (mut texts, mut finished) = (Vec::<String>::new(), false);
    for event in events {
        let part = event.strip_prefix("data: ");
        let part = part.and_then(|data| serde_json::from_str::<Value>(data).ok());
        let Some(part) = part else { continue };
        match part["type"].as_str().unwrap_or_default() {
            "text-start" => texts.push(String::new()),
            "text-delta" => {
                if let (Some(text), Some(delta)) = (texts.last_mut(), part["delta"].as_str()) {
                    text.push_str(delta);
                }
            }
            "error" | "abort" => return Whole::Cut,
            "finish" => finished = true,
            _ => {}
        }
    }
    texts.retain(|text| !text.trim().is_empty());
    if finished { Whole::Finished(texts.join("\n\n")) } else { Whole::Cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&str]) -> Whole {
        let stream: String = parts.iter().map(|part| format!("data: {part}\n\n")).collect();
        read(stream.split("\n\n"))
    }

    #[test]
    fn texts_are_joined_and_only_a_finished_answer_is_whole() {
        let start = r#"{"type":"text-start","id":"1"}"#;
        let delta = r#"{"type":"text-delta","id":"1","delta":"one"}"#;
        let finish = r#"{"type":"finish"}"#;
        let whole = Whole::Finished("oneone\n\none".to_owned());
        assert_eq!(of(&[start, delta, delta, start, delta, finish, "[DONE]"]), whole);
        assert_eq!(of(&[start, finish, "[DONE]"]), Whole::Finished(String::new()));
        for end in [r#"{"type":"abort"}"#, r#"{"type":"error","errorText":"x"}"#] {
            assert_eq!(of(&[start, delta, end, finish, "[DONE]"]), Whole::Cut, "{end}");
        }
        assert_eq!(of(&[start, delta]), Whole::Cut);
        assert_eq!(of(&[]), Whole::Cut);
    }
}
