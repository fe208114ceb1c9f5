//! Calling tools: fragments, outcomes, steps.

use super::*;
use crate::contract::ui_stream::message::{MessagePart, ToolPart};

const CALLS: Delta<'static> = Delta::Finish(Finish::ToolCalls);

/// The model calls these and waits.
fn called<'a>(deltas: impl IntoIterator<Item = Delta<'a>>) -> (Play, Next) {
    let mut play = Play::new();
    play.hear_all(deltas);
    assert_eq!(play.hear(CALLS), Next::Wait);
    let next = play.hear(Delta::Done);
    (play, next)
}

fn round(id: &str, name: &str, arguments: &str, result: &str) -> ToolRound {
    let arguments = Json::from_text(arguments).unwrap();
    ToolRound { id: id.into(), name: name.into(), arguments, result: result.into() }
}

/// The last message that the model is called with, which is of tools.
fn rounds(play: &Play) -> (&str, &[ToolRound]) {
    match play.turn.messages().last() {
        Some(Message::ToolUse { said, rounds }) => (said, rounds),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tool_runs_between_two_steps_of_one_answer() {
    let (mut play, next) = called([
        text("Let me see."),
        call(0, "c1", "search_web", ""),
        more(0, "{\"que"),
        more(0, "ry\":\"x\"}"),
        Delta::Usage(usage(10, 1)),
    ]);
    assert_eq!(next, Next::StartTools(vec![tool("c1", "search_web", r#"{"query":"x"}"#)]));
    let partial = Json::from_text(r#"{"results":[]}"#).unwrap();
    let progress = Input::ToolProgress { call_id: "c1", output: partial };
    assert_eq!(play.feed(progress), Next::Wait);
    assert_eq!(play.done("c1", r#"{"results":[1]}"#), Next::CallModel);
    let expected = [round("c1", "search_web", r#"{"query":"x"}"#, r#"{"results":[1]}"#)];
    assert_eq!(rounds(&play), ("Let me see.", expected.as_slice()));
    assert_eq!(play.turn.messages().len(), 2);

    let second =
        [text("One."), Delta::Finish(Finish::Stop), Delta::Usage(usage(20, 2)), Delta::Done];
    assert_eq!(play.hear_all(second), finished(FinishReason::Stop));
    play.assert_transcript(&[
        "start m",
        "start-step",
        "text-start t1",
        "text-delta Let me see. t1",
        "text-end t1",
        "tool-input-start c1 search_web",
        "tool-input-delta {\"que c1",
        "tool-input-delta ry\":\"x\"} c1",
        r#"tool-input-available {"query":"x"} c1 search_web"#,
        r#"tool-output-available {"results":[]} preliminary c1"#,
        r#"tool-output-available {"results":[1]} c1"#,
        "finish-step",
        "start-step",
        "text-start t2",
        "text-delta One. t2",
        "text-end t2",
        "finish-step",
        r#"finish stop {"usage":{"inputTokens":30,"outputTokens":3,"totalTokens":33}}"#,
    ]);
    play.assert_obeys_the_grammar();
    let part = ToolPart {
        id: "c1".into(),
        name: "search_web".into(),
        input: Json::from_text(r#"{"query":"x"}"#).unwrap(),
        outcome: Ok(Json::from_text(r#"{"results":[1]}"#).unwrap()),
    };
    let answer = play.turn.into_answer().unwrap();
    assert_eq!(
        answer.parts,
        [
            MessagePart::StepStart,
            MessagePart::Text("Let me see.".into()),
            MessagePart::Tool(part),
            MessagePart::StepStart,
            MessagePart::Text("One.".into()),
        ],
    );
}

#[test]
fn recorded_parallel_calls_give_all_inputs_and_then_outputs_as_they_arrive() {
    let mut play = Play::new();
    let sample = include_str!("../../../../tests/it/samples/upstream/openrouter-two-tools.sse");
    let next = play.hear_sample(sample);
    let web = r#"{"query":"cheap USB-C docks \"4K\"","limit":5}"#;
    let products = r#"{"query":"ウルトラワイド monitor"}"#;
    let both =
        vec![tool("call_a1", "search_web", web), tool("call_b2", "search_products", products)];
    assert_eq!(next, Next::StartTools(both));
    assert_eq!(play.failed("call_b2", "busy"), Next::Wait);
    assert_eq!(play.done("call_a1", "{}"), Next::CallModel);
    let transcript = play.transcript();
    let deltas = |line: &&String| line.starts_with("tool-input-delta");
    assert_eq!((pieces(&play, "call_a1"), pieces(&play, "call_b2")), (web.into(), products.into()));
    let rest: Vec<&str> =
        transcript.iter().filter(|line| !deltas(line)).map(String::as_str).collect();
    let web_input = format!("tool-input-available {} call_a1 search_web", sorted(web));
    let products_input = format!("tool-input-available {products} call_b2 search_products");
    let expected = [
        "start m",
        "start-step",
        "tool-input-start call_a1 search_web",
        "tool-input-start call_b2 search_products",
        &web_input,
        &products_input,
        "tool-output-error busy call_b2",
        "tool-output-available {} call_a1",
        "finish-step",
    ];
    assert_eq!(rest, expected);
    let expected = [
        round("call_a1", "search_web", web, "{}"),
        round("call_b2", "search_products", products, "busy"),
    ];
    assert_eq!(rounds(&play), ("", expected.as_slice()));
}

/// The deltas of a call, put together as clients do.
fn pieces(play: &Play, id: &str) -> String {
    let mut whole = String::new();
    for part in &play.out {
        if let Part::ToolInputDelta { tool_call_id, input_text_delta } = part
            && tool_call_id == id
        {
            whole.push_str(input_text_delta);
        }
    }
    whole
}

fn sorted(json: &str) -> String {
    serde_json::from_str::<Value>(json).unwrap().to_string()
}

#[test]
fn a_recorded_call_in_one_piece_is_started() {
    let mut play = Play::new();
    let sample = include_str!("../../../../tests/it/samples/upstream/openrouter-tool-single.sse");
    let input = r#"{"query":"cheap USB-C docks \"4K\"","limit":5}"#;
    let expected = Next::StartTools(vec![tool("call_a1", "search_web", input)]);
    assert_eq!(play.hear_sample(sample), expected);
}

#[test]
fn empty_arguments_mean_an_empty_object() {
    for arguments in ["", " ", "null", "{}"] {
        let (_, next) = called([call(0, "c", "search_web", arguments)]);
        assert_eq!(next, Next::StartTools(vec![tool("c", "search_web", "{}")]), "{arguments:?}");
    }
}

#[test]
fn arguments_that_are_not_an_object_are_told_to_the_model() {
    for arguments in ["{\"q", "7", "\"x\"", "[]", "{\"q\":1}{}"] {
        let (play, next) = called([call(0, "c", "search_web", arguments)]);
        assert_eq!(next, Next::CallModel);
        let (_, rounds) = rounds(&play);
        let [ToolRound { arguments: sent, result, .. }] = rounds else { panic!("{rounds:?}") };
        assert_eq!(sent.as_str(), "{}");
        assert!(result.starts_with("The arguments are not a JSON object: "), "{result}");
        let line = &play.transcript()[4];
        assert_eq!(*line, format!("tool-input-error {result} {arguments} c search_web"));
    }
}

#[test]
fn an_unknown_tool_is_told_to_the_model_and_the_others_run() {
    let (mut play, next) =
        called([call(0, "c1", "rm -rf", "{}"), call(1, "c2", "search_web", "{}")]);
    assert_eq!(next, Next::StartTools(vec![tool("c2", "search_web", "{}")]));
    assert_eq!(play.done("c2", "{}"), Next::CallModel);
    play.assert_transcript(&[
        "start m",
        "start-step",
        "tool-input-start c1 rm_-rf",
        "tool-input-delta {} c1",
        "tool-input-start c2 search_web",
        "tool-input-delta {} c2",
        "tool-input-available {} c1 rm_-rf",
        "tool-input-available {} c2 search_web",
        "tool-output-error There is no tool of the name rm_-rf. c1",
        "tool-output-available {} c2",
        "finish-step",
    ]);
}

#[test]
fn at_the_step_limit_the_tools_run_and_the_answer_ends() {
    let mut play = Play::of_steps(1);
    play.hear_all([call(0, "c", "search_web", "{}"), CALLS]);
    assert!(matches!(play.feed(Input::ProviderEnded), Next::StartTools(_)));
    assert_eq!(play.done("c", "{}"), finished(FinishReason::ToolCalls));
    assert_eq!(play.transcript().last().unwrap(), "finish tool-calls");
    play.assert_obeys_the_grammar();
    let answer = play.turn.into_answer().unwrap();
    assert!(matches!(&answer.parts[1], MessagePart::Tool(ToolPart { outcome: Ok(_), .. })));
}

#[test]
fn calls_run_whatever_reason_goes_with_them_unless_it_says_they_are_half() {
    for finish in [Finish::Stop, Finish::Other] {
        let mut play = Play::new();
        play.hear_all([call(0, "c", "search_web", "{}"), Delta::Finish(finish)]);
        assert!(matches!(play.hear(Delta::Done), Next::StartTools(_)));
    }
    let mut play = Play::new();
    play.hear_all([call(0, "c", "search_web", "{}"), Delta::Finish(Finish::Length)]);
    assert_eq!(play.hear(Delta::Done), finished(FinishReason::Length));
    play.assert_transcript(&[
        "start m",
        "start-step",
        "tool-input-start c search_web",
        "tool-input-delta {} c",
        "tool-input-error The model was stopped before its call was complete. {} c search_web",
        "finish-step",
        "finish length",
    ]);
    play.assert_obeys_the_grammar();
}

#[test]
fn calls_without_id_with_one_index_or_with_a_known_id_are_told_apart() {
    let nameless = Delta::ToolFragment {
        index: 5,
        id: None,
        name: Some("search_web".into()),
        arguments: "".into(),
    };
    let (mut play, next) = called([
        call(0, "same", "search_web", r#"{"n":1}"#),
        call(0, "other", "search_web", r#"{"n":"#),
        more(0, "2}"),
        call(1, "same", "search_web", r#"{"n":3}"#),
        nameless,
    ]);
    let ids = ["same", "other", "same_1_2", "call_1_3"];
    let inputs = [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#, "{}"];
    let expected =
        ids.iter().zip(inputs).map(|(id, input)| tool(id, "search_web", input)).collect();
    assert_eq!(next, Next::StartTools(expected));
    for id in ids {
        play.done(id, "1");
    }
    play.hear_all([call(0, "same", "search_web", ""), CALLS]);
    let next = play.hear(Delta::Done);
    assert_eq!(next, Next::StartTools(vec![tool("same_2_0", "search_web", "{}")]));
    assert_eq!(play.feed(Input::Stopped), Next::Over(Ending::Aborted));
    play.assert_obeys_the_grammar();
}

#[test]
fn a_name_that_comes_late_shows_what_came_before_it() {
    let mut play = Play::new();
    assert_eq!(play.hear(more(0, "{\"q\"")), Next::Wait);
    play.assert_transcript(&[]);
    play.hear_all([call(0, "late", "search_web", ":1"), more(0, "}")]);
    play.assert_transcript(&[
        "start m",
        "start-step",
        "tool-input-start call_1_0 search_web",
        "tool-input-delta {\"q\":1 call_1_0",
        "tool-input-delta } call_1_0",
    ]);
}

#[test]
fn results_that_are_late_double_or_unknown_change_nothing() {
    let (mut play, _) =
        called([call(0, "a", "search_web", "{}"), call(1, "b", "search_web", "{}")]);
    assert_eq!(play.done("a", "1"), Next::Wait);
    let before = play.transcript();
    assert_eq!(play.done("a", "2"), Next::Wait);
    assert_eq!(play.failed("unknown", "x"), Next::Wait);
    let progress = Input::ToolProgress { call_id: "a", output: Json::empty_object() };
    assert_eq!(play.feed(progress), Next::Wait);
    assert_eq!(play.hear(text("noise")), Next::Wait);
    assert_eq!(play.feed(Input::ProviderEnded), Next::Wait);
    assert_eq!(play.transcript(), before);
    assert_eq!(play.done("b", "3"), Next::CallModel);
    assert_eq!(play.done("b", "4"), Next::Wait);
}

#[test]
fn what_the_model_reads_may_differ_from_what_the_client_sees() {
    let (mut play, _) = called([call(0, "a", "search_web", "{}")]);
    let output = Json::from_text("[1,2]").unwrap();
    let for_model = Some("two".to_owned());
    let next = play.feed(Input::ToolDone { call_id: "a", output, for_model });
    assert_eq!(next, Next::CallModel);
    assert_eq!(rounds(&play).1, [round("a", "search_web", "{}", "two")]);
}

#[test]
fn a_failure_within_a_call_closes_it_before_the_error() {
    let mut play = Play::new();
    play.hear_all([text("Hm"), call(0, "c", "search_web", "{\"q")]);
    assert_eq!(play.feed(Input::ProviderEnded), Next::Over(Ending::Failed(cut())));
    play.assert_transcript(&[
        "start m",
        "start-step",
        "text-start t1",
        "text-delta Hm t1",
        "text-end t1",
        "tool-input-start c search_web",
        "tool-input-delta {\"q c",
        "tool-input-error The answer failed before the tool was done. {\"q c search_web",
        "finish-step",
        r#"data-error {"code":"upstream_cut"}"#,
        "error The provider cut its answer.",
        "finish error",
    ]);
    play.assert_obeys_the_grammar();
}

#[test]
fn a_stop_while_tools_run_gives_each_its_outcome() {
    let (mut play, _) =
        called([call(0, "a", "search_web", "{}"), call(1, "b", "search_web", "{}")]);
    play.done("b", "1");
    assert_eq!(play.feed(Input::Stopped), Next::Over(Ending::Aborted));
    let transcript = play.transcript();
    assert_eq!(
        transcript[transcript.len() - 4..],
        [
            "tool-output-available 1 b",
            "tool-output-error The answer was stopped before the tool was done. a",
            "finish-step",
            "abort",
        ],
    );
    play.assert_obeys_the_grammar();
}

#[test]
fn a_failure_between_two_steps_is_told_in_the_stream() {
    let (mut play, _) = called([call(0, "a", "search_web", "{}")]);
    assert_eq!(play.done("a", "1"), Next::CallModel);
    let failure = error(&UpstreamError::ServerFault {
        provider: PROVIDER,
        status: 503,
        retry_after: Some(Duration::from_secs(2)),
    });
    let next = play.feed(Input::Failed(failure.clone()));
    assert_eq!(next, Next::Over(Ending::Failed(failure)));
    let transcript = play.transcript();
    assert_eq!(
        transcript[transcript.len() - 4..],
        [
            "finish-step",
            r#"data-error {"code":"upstream_error","retryAfterMs":2000}"#,
            "error The provider failed. Try again in 2 s.",
            "finish error",
        ],
    );
    play.assert_obeys_the_grammar();
}

#[test]
fn a_last_step_without_a_word_is_complete() {
    let (mut play, _) = called([call(0, "a", "search_web", "{}")]);
    assert_eq!(play.done("a", "1"), Next::CallModel);
    let end = [Delta::Finish(Finish::Stop), Delta::Done];
    assert_eq!(play.hear_all(end), finished(FinishReason::Stop));
    play.assert_obeys_the_grammar();
}

#[test]
fn a_call_and_a_step_that_grow_without_end_are_ended() {
    let ended = |mut play: Play, last: Delta<'_>| {
        let Next::Over(Ending::Failed(failure)) = play.hear(last) else { panic!("it goes on") };
        assert_eq!(failure.code, "upstream_error");
        play.assert_obeys_the_grammar();
    };
    let mut play = Play::new();
    let long = "x".repeat(MAX_ARGUMENT_BYTES);
    play.hear(call(0, "c", "search_web", &long));
    ended(play, more(0, "x"));
    let mut play = Play::new();
    for index in 0..u32::try_from(MAX_CALLS).unwrap() {
        play.hear(call(index, "c", "search_web", ""));
    }
    ended(play, call(99, "c", "search_web", ""));
}
