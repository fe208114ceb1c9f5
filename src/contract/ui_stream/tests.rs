//! The exact bytes of every part.

use super::*;

fn id() -> String {
    "call_1".into()
}

fn assert_bytes(table: &[(Part, &str)]) {
    for (part, json) in table {
        assert_eq!(part.to_sse(), format!("data: {json}\n\n"));
    }
}

#[test]
fn every_part_of_a_text_has_its_exact_bytes() {
    assert_bytes(&[
        (Part::Start { message_id: "m1".into() }, r#"{"type":"start","messageId":"m1"}"#),
        (Part::StartStep, r#"{"type":"start-step"}"#),
        (Part::FinishStep, r#"{"type":"finish-step"}"#),
        (Part::TextStart { id: "t1".into() }, r#"{"type":"text-start","id":"t1"}"#),
        (
            Part::TextDelta { id: "t1".into(), delta: "é\n\"".into() },
            r#"{"type":"text-delta","id":"t1","delta":"é\n\""}"#,
        ),
        (Part::TextEnd { id: "t1".into() }, r#"{"type":"text-end","id":"t1"}"#),
        (Part::ReasoningStart { id: "r1".into() }, r#"{"type":"reasoning-start","id":"r1"}"#),
        (
            Part::ReasoningDelta { id: "r1".into(), delta: "hm".into() },
            r#"{"type":"reasoning-delta","id":"r1","delta":"hm"}"#,
        ),
        (Part::ReasoningEnd { id: "r1".into() }, r#"{"type":"reasoning-end","id":"r1"}"#),
    ]);
}

#[test]
fn every_part_of_a_tool_call_has_its_exact_bytes() {
    let query = || Json::from_text(r#"{"query":"a \n b"}"#).unwrap();
    let name = || "search_web".to_owned();
    assert_bytes(&[
        (
            Part::tool_input_start(id(), name()),
            concat!(
                r#"{"type":"tool-input-start","toolCallId":"call_1","#,
                r#""toolName":"search_web","providerExecuted":true}"#,
            ),
        ),
        (
            Part::ToolInputDelta { tool_call_id: id(), input_text_delta: "{\"q".into() },
            r#"{"type":"tool-input-delta","toolCallId":"call_1","inputTextDelta":"{\"q"}"#,
        ),
        (
            Part::tool_input_available(id(), name(), query()),
            concat!(
                r#"{"type":"tool-input-available","toolCallId":"call_1","#,
                r#""toolName":"search_web","input":{"query":"a \n b"},"#,
                r#""providerExecuted":true}"#,
            ),
        ),
        (
            Part::tool_input_error(id(), name(), Json::string("{\"q"), "not JSON".into()),
            concat!(
                r#"{"type":"tool-input-error","toolCallId":"call_1","#,
                r#""toolName":"search_web","input":"{\"q","providerExecuted":true,"#,
                r#""errorText":"not JSON"}"#,
            ),
        ),
        (
            Part::tool_output_available(id(), query()),
            concat!(
                r#"{"type":"tool-output-available","toolCallId":"call_1","#,
                r#""output":{"query":"a \n b"},"providerExecuted":true}"#,
            ),
        ),
        (
            Part::tool_output_error(id(), "busy".into()),
            concat!(
                r#"{"type":"tool-output-error","toolCallId":"call_1","errorText":"busy","#,
                r#""providerExecuted":true}"#,
            ),
        ),
    ]);
}

#[test]
fn every_part_of_an_ending_has_its_exact_bytes() {
    assert_bytes(&[
        (
            Part::data_error("upstream_cut", None),
            r#"{"type":"data-error","data":{"code":"upstream_cut"},"transient":true}"#,
        ),
        (
            Part::data_error("upstream_rate_limited", Some(Duration::from_millis(1500))),
            concat!(
                r#"{"type":"data-error","data":{"code":"upstream_rate_limited","#,
                r#""retryAfterMs":1500},"transient":true}"#,
            ),
        ),
        (Part::Error { error_text: "Cut.".into() }, r#"{"type":"error","errorText":"Cut."}"#),
        (Part::Abort, r#"{"type":"abort"}"#),
        (
            Part::Finish { finish_reason: FinishReason::ContentFilter, message_metadata: None },
            r#"{"type":"finish","finishReason":"content-filter"}"#,
        ),
        (
            finish_with_usage(),
            concat!(
                r#"{"type":"finish","finishReason":"tool-calls","#,
                r#""messageMetadata":{"usage":{"inputTokens":1,"outputTokens":2,"#,
                r#""totalTokens":3}}}"#,
            ),
        ),
    ]);
}

fn finish_with_usage() -> Part {
    let usage = Usage { input_tokens: 1, output_tokens: 2, total_tokens: 3, ..Usage::default() };
    Part::Finish {
        finish_reason: FinishReason::ToolCalls,
        message_metadata: Some(MessageMetadata { usage }),
    }
}

#[test]
fn a_preliminary_output_is_named_by_its_event_and_typed_as_an_output() {
    let part = Part::tool_output_preliminary(id(), Json::from_text(r#"{"results":[]}"#).unwrap());
    assert_eq!(
        part.to_sse(),
        concat!(
            "event: tool-output-partially-available\n",
            r#"data: {"type":"tool-output-available","toolCallId":"call_1","#,
            r#""output":{"results":[]},"providerExecuted":true,"preliminary":true}"#,
            "\n\n",
        ),
    );
}

#[test]
fn json_that_was_written_over_several_lines_stays_within_one_event() {
    let pretty = "{\r\n  \"b\": 1.50,\n  \"a\": \"x\\ny\"\n}";
    let part = Part::tool_output_available(id(), Json::from_text(pretty).unwrap());
    let sse = part.to_sse();
    assert_eq!(sse.matches('\n').count(), 2);
    assert!(sse.contains(r#""b": 1.50,   "a": "x\ny""#), "{sse}");
    let read: Json = serde_json::from_str(pretty).unwrap();
    assert!(!read.as_str().contains('\n'));
}

#[test]
fn every_finish_reason_is_written_with_hyphens() {
    use FinishReason::{ContentFilter, Error, Length, Other, Stop, ToolCalls};
    let all = [Stop, Length, ContentFilter, ToolCalls, Error, Other];
    assert_eq!(
        serde_json::to_string(&all).unwrap(),
        r#"["stop","length","content-filter","tool-calls","error","other"]"#,
    );
}

#[test]
fn events_that_share_a_buffer_are_the_same_bytes() {
    let mut buffer = Vec::new();
    Part::StartStep.write_sse(&mut buffer);
    Part::Abort.write_sse(&mut buffer);
    let apart = Part::StartStep.to_sse() + &Part::Abort.to_sse();
    assert_eq!(String::from_utf8(buffer).unwrap(), apart);
}
