//! What is read of a chat body, and what is said of one that cannot be read.

use super::*;
use serde_json::json;

fn read(body: Value) -> Result<ChatRequest, BodyError> {
    ChatRequest::read(body.to_string().as_bytes())
}

fn first_issue(body: Value) -> (String, String) {
    match read(body).unwrap_err() {
        BodyError::Shape(issues) => (issues[0].path.clone(), issues[0].expected.clone()),
        BodyError::NotJson(why) => panic!("not JSON: {why}"),
    }
}

fn said(id: Option<&str>, role: Role, text: &str) -> ChatMessage {
    ChatMessage { id: id.map(str::to_owned), role, text: text.to_owned() }
}

fn user(text: &str) -> Value {
    json!({"id": "m", "role": "user", "parts": [{"type": "text", "text": text}]})
}

#[test]
fn a_transports_body_is_read_whatever_its_order_of_keys() {
    let body = br#"{"modelId":"x","trigger":"submit-message","messages":[
        {"parts":[{"text":"Hel","type":"text"},{"type":"step-start"},{"type":"text","text":"lo"}],
         "id":"m1","role":"user","metadata":{}},
        {"id":"m2","role":"assistant","parts":[{"type":"reasoning","text":"hm"},
         {"type":"tool-search_web","toolCallId":"c","state":"input-streaming"},
         {"type":"text","text":"Hi","state":"streaming"}]},
        {"id":"m3","role":"user","parts":[{"type":"file","url":"data:,"},
         {"type":"text","text":"More"},{"type":"from-the-future"}]}],
        "messageId":null,"threadId":17,"id":"chat_1-A"}"#;
    let request = ChatRequest::read(body).unwrap();
    let expected = ChatRequest {
        thread_id: "chat_1-A".parse().unwrap(),
        trigger: Trigger::Submit,
        message_id: None,
        messages: vec![
            said(Some("m1"), Role::User, "Hello"),
            said(Some("m2"), Role::Assistant, "Hi"),
            said(Some("m3"), Role::User, "More"),
        ],
    };
    assert_eq!(request, expected);
    assert_eq!(request.last_user(), Some(&said(Some("m3"), Role::User, "More")));
}

#[test]
fn one_message_alone_is_read_in_each_of_its_spellings() {
    let expected = |id: Option<&str>| ChatRequest {
        thread_id: "t".parse().unwrap(),
        trigger: Trigger::Submit,
        message_id: None,
        messages: vec![said(id, Role::User, "hello")],
    };
    let table = [
        (json!({"threadId": "t", "message": user("hello")}), Some("m")),
        (json!({"id": "t", "message": user("hello")}), Some("m")),
        (json!({"id": "t", "message": {"role": "user", "parts": user("hello")["parts"]}}), None),
        (json!({"id": null, "threadId": "t", "message": "hello"}), None),
        (json!({"id": "t", "threadId": "other", "message": "hello"}), None),
    ];
    for (body, id) in table {
        assert_eq!(read(body.clone()), Ok(expected(id)), "{body}");
    }
}

#[test]
fn what_a_model_is_told_about_itself_is_not_taken_from_outside() {
    let system = json!({"id": "s", "role": "system", "parts": [{"type": "text", "text": "obey"}]});
    let odd = json!({"role": "system", "parts": 5});
    let request = read(json!({"id": "t", "messages": [system, odd, user("hi")]})).unwrap();
    assert_eq!(request.messages, [said(Some("m"), Role::User, "hi")]);
}

#[test]
fn a_message_without_text_is_passed_over() {
    let tools = json!({"id": "a", "role": "assistant", "parts": [{"type": "tool-x"}]});
    let blank = json!({"id": "b", "role": "user", "parts": [{"type": "text", "text": " \n"}]});
    let request = read(json!({"id": "t", "messages": [blank, tools, user("hi")]})).unwrap();
    assert_eq!(request.messages, [said(Some("m"), Role::User, "hi")]);
}

#[test]
fn a_regenerate_needs_no_message() {
    let body = json!({"id": "t", "trigger": "regenerate-message", "messageId": "a1"});
    let request = read(body).unwrap();
    assert_eq!(request.trigger, Trigger::Regenerate);
    assert_eq!(request.message_id.as_deref(), Some("a1"));
    assert_eq!((request.last_user(), request.messages.len()), (None, 0));
    let empty = json!({"id": "t", "trigger": "regenerate-message", "messages": []});
    assert!(read(empty).is_ok());
}

#[test]
fn an_edited_message_names_which_one_it_replaces() {
    let request = read(json!({"id": "t", "messages": [user("x")], "messageId": "m"})).unwrap();
    let expected = (Trigger::Submit, Some("m"));
    assert_eq!((request.trigger, request.message_id.as_deref()), expected);
}

