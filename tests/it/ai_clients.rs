//! The AI SDK's own chat, in two releases, against a real server: what its user would have on the
//! screen is what the thread has stored, whatever became of the answer.

use serde_json::{Value, json};

use crate::support::model::model_of;
use crate::support::node::node;
use crate::support::scene::{Scene, until};

const RELEASES: [&str; 2] = ["ai-6", "ai-7"];
const MODEL: &str = "openrouter_chat";
const SEARCH: &str = "serper_search";
const WEB: &str = "search_web";
const PRODUCTS: &str = "search_products";

/// What one release makes of a case; its thread is named as the release is.
#[track_caller]
fn plays(scene: &Scene, release: &str, case: &str, prompt: &str) -> Value {
    node(scene, "ai.mjs", &[release, case, prompt])
}

/// A question as the SDK sends and keeps it.
fn asked(number: u32, text: &str) -> Value {
    let parts = json!([{"type": "text", "text": text}]);
    json!({"id": format!("mine-{number}"), "role": "user", "parts": parts})
}

fn step() -> Value {
    json!({"type": "step-start"})
}

fn text(text: &str, state: &str) -> Value {
    json!({"type": "text", "text": text, "state": state})
}

/// A chat that is ready again, with one answer that ended of itself, and no error.
fn ready(messages: Value) -> Value {
    let finished = json!([finished("stop")]);
    json!({
        "status": "ready", "error": null, "data": [], "finished": finished, "messages": messages,
    })
}

fn finished(reason: &str) -> Value {
    let mut how = json!({"isAbort": false, "isDisconnect": false, "isError": false});
    how["finishReason"] = json!(reason);
    how
}

/// Takes the usage off every answer, which must be one.
#[track_caller]
fn without_usage(mut outcome: Value) -> Value {
    for message in outcome["messages"].as_array_mut().expect("a chat has messages") {
        let Some(metadata) = message.as_object_mut().unwrap().remove("metadata") else { continue };
        let tokens = |name: &str| metadata["usage"][name].as_u64().expect("tokens are counted");
        assert_eq!(tokens("inputTokens") + tokens("outputTokens"), tokens("totalTokens"));
    }
    outcome
}

/// A stored message as a client keeps it.
fn stored(scene: &Scene, thread: &str, at: usize) -> Value {
    let message = scene.messages(thread)[at].clone();
    json!({"id": message["id"], "role": message["role"], "parts": message["parts"]})
}

/// An error as this release shows it: older ones keep no status.
fn error(release: &str, status: u16, sentence: &str) -> Value {
    match release {
        "ai-6" => json!({"name": "Error", "message": sentence, "statusCode": null}),
        _ => json!({"name": "AI_APICallError", "message": sentence, "statusCode": status}),
    }
}

#[test]
fn a_text_is_kept_by_the_client_as_the_thread_has_it() {
    for scene in [Scene::sandboxed(), Scene::with(&[])] {
        for release in RELEASES {
            let outcome = without_usage(plays(&scene, release, "ask", "chunks 5"));
            let answer = stored(&scene, release, 1);
            assert_eq!(answer["parts"], json!([step(), text("1 2 3 4 5 ", "done")]));
            assert_eq!(outcome, ready(json!([asked(1, "chunks 5"), answer])), "{release}");
        }
    }
}

#[test]
fn thoughts_are_kept_by_the_client_as_the_thread_has_them() {
    let scene = Scene::sandboxed();
    for release in RELEASES {
        let outcome = without_usage(plays(&scene, release, "ask", "reason tides"));
        let answer = stored(&scene, release, 1);
        let kinds: Vec<_> =
            answer["parts"].as_array().unwrap().iter().map(|it| &it["type"]).collect();
        assert_eq!(kinds, ["step-start", "reasoning", "text"]);
        // Newer releases keep the name that the stream gave it.
        let mut answer = answer.clone();
        if release != "ai-6" {
            answer["parts"][1]["id"] = json!("t1");
        }
        assert_eq!(outcome, ready(json!([asked(1, "reason tides"), answer])), "{release}");
    }
}

