//! Beginning, text, ending and failing.

use futures_util::{FutureExt, StreamExt, stream};

use super::*;
use crate::contract::ui_stream::DONE;
use crate::contract::ui_stream::message::MessagePart;
use crate::upstream::error::Clock;
use crate::upstream::sse::data_events;

const STOP: Delta<'static> = Delta::Finish(Finish::Stop);

const CUT_TAIL: [&str; 5] = [
    "text-end t1",
    "finish-step",
    r#"data-error {"code":"upstream_cut"}"#,
    "error The provider cut its answer.",
    "finish error",
];

const SOME_TEXT: [&str; 4] = ["start m", "start-step", "text-start t1", "text-delta Hi t1"];

fn said_hi() -> Play {
    let mut play = Play::new();
    assert_eq!(play.hear(text("Hi")), Next::Wait);
    play.assert_transcript(&SOME_TEXT);
    play
}

fn assert_cut(play: &Play) {
    play.assert_transcript(&[SOME_TEXT.as_slice(), &CUT_TAIL].concat());
    play.assert_obeys_the_grammar();
}

#[test]
fn a_recorded_answer_becomes_a_whole_stream() {
    let mut play = Play::new();
    let sample = include_str!("../../../../tests/it/samples/upstream/openrouter-text.sse");
    assert_eq!(play.hear_sample(sample), finished(FinishReason::Stop));
    play.assert_transcript(&[
        "start m",
        "start-step",
        "text-start t1",
        "text-delta The t1",
        "text-delta  capital t1",
        "text-delta  of t1",
        "text-delta  France t1",
        "text-delta  is t1",
        "text-delta  Paris. t1",
        "text-end t1",
        "finish-step",
        r#"finish stop {"usage":{"inputTokens":42,"outputTokens":17,"totalTokens":59}}"#,
    ]);
    play.assert_obeys_the_grammar();
    let answer = Answer {
        message_id: "m".into(),
        parts: vec![
            MessagePart::StepStart,
            MessagePart::Text("The capital of France is Paris.".into()),
        ],
        finished: Some(FinishReason::Stop),
        usage: Some(usage(42, 17)),
    };
    assert_eq!(play.turn.into_answer(), Some(answer));
}

#[test]
fn nothing_is_emitted_before_the_first_content() {
    let mut play = Play::new();
    assert_eq!(play.hear(Delta::Usage(usage(1, 0))), Next::Wait);
    assert!(!play.turn.has_begun());
    play.assert_transcript(&[]);
    assert_eq!(play.hear(reasoning("hm")), Next::Wait);
    assert!(play.turn.has_begun());
    play.assert_transcript(&[
        "start m",
        "start-step",
        "reasoning-start t1",
        "reasoning-delta hm t1",
    ]);
}

#[test]
fn reasoning_is_closed_before_text_and_text_before_reasoning() {
    let mut play = Play::new();
    let all = [reasoning("a"), text("b"), text("c"), reasoning("d"), STOP, Delta::Done];
    assert_eq!(play.hear_all(all), finished(FinishReason::Stop));
    play.assert_transcript(&[
        "start m",
        "start-step",
        "reasoning-start t1",
        "reasoning-delta a t1",
        "reasoning-end t1",
        "text-start t2",
        "text-delta b t2",
        "text-delta c t2",
        "text-end t2",
        "reasoning-start t3",
        "reasoning-delta d t3",
        "reasoning-end t3",
        "finish-step",
        "finish stop",
    ]);
    play.assert_obeys_the_grammar();
}

#[test]
fn an_end_without_a_reason_is_a_cut() {
    let mut play = said_hi();
    assert_eq!(play.feed(Input::ProviderEnded), Next::Over(Ending::Failed(cut())));
    assert_cut(&play);
    let answer = play.turn.into_answer().unwrap();
    assert_eq!(answer.parts, [MessagePart::StepStart, MessagePart::Text("Hi".into())]);
    assert_eq!(answer.finished, None);
}

