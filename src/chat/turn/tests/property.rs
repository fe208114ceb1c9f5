//! Whatever goes in, what comes out obeys the grammar.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// An input in the making; tools are named by the order in which they were started.
#[derive(Clone, Debug)]
enum Move {
    Hear(Delta<'static>),
    End,
    Fail,
    Stop,
    Progress(usize),
    Done(usize),
    Failed(usize),
}

fn fragment() -> impl Strategy<Value = Delta<'static>> {
    let id = select(vec![None, None, Some("a"), Some("b"), Some("a longer id")]);
    let name = select(vec![None, None, Some("search_web"), Some("unknown"), Some("é")]);
    let arguments = select(vec!["", "{}", "{", "}", "\"q\":1", "null", "\n", "é"]);
    (0..3_u32, id, name, arguments).prop_map(|(index, id, name, arguments)| Delta::ToolFragment {
        index,
        id: id.map(Into::into),
        name: name.map(Into::into),
        arguments: arguments.into(),
    })
}

fn finish() -> impl Strategy<Value = Finish> {
    use Finish::{ContentFilter, Error, Length, Other, Stop, ToolCalls};
    select(vec![Stop, Length, ContentFilter, ToolCalls, ToolCalls, ToolCalls, Error, Other])
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => select(vec!["a", "é\n", "\""]).prop_map(|piece| Move::Hear(text(piece))),
        2 => select(vec!["a", "b"]).prop_map(|piece| Move::Hear(reasoning(piece))),
        6 => fragment().prop_map(Move::Hear),
        3 => finish().prop_map(|finish| Move::Hear(Delta::Finish(finish))),
        4 => Just(Move::Hear(Delta::Done)),
        1 => Just(Move::Hear(Delta::Usage(usage(1, 2)))),
        1 => Just(Move::Hear(Delta::Error { status: Some(502), message: String::new() })),
        1 => Just(Move::End),
        1 => Just(Move::Fail),
        1 => Just(Move::Stop),
        2 => (0..4_usize).prop_map(Move::Progress),
        6 => (0..4_usize).prop_map(Move::Done),
        2 => (0..4_usize).prop_map(Move::Failed),
    ]
}

/// Makes the move; `started` holds the ids of all tools that were started.
fn make(play: &mut Play, a_move: Move, started: &[String]) -> Next {
    let from_end = |back: usize| {
        let place = started.len().checked_sub(back + 1);
        place.map_or("none", |place| started[place].as_str())
    };
    let output = Json::empty_object();
    match a_move {
        Move::Hear(delta) => play.hear(delta),
        Move::End => play.feed(Input::ProviderEnded),
        Move::Fail => play.feed(Input::Failed(cut())),
        Move::Stop => play.feed(Input::Stopped),
        Move::Progress(back) => play.feed(Input::ToolProgress { call_id: from_end(back), output }),
        Move::Done(back) => play.done(from_end(back), "{}"),
        Move::Failed(back) => play.failed(from_end(back), "busy"),
    }
}

proptest! {
    // A failing case is printed, smallest first; one that was found becomes a test by name.
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_goes_in_what_comes_out_obeys_the_grammar(
        moves in vec(moves(), 0..60),
        max_steps in 1..4_u32,
    ) {
        let mut play = Play::of_steps(max_steps);
        let mut started: Vec<String> = Vec::new();
        let mut calls_of_the_model = 1;
        for a_move in moves.into_iter().chain([Move::Stop]) {
            let begun = play.turn.has_begun();
            match make(&mut play, a_move, &started) {
                Next::Wait => {}
                Next::StartTools(calls) => {
                    prop_assert!(!calls.is_empty());
                    for call in calls {
                        prop_assert!(!started.contains(&call.id));
                        prop_assert_eq!(call.name, "search_web");
                        started.push(call.id);
                    }
                }
                Next::CallModel => {
                    calls_of_the_model += 1;
                    prop_assert_eq!(play.turn.messages().len(), calls_of_the_model as usize);
                }
                Next::Over(ending) => {
                    let before = matches!(
                        ending,
                        Ending::FailedBeforeContent(_) | Ending::AbortedBeforeContent
                    );
                    prop_assert!(!(before && begun));
                    prop_assert_eq!(before, play.out.is_empty());
                    prop_assert_eq!(play.feed(Input::Stopped), Next::Over(ending));
                }
            }
        }
        prop_assert!(calls_of_the_model <= max_steps);
        play.assert_obeys_the_grammar();
        let emitted = !play.out.is_empty();
        prop_assert_eq!(play.turn.into_answer().is_some(), emitted);
    }
}