#[test]
fn a_tool_is_kept_by_the_client_as_the_thread_has_it() {
    let scene = Scene::sandboxed();
    for release in RELEASES {
        let question = format!("search rust in {release}");
        let outcome = without_usage(plays(&scene, release, "ask", &question));
        let answer = stored(&scene, release, 1);
        let tool = json!({
            "type": format!("tool-{WEB}"), "toolCallId": answer["parts"][1]["toolCallId"],
            "state": "output-available", "input": {"query": format!("rust in {release}")},
            "output": answer["parts"][1]["output"], "providerExecuted": true,
        });
        let said = answer["parts"][3]["text"].as_str().expect("it says what it found");
        assert!(said.starts_with("I found 5 results"), "{said}");
        assert_eq!(answer["parts"], json!([step(), tool, step(), text(said, "done")]));
        assert_eq!(outcome, ready(json!([asked(1, &question), answer])), "{release}");
    }
}

#[test]
fn two_tools_at_once_are_kept_in_the_order_of_their_calls() {
    const TOOLS: [&str; 2] = [WEB, PRODUCTS];
    let call = |index: usize, release: &str| {
        let arguments = json!({"query": format!("{release} {index}")}).to_string();
        json!({"index": index, "id": format!("call_{index}"), "type": "function",
            "function": {"name": TOOLS[index], "arguments": arguments}})
    };
    let chunk = |delta: Value, reason: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        json!({"choices": [choice]})
    };
    let calls = |release: &str| {
        let both = json!({"tool_calls": [call(0, release), call(1, release)]});
        vec![chunk(both, None), chunk(json!({}), Some("tool_calls"))]
    };
    let says = || vec![chunk(json!({"content": "Both."}), None), chunk(json!({}), Some("stop"))];
    let answers = RELEASES.into_iter().flat_map(|release| [calls(release), says()]);
    let url = model_of(answers.collect());
    let scene = Scene::with(&[("OPENROUTER_BASE_URL", &url)]);
    for release in RELEASES {
        let outcome = without_usage(plays(&scene, release, "ask", "both"));
        let answer = stored(&scene, release, 1);
        let tool = |index: usize| {
            json!({
                "type": format!("tool-{}", TOOLS[index]), "toolCallId": format!("call_{index}"),
                "state": "output-available", "input": {"query": format!("{release} {index}")},
                "output": answer["parts"][index + 1]["output"], "providerExecuted": true,
            })
        };
        let found = |index: usize, what: &str| tool(index)["output"][what][0]["title"].clone();
        assert_eq!(found(0, "results"), format!("{release} 0: an introduction"));
        assert_ne!(found(1, "products"), Value::Null);
        assert_eq!(
            answer["parts"],
            json!([step(), tool(0), tool(1), step(), text("Both.", "done")])
        );
        assert_eq!(outcome, ready(json!([asked(1, "both"), answer])), "{release}");
    }
}

#[test]
fn a_tool_grows_from_its_input_through_a_preliminary_output_to_the_last() {
    let scene = Scene::sandboxed();
    for release in RELEASES {
        let question = format!("{PRODUCTS} docks of {release}");
        let mut seen = plays(&scene, release, "snapshots", &question);
        let answer = stored(&scene, release, 1);
        let last = &answer["parts"][1];
        let part = |state: &str, more: Value| {
            let mut part = json!({
                "type": format!("tool-{PRODUCTS}"), "toolCallId": last["toolCallId"],
                "state": state, "providerExecuted": true,
            });
            part.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            part
        };
        // How much of the input is there depends on where it was cut.
        let seen = seen.as_array_mut().unwrap();
        for each in seen.iter_mut().filter(|each| each["state"] == "input-streaming") {
            let each = each.as_object_mut().unwrap();
            each.remove("input");
            each.remove("rawInput");
        }
        seen.dedup();
        let (input, output) = (&last["input"], &last["output"]);
        let early = seen[seen.len() - 2]["output"].clone();
        let incomplete = "These results are incomplete: not every shop has answered. Say so.";
        assert_eq!((&early["note"], &output["note"]), (&json!(incomplete), &Value::Null));
        assert_ne!(early["products"][0], Value::Null);
        assert_ne!(early["products"], output["products"], "another shop came later");
        let partly = json!({"input": input, "output": early, "preliminary": true});
        let expected = [
            Value::Null,
            part("input-streaming", json!({})),
            part("input-available", json!({"input": input})),
            part("output-available", partly),
            part("output-available", json!({"input": input, "output": output})),
        ];
        assert_eq!(*seen, expected, "{release}");
        assert_eq!(expected[4], *last);
    }
}

