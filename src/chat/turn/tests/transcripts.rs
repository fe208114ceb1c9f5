//! Recorded streams of the model's provider, cut after every byte as a connection that ends there:
//! what the turn makes of it is a correct end or a stated error, and never a success too early.

use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::*;
use crate::contract::ui_stream::DONE;
use crate::upstream::sse::data_events;

/// A recorded stream, and how the whole of it ends.
#[derive(Clone, Copy)]
struct Recorded {
    name: &'static str,
    bytes: &'static [u8],
    /// What ends the first step; tools are then answered, and the answer goes on.
    ends: Ends,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Text,
    Calls(usize),
    Error,
}

macro_rules! recorded {
    ($name:literal, $ends:expr) => {
        Recorded {
            name: $name,
            bytes: include_bytes!(concat!("../../../../tests/it/samples/upstream/", $name)),
            ends: $ends,
        }
    };
}

const RECORDED: [Recorded; 6] = [
    recorded!("openrouter-text.sse", Ends::Text),
    recorded!("openrouter-comments.sse", Ends::Text),
    recorded!("openrouter-crlf.sse", Ends::Text),
    recorded!("openrouter-tool-single.sse", Ends::Calls(1)),
    recorded!("openrouter-two-tools.sse", Ends::Calls(2)),
    recorded!("openrouter-midstream-error.sse", Ends::Error),
];

/// Plays a stream that ends with these bytes; gives what is to be done then.
fn play_bytes(bytes: &[u8]) -> (Play, Next) {
    let chunk = Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(bytes));
    let events: Vec<_> = data_events(stream::iter([chunk])).collect().now_or_never().unwrap();
    let mut play = Play::new();
    for data in events {
        let data = data.expect("a cut never makes an event");
        let deltas = read(&data).expect("a cut never makes a chunk");
        for delta in deltas {
            let next = play.hear(delta);
            if next != Next::Wait {
                return (play, next);
            }
        }
    }
    let next = play.feed(Input::ProviderEnded);
    (play, next)
}

/// Where the model has said why it stopped: behind the blank line of that chunk.
fn said_everything(recorded: &Recorded) -> usize {
    let text = std::str::from_utf8(recorded.bytes).unwrap();
    let reasons = ["\"finish_reason\":\"stop\"", "\"finish_reason\":\"tool_calls\""];
    let Some(at) = reasons.iter().filter_map(|reason| text.find(reason)).min() else {
        return usize::MAX;
    };
    let ends =
        ["\n\n", "\r\n\r\n"].iter().filter_map(|end| Some(at + text[at..].find(end)? + end.len()));
    ends.min().unwrap()
}

/// Answers the tools of a step, and lets the model end the answer in the next.
fn go_on(play: &mut Play, next: Next) -> Next {
    let Next::StartTools(calls) = next else { return next };
    let asked = calls.iter().fold(Next::Wait, |_, call| play.done(&call.id, "{}"));
    assert_eq!(asked, Next::CallModel);
    play.hear_all([text("So."), STOP, Delta::Done])
}

const STOP: Delta<'static> = Delta::Finish(Finish::Stop);

#[test]
fn every_recorded_stream_is_read_whole() {
    for recorded in &RECORDED {
        let (mut play, next) = play_bytes(recorded.bytes);
        match (&next, recorded.ends) {
            (Next::Over(Ending::Finished(FinishReason::Stop)), Ends::Text) => {}
            (Next::StartTools(calls), Ends::Calls(count)) if calls.len() == count => {}
            (Next::Over(Ending::Failed(failure)), Ends::Error) => {
                assert_eq!(failure.code, "upstream_error");
            }
            _ => panic!("{}: {next:?}", recorded.name),
        }
        go_on(&mut play, next);
        play.assert_obeys_the_grammar();
    }
}

#[test]
fn a_recorded_text_cut_after_every_byte_ends_as_it_must() {
    cut_after_every_byte(&RECORDED[..3]);
}

#[test]
fn a_recorded_call_or_failure_cut_after_every_byte_ends_as_it_must() {
    cut_after_every_byte(&[&RECORDED[3..4], &RECORDED[5..]].concat());
}

#[test]
fn recorded_calls_in_parallel_cut_after_every_byte_end_as_they_must() {
    cut_after_every_byte(&RECORDED[4..5]);
}

fn cut_after_every_byte(all: &[Recorded]) {
    for recorded in all {
        let everything = said_everything(recorded);
        let (_, whole) = play_bytes(recorded.bytes);
        for cut in 0..recorded.bytes.len() {
            let at = format!("{} cut at {cut}", recorded.name);
            let (mut play, next) = play_bytes(&recorded.bytes[..cut]);
            let has_begun = !play.out.is_empty();
            match &next {
                // With a reason to stop it is complete, `[DONE]` or not.
                Next::Over(Ending::Finished(_)) | Next::StartTools(_) => {
                    assert!(cut >= everything - 1, "{at}: too early");
                    assert_eq!(next, whole, "{at}");
                }
                Next::Over(Ending::Failed(failure)) => {
                    assert!(cut < everything && has_begun, "{at}");
                    let of_the_error = recorded.ends == Ends::Error && next == whole;
                    assert!(of_the_error || *failure == super::cut(), "{at}: {failure:?}");
                }
                Next::Over(Ending::FailedBeforeContent(failure)) => {
                    assert!(!has_begun && *failure == no_content(), "{at}: {failure:?}");
                }
                Next::Wait
                | Next::CallModel
                | Next::Over(Ending::Aborted | Ending::AbortedBeforeContent) => {
                    panic!("{at}: {next:?}")
                }
            }
            go_on(&mut play, next);
            if has_begun {
                let bytes: String = play.out.iter().map(Part::to_sse).collect();
                let read = Grammar::read_stream(&(bytes + DONE));
                read.unwrap_or_else(|error| panic!("{at}: {error:?}"));
            }
        }
    }
}