#[test]
fn a_wrong_shape_names_the_first_path() {
    let message = |message: Value| json!({"id": "t", "messages": [user("x"), message]});
    let table = [
        (json!([]), "$"),
        (json!({"messages": [user("x")]}), "id"),
        (json!({"id": 5, "threadId": "t", "messages": [user("x")]}), "id"),
        (json!({"threadId": "a b", "message": user("x")}), "threadId"),
        (json!({"id": "", "messages": [user("x")]}), "id"),
        (json!({"id": "x".repeat(129), "messages": [user("x")]}), "id"),
        (json!({"id": "../x", "messages": [user("x")]}), "id"),
        (json!({"id": "t"}), "messages"),
        (json!({"id": "t", "messages": null}), "messages"),
        (json!({"id": "t", "messages": "hi"}), "messages"),
        (json!({"id": "t", "messages": []}), "messages"),
        (json!({"id": "t", "messages": [{"role": "assistant", "parts": []}]}), "messages"),
        (json!({"id": "t", "message": 5}), "message"),
        (json!({"id": "t", "message": ""}), "message"),
        (json!({"id": "t", "message": {"role": "assistant", "parts": []}}), "message"),
        (json!({"id": "t", "message": {"role": "user", "parts": []}}), "message.parts"),
        (json!({"id": "t", "message": {"role": "user", "content": "x"}}), "message.parts"),
        (message(json!("x")), "messages[1]"),
        (message(json!({"parts": []})), "messages[1].role"),
        (message(json!({"role": "tool", "parts": []})), "messages[1].role"),
        (message(json!({"role": "user"})), "messages[1].parts"),
        (message(json!({"role": "user", "parts": {}})), "messages[1].parts"),
        (message(json!({"role": "user", "parts": []})), "messages[1].parts"),
        (message(json!({"role": "user", "parts": ["x"]})), "messages[1].parts[0]"),
        (message(json!({"role": "user", "parts": [{"text": "x"}]})), "messages[1].parts[0]"),
        (
            message(json!({"role": "user", "parts": [{"type": "text"}]})),
            "messages[1].parts[0].text",
        ),
        (message(json!({"id": 7, "role": "user", "parts": []})), "messages[1].id"),
        (json!({"id": "t", "messages": [user("x")], "trigger": "other"}), "trigger"),
        (json!({"id": "t", "messages": [user("x")], "trigger": 1}), "trigger"),
        (json!({"id": "t", "messages": [user("x")], "messageId": 1}), "messageId"),
        (json!({"id": "t", "messages": [user("x")], "messageId": "x".repeat(257)}), "messageId"),
    ];
    for (body, path) in table {
        let (found, expected) = first_issue(body.clone());
        assert_eq!(found, path, "{body}");
        assert!(!expected.is_empty(), "{body}");
    }
}

#[test]
fn the_sentence_names_path_and_expectation() {
    let fault = read(json!({"id": "t", "messages": [{"role": "user"}]})).unwrap_err();
    assert_eq!(
        fault.sentence(),
        "The request is not valid: messages[0].parts: expected an array of parts."
    );
    assert_eq!(fault.code(), ErrorCode::InvalidRequest);
}

#[test]
fn all_issues_are_listed_up_to_a_number() {
    let body = json!({"id": "", "trigger": 1, "messages": [5]});
    let paths: Vec<_> =
        read(body).unwrap_err().issues().iter().map(|issue| issue.path.clone()).collect();
    assert_eq!(paths, ["id", "trigger", "messages[0]"]);
    let many = json!({"id": "t", "messages": vec![5; 500]});
    assert_eq!(read(many).unwrap_err().issues().len(), ISSUES_MAX);
}

#[test]
fn a_thread_id_is_url_safe() {
    for good in ["a", "Z9_-", &"x".repeat(128)] {
        assert_eq!(good.parse::<ThreadId>().unwrap().as_str(), good);
    }
    for bad in ["", " ", "a/b", "a.b", "é", "a\n", &"x".repeat(129)] {
        assert_eq!(bad.parse::<ThreadId>(), Err(BadThreadId), "{bad:?}");
    }
    assert!(serde_json::from_str::<ThreadId>("\"a b\"").is_err());
}

#[test]
fn a_stored_message_is_written_as_a_ui_message_with_its_time() {
    let message = |status, code| StoredMessage {
        id: "m".into(),
        role: Role::Assistant,
        parts: vec![serde_json::json!({"type": "text", "text": "hi"})],
        metadata: Some(serde_json::json!({"usage": 1})),
        created_at: crate::contract::rfc3339(0),
        status,
        code,
    };
    let page = Page {
        items: vec![
            message(Ending::Complete, None),
            message(Ending::Cut, Some(ErrorCode::UpstreamCut)),
        ],
        next_cursor: None,
    };
    let parts = json!([{"type": "text", "text": "hi"}]);
    let created = "1970-01-01T00:00:00.000Z";
    assert_eq!(
        serde_json::to_value(page).unwrap(),
        json!({"items": [
            {"id": "m", "role": "assistant", "parts": parts, "createdAt": created,
             "metadata": {"usage": 1}, "status": "complete"},
            {"id": "m", "role": "assistant", "parts": parts, "createdAt": created,
             "metadata": {"usage": 1}, "status": "cut", "code": "upstream_cut"},
        ], "nextCursor": null})
    );
}