#[test]
fn a_tool_that_fails_is_a_part_of_an_answer_that_goes_on() {
    let scene = Scene::with(&[("SERPER_API_KEY", "")]);
    for release in RELEASES {
        let outcome = without_usage(plays(&scene, release, "ask", "search rust"));
        let answer = stored(&scene, release, 1);
        let tool = &answer["parts"][1];
        assert_eq!(tool["state"], "output-error");
        let words = tool["errorText"].as_str().expect("a failure has words");
        assert!(words.contains("not set up on this server"), "{words}");
        assert_eq!(outcome, ready(json!([asked(1, "search rust"), answer])), "{release}");
    }
}

#[test]
fn a_failure_before_the_first_part_is_an_error_with_our_sentence_and_no_answer() {
    let scene = Scene::sandboxed();
    let told = "The service is not set up for this call. Try again in 60 s.";
    for release in RELEASES {
        scene.stand_ins.fail(MODEL, "401", 1);
        let outcome = plays(&scene, release, "ask", "chunks 4");
        let how = json!({"isAbort": false, "isDisconnect": false, "isError": true});
        let expected = json!({
            "status": "error", "error": error(release, 503, told), "data": [],
            "finished": [how], "messages": [asked(1, "chunks 4")],
        });
        assert_eq!(outcome, expected, "{release}");
    }
}

#[test]
fn a_failure_after_the_first_part_keeps_what_was_said_and_shows_our_sentence() {
    let scene = Scene::sandboxed();
    let told = "The provider cut its answer.";
    for release in RELEASES {
        scene.stand_ins.fail(MODEL, "cut", 1);
        let outcome = plays(&scene, release, "ask", "chunks 4");
        let answer = stored(&scene, release, 1);
        assert_eq!(answer["parts"], json!([step(), text("1 2 ", "done")]));
        let code = json!({"code": "upstream_cut"});
        let data = json!({"type": "data-error", "data": code, "transient": true});
        let how = json!({"isAbort": false, "isDisconnect": false, "isError": true});
        let expected = json!({
            "status": "error",
            "error": {"name": "Error", "message": told, "statusCode": null},
            "data": [data], "finished": [how], "messages": [asked(1, "chunks 4"), answer],
        });
        assert_eq!(outcome, expected, "{release}");
    }
}

#[test]
fn whoever_aborts_keeps_the_beginning_and_the_provider_is_told() {
    let scene = Scene::sandboxed();
    for (gone, release) in (1..).zip(RELEASES) {
        let outcome = plays(&scene, release, "abort", "slow 600 40");
        until("the provider is told", || scene.stand_ins.count(MODEL, "clientGone") == gone);
        until("it is stored as cut", || {
            scene.messages(release).get(1).is_some_and(|answer| answer["status"] == "cut")
        });
        let kept = outcome["messages"][1]["parts"][1]["text"].as_str().expect("a beginning");
        let answer = stored(&scene, release, 1);
        let whole = answer["parts"][1]["text"].as_str().expect("it has a text");
        assert!(whole.starts_with(kept) && kept.len() >= 4, "{kept:?} of {whole:?}");
        let parts = json!([step(), text(kept, "streaming")]);
        let how = json!({"isAbort": true, "isDisconnect": false, "isError": false});
        let begun = json!({"id": answer["id"], "role": "assistant", "parts": parts});
        let expected = json!({
            "status": "ready", "error": null, "data": [], "finished": [how],
            "messages": [asked(1, "slow 600 40"), begun],
        });
        assert_eq!(outcome, expected, "{release}");
        scene.settles();
    }
}