#[test]
fn a_reason_without_a_done_is_complete() {
    let mut play = said_hi();
    assert_eq!(play.hear(STOP), Next::Wait);
    assert_eq!(play.feed(Input::ProviderEnded), finished(FinishReason::Stop));
    let tail = ["text-end t1", "finish-step", "finish stop"];
    play.assert_transcript(&[SOME_TEXT.as_slice(), &tail].concat());
}

#[test]
fn a_failure_or_a_stop_after_the_reason_spoils_nothing() {
    for input in [Input::Failed(cut()), Input::Stopped, Input::Provider(Delta::Done)] {
        let mut play = said_hi();
        assert_eq!(play.hear_all([STOP, text("noise")]), Next::Wait);
        assert_eq!(play.feed(input), finished(FinishReason::Stop));
    }
}

#[test]
fn a_done_without_a_reason_is_complete_for_another_reason() {
    assert_eq!(said_hi().hear(Delta::Done), finished(FinishReason::Other));
}

#[test]
fn every_reason_has_its_name() {
    let table = [
        (Finish::Stop, FinishReason::Stop),
        (Finish::Length, FinishReason::Length),
        (Finish::ContentFilter, FinishReason::ContentFilter),
        (Finish::ToolCalls, FinishReason::Other),
        (Finish::Other, FinishReason::Other),
    ];
    for (finish, reason) in table {
        let mut play = said_hi();
        assert_eq!(play.hear_all([Delta::Finish(finish), Delta::Done]), finished(reason));
        play.assert_obeys_the_grammar();
    }
}