#[test]
fn a_stopped_answer_and_a_tool_may_go_along_with_the_next_question() {
    let scene = Scene::sandboxed();
    for release in RELEASES {
        let outcome = plays(&scene, release, "again", "slow 600 40");
        assert_eq!((&outcome["status"], &outcome["error"]), (&json!("ready"), &Value::Null));
        let aborted = json!({"isAbort": true, "isDisconnect": false, "isError": false});
        assert_eq!(outcome["finished"], json!([aborted, finished("stop"), finished("stop")]));
        let roles: Vec<_> =
            outcome["messages"].as_array().unwrap().iter().map(|it| &it["role"]).collect();
        assert_eq!(roles, ["user", "assistant", "user", "assistant", "user", "assistant"]);
        let last = &outcome["messages"][5]["parts"];
        assert_eq!(*last, json!([step(), text("1 2 ", "done")]), "{release}");
        assert_eq!(scene.stand_ins.count(SEARCH, "inFlight"), 0);
    }
}

#[test]
fn an_answer_that_is_stopped_by_another_request_ends_in_order() {
    let scene = Scene::sandboxed();
    for (gone, release) in (1..).zip(RELEASES) {
        let outcome = plays(&scene, release, "stop", "slow 600 40");
        let answer = stored(&scene, release, 1);
        assert_eq!(scene.messages(release)[1]["status"], "cut");
        let how = json!({"isAbort": false, "isDisconnect": false, "isError": false});
        let expected = json!({
            "stopAnswered": 204, "status": "ready", "error": null, "data": [], "finished": [how],
            "messages": [asked(1, "slow 600 40"), answer],
        });
        assert_eq!(outcome, expected, "{release}");
        until("the provider is told", || scene.stand_ins.count(MODEL, "clientGone") == gone);
        scene.settles();
    }
}

#[test]
fn a_page_that_is_loaded_again_takes_the_answer_up_and_finds_it_stored_later() {
    let scene = Scene::sandboxed();
    for release in RELEASES {
        let mut outcome = plays(&scene, release, "resume", "slow 30 40");
        let answer = stored(&scene, release, 1);
        let said: String = (1..=30).map(|number| format!("{number} ")).collect();
        assert_eq!(answer["parts"], json!([step(), text(&said, "done")]));
        let question = asked(1, "slow 30 40");
        assert_eq!(outcome["found"], json!([question]), "{release}");
        let resumed = without_usage(outcome["resumed"].take());
        assert_eq!(resumed, ready(json!([question, answer])), "{release}");
        // An older release takes a 204 for an answer that ended.
        let how = json!({"isAbort": false, "isDisconnect": false, "isError": false});
        let nothing = if release == "ai-6" { json!([how]) } else { json!([]) };
        let mut later = ready(json!([question, answer]));
        later["finished"] = nothing;
        assert_eq!(outcome["later"], later, "{release}");
        assert_eq!(scene.stand_ins.count(MODEL, "clientGone"), 0);
    }
    assert_eq!(scene.model_calls(), 2);
}

#[test]
fn an_answer_that_is_asked_for_once_more_replaces_the_last() {
    let scene = Scene::sandboxed();
    for release in RELEASES {
        let mut outcome = plays(&scene, release, "regenerate", "chunks 2");
        let answer = stored(&scene, release, 1);
        assert_eq!(scene.messages(release).len(), 2);
        let before = outcome.as_object_mut().unwrap().remove("before").expect("there was one");
        assert_ne!(before, answer["id"]);
        let mut expected = ready(json!([asked(1, "chunks 2"), answer]));
        expected["finished"] = json!([finished("stop"), finished("stop")]);
        assert_eq!(without_usage(outcome), expected, "{release}");
    }
}