#[test]
fn an_answer_without_content_is_a_failure_before_content() {
    let ends: [&[Delta<'_>]; 3] = [&[Delta::Done], &[STOP, Delta::Done], &[]];
    for deltas in ends {
        let mut play = Play::new();
        let mut next = play.hear_all(deltas.to_vec());
        if next == Next::Wait {
            next = play.feed(Input::ProviderEnded);
        }
        assert_eq!(next, Next::Over(Ending::FailedBeforeContent(no_content())));
        assert_eq!(no_content().code, "upstream_error");
        play.assert_transcript(&[]);
        assert_eq!(play.turn.into_answer(), None);
    }
}

#[test]
fn a_failure_before_content_is_left_to_the_status() {
    let wait = Duration::from_secs(7);
    let limited = UpstreamError::RateLimited { provider: PROVIDER, retry_after: Some(wait) };
    let mut play = Play::new();
    let next = play.feed(Input::Failed(error(&limited)));
    let failure = Failure {
        code: "upstream_rate_limited",
        sentence: "The provider limits our calls. Try again in 7 s.".into(),
        retry_after: Some(wait),
    };
    assert_eq!(next, Next::Over(Ending::FailedBeforeContent(failure)));
    play.assert_transcript(&[]);
}

#[test]
fn a_clock_that_runs_out_in_the_middle_is_told_in_the_stream() {
    let limit = Duration::from_secs(20);
    let idle = UpstreamError::TimedOut { provider: PROVIDER, clock: Clock::Idle, limit };
    let mut play = said_hi();
    assert_eq!(play.feed(Input::Failed(error(&idle))), Next::Over(Ending::Failed(error(&idle))));
    let tail = [
        "text-end t1",
        "finish-step",
        r#"data-error {"code":"upstream_idle_timeout"}"#,
        "error The provider stopped in the middle of its answer.",
        "finish error",
    ];
    play.assert_transcript(&[SOME_TEXT.as_slice(), &tail].concat());
    play.assert_obeys_the_grammar();
}

#[test]
fn a_recorded_error_in_the_middle_is_told_in_the_stream() {
    let mut play = Play::new();
    let sample =
        include_str!("../../../../tests/it/samples/upstream/openrouter-midstream-error.sse");
    let failure = error(&failure_within(Some(502)));
    assert_eq!(play.hear_sample(sample), Next::Over(Ending::Failed(failure)));
    play.assert_transcript(&[
        "start m",
        "start-step",
        "text-start t1",
        "text-delta The t1",
        "text-delta  capital t1",
        "text-delta  of t1",
        "text-end t1",
        "finish-step",
        r#"data-error {"code":"upstream_error"}"#,
        "error The provider failed.",
        "finish error",
    ]);
    play.assert_obeys_the_grammar();
}

#[test]
fn an_error_as_the_first_thing_is_a_failure_before_content() {
    let mut play = Play::new();
    let next = play.hear(Delta::Error { status: Some(429), message: "secret".into() });
    let failure = error(&failure_within(Some(429)));
    assert_eq!(failure.code, "upstream_rate_limited");
    assert_eq!(next, Next::Over(Ending::FailedBeforeContent(failure)));
}

#[test]
fn the_reason_error_alone_is_an_error() {
    let mut play = said_hi();
    let next = play.hear(Delta::Finish(Finish::Error));
    assert_eq!(next, Next::Over(Ending::Failed(error(&failure_within(None)))));
    play.assert_obeys_the_grammar();
}

#[test]
fn a_stop_in_the_middle_closes_what_is_open_and_aborts() {
    let mut play = said_hi();
    assert_eq!(play.feed(Input::Stopped), Next::Over(Ending::Aborted));
    let tail = ["text-end t1", "finish-step", "abort"];
    play.assert_transcript(&[SOME_TEXT.as_slice(), &tail].concat());
    play.assert_obeys_the_grammar();
    assert_eq!(play.turn.into_answer().unwrap().finished, None);
}

#[test]
fn a_stop_before_content_leaves_nothing() {
    let mut play = Play::new();
    assert_eq!(play.feed(Input::Stopped), Next::Over(Ending::AbortedBeforeContent));
    play.assert_transcript(&[]);
    assert_eq!(play.turn.into_answer(), None);
}

#[test]
fn after_the_end_nothing_is_emitted_and_the_ending_stays() {
    let mut play = said_hi();
    play.feed(Input::ProviderEnded);
    for input in [Input::Provider(text("late")), Input::Stopped, Input::ProviderEnded] {
        assert_eq!(play.feed(input), Next::Over(Ending::Failed(cut())));
    }
    assert_cut(&play);
}

#[test]
fn an_answer_that_grows_without_end_is_ended() {
    let mut play = Play::new();
    let long = "x".repeat(MAX_ANSWER_BYTES);
    assert_eq!(play.hear(text(&long)), Next::Wait);
    let Next::Over(Ending::Failed(failure)) = play.hear(text("x")) else { panic!("it goes on") };
    assert_eq!(failure.code, "upstream_too_long");
    play.assert_obeys_the_grammar();
}

#[test]
fn a_chunk_that_cannot_be_read_is_a_failure_of_the_provider() {
    let malformed: UpstreamError = read("{\"choices\":7}").unwrap_err().into();
    let mut play = said_hi();
    let next = play.feed(Input::Failed(error(&malformed)));
    let Next::Over(Ending::Failed(failure)) = next else { panic!("it goes on") };
    assert_eq!(failure.code, "upstream_error");
}

#[test]
fn every_recorded_stream_becomes_bytes_that_clients_accept() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/samples/upstream");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| path.extension().is_some_and(|kind| kind == "sse")) {
        let bytes = bytes::Bytes::from(std::fs::read(&path).unwrap());
        let chunks = stream::iter([Ok::<_, std::io::Error>(bytes)]);
        let events: Vec<_> = data_events(chunks).collect().now_or_never().unwrap();
        let mut play = Play::new();
        let deltas = events.iter().flat_map(|data| read(data.as_ref().unwrap()).unwrap());
        if let Next::StartTools(calls) = play.hear_all(deltas) {
            for ToolCall { id, .. } in &calls {
                let output = Json::from_text("[\n]").unwrap();
                play.feed(Input::ToolProgress { call_id: id, output });
                play.done(id, "{\n}");
            }
            play.hear_all([text("So."), STOP, Delta::Done]);
        }
        let bytes: String = play.out.iter().map(Part::to_sse).collect();
        let parts = Grammar::read_stream(&(bytes + DONE)).expect("clients accept it");
        assert_eq!(parts.len(), play.out.len(), "{}", path.display());
    }
}
