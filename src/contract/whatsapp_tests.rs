//! How WhatsApp's deliveries are taken apart, on the samples and on what Meta may send next.

use super::*;
use serde_json::json;

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/it/samples/whatsapp_", $name, ".json"))
    };
}

fn value_of(value: Value) -> Vec<Element> {
    let body = json!({"object": "whatsapp_business_account", "entry": [
        {"id": "1", "changes": [{"field": "messages", "value": value}]}]});
    read(body.to_string().as_bytes()).unwrap()
}

fn only_message(bytes: &[u8]) -> Message {
    match <[Element; 1]>::try_from(read(bytes).unwrap()).unwrap() {
        [Element::Message(message)] => message,
        [other] => panic!("not a message: {other:?}"),
    }
}

/// The kind of each element and why, if it is odd.
fn outline(elements: &[Element]) -> Vec<String> {
    let outline = |element: &Element| match element {
        Element::Message(message) => format!("message {} {}", message.kind, message.id),
        Element::Status(status) => format!("status {} {}", status.status, status.id),
        Element::Change(change) => format!("change {}", change.field),
        Element::Odd(odd) => format!("odd {}", odd.why),
    };
    elements.iter().map(outline).collect()
}

#[test]
fn a_text_is_read_with_its_sender_and_its_words() {
    let message = only_message(sample!("text"));
    assert_eq!(message.text(), Some("Does it come in another color?"));
    assert_eq!(message.kind, "text");
    assert_eq!(message.phone_number_id.as_deref(), Some("106540352242922"));
    assert_eq!(message.sender.identity(), Some("16505551234"));
    assert_eq!(message.raw["timestamp"], "1749416383");
}

#[test]
fn other_types_keep_all_their_fields() {
    let image = only_message(sample!("image"));
    assert_eq!((image.kind.as_str(), image.text()), ("image", None));
    assert_eq!(image.raw["image"]["caption"], "Taj Mahal");
    let reply = only_message(sample!("interactive_button_reply"));
    assert_eq!(reply.raw["interactive"]["button_reply"]["id"], "cancel-button");
}

#[test]
fn a_batch_keeps_its_order_and_its_duplicate_has_the_same_key() {
    let elements = read(sample!("batch3_one_duplicate")).unwrap();
    assert_eq!(
        outline(&elements),
        [
            "message text wamid.BATCH0001",
            "message text wamid.BATCH0002",
            "message text wamid.BATCH0001"
        ]
    );
    assert_eq!(elements[0].key(), elements[2].key());
    assert_ne!(elements[0].key(), elements[1].key());
}

#[test]
fn two_statuses_of_one_message_have_two_keys() {
    let sent = read(sample!("status_sent")).unwrap();
    let delivered = read(sample!("status_delivered")).unwrap();
    let id = "wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQUFERjg0NDEzNDdFODU3MUMxMAA=";
    assert_eq!(sent[0].key(), ElementKey::Status(id, "sent"));
    assert_eq!(delivered[0].key(), ElementKey::Status(id, "delivered"));
}

#[test]
fn an_odd_message_does_not_sink_its_batch() {
    let elements = value_of(json!({"messages": [
        {"id": "a", "type": "text"}, {"type": "text"}, 5, null, {"id": ""}, {"id": 7},
        {"id": "x".repeat(513)}, {"id": "b", "type": "hologram"}, {"id": "c"}]}));
    let odd =
        |at| format!("odd entry[0].changes[0].value.messages[{at}].id: expected a message id");
    let mut expected = vec!["message text a".to_owned()];
    expected.extend((1..=6).map(odd));
    expected.extend(["message hologram b".to_owned(), "message unknown c".to_owned()]);
    assert_eq!(outline(&elements), expected);
}

#[test]
fn the_sample_without_an_id_is_odd_and_has_a_digest_for_a_key() {
    let once = read(sample!("malformed_message_without_id")).unwrap();
    let again = read(sample!("malformed_message_without_id")).unwrap();
    assert!(matches!(once[..], [Element::Odd(_)]), "{once:?}");
    assert!(matches!(once[0].key(), ElementKey::Digest(digest) if digest.len() == 64));
    assert_eq!(once[0].key(), again[0].key());
}

#[test]
fn an_odd_element_has_its_key_wherever_in_a_batch_it_comes() {
    let odd = json!({"type": "text"});
    let alone = value_of(json!({"messages": [odd]}));
    let second = value_of(json!({"messages": [{"id": "a"}, odd]}));
    assert_eq!(alone[0].key(), second[1].key());
}

#[test]
fn a_user_without_a_number_is_known_by_the_user_id() {
    let elements = value_of(json!({"messages": [
        {"id": "a", "type": "text", "from_user_id": "US.1"},
        {"id": "b", "type": "text", "from": "1", "from_user_id": "US.1"},
        {"id": "c", "type": "system"}]}));
    let identity = |element: &Element| match element {
        Element::Message(message) => message.sender.identity().map(str::to_owned),
        Element::Status(_) | Element::Change(_) | Element::Odd(_) => panic!("{element:?}"),
    };
    let known: Vec<_> = elements.iter().map(identity).collect();
    assert_eq!(known, [Some("US.1".to_owned()), Some("US.1".to_owned()), None]);
}

#[test]
fn what_is_neither_message_nor_status_is_kept_as_a_change() {
    let changes = json!([{"field": "account_update", "value": {"event": "X"}}]);
    let body = json!({"object": "whatsapp_business_account", "entry": [
        {"id": "1", "time": 17, "changes": changes}, {"id": "1", "time": 18, "changes": changes}]});
    let elements = read(body.to_string().as_bytes()).unwrap();
    assert_eq!(outline(&elements), ["change account_update", "change account_update"]);
    assert_ne!(elements[0].key(), elements[1].key());
    assert_eq!(outline(&value_of(json!({}))), ["change messages"]);
    let errors = json!({"errors": [{"code": 1}], "statuses": [{"id": "a", "status": "failed"}]});
    assert_eq!(outline(&value_of(errors)), ["change messages", "status failed a"]);
}

#[test]
fn odd_parts_of_the_envelope_are_kept_beside_the_good_ones() {
    let good = json!({"field": "messages", "value": {"messages": [{"id": "a", "type": "text"}]}});
    let body = json!({"object": "whatsapp_business_account", "entry": [
        "text", {"id": "1"}, {"id": "1", "changes": {}},
        {"changes": [1, {"value": {}}, {"field": "messages"}, {"field": "messages", "value": []},
            {"field": "messages", "value": {"messages": {}, "statuses": 1}}, good]}]});
    let elements = read(body.to_string().as_bytes()).unwrap();
    assert_eq!(
        outline(&elements),
        [
            "odd entry[0].changes: expected an array",
            "odd entry[1].changes: expected an array",
            "odd entry[2].changes: expected an array",
            "odd entry[3].changes[0].field: expected a string",
            "odd entry[3].changes[1].field: expected a string",
            "odd entry[3].changes[2].value: expected an object",
            "odd entry[3].changes[3].value: expected an object",
            "odd entry[3].changes[4].value.messages: expected an array",
            "odd entry[3].changes[4].value.statuses: expected an array",
            "message text a",
        ]
    );
}

#[test]
fn a_wrong_top_is_refused_by_name() {
    let table: [(&[u8], &str); 5] = [
        (b"[]", "$"),
        (b"{}", "object"),
        (br#"{"object":"page","entry":[]}"#, "object"),
        (br#"{"object":"whatsapp_business_account"}"#, "entry"),
        (br#"{"object":"whatsapp_business_account","entry":{}}"#, "entry"),
    ];
    for (body, path) in table {
        assert_eq!(read(body).unwrap_err().issues()[0].path, path);
    }
    let truncated = read(sample!("malformed_truncated"));
    assert!(matches!(truncated, Err(BodyError::NotJson(_))));
    assert_eq!(read(br#"{"object":"whatsapp_business_account","entry":[]}"#), Ok(Vec::new()));
}

#[test]
fn more_than_ten_times_what_meta_batches_is_refused() {
    let of = |count: usize| {
        let messages = vec![serde_json::json!({"id": "m"}); count];
        let change = serde_json::json!({"field": "messages", "value": {"messages": messages}});
        serde_json::json!({"object": "whatsapp_business_account",
            "entry": [{"changes": [change]}]})
        .to_string()
    };
    assert_eq!(read(of(ELEMENTS_MAX).as_bytes()).map(|all| all.len()), Ok(ELEMENTS_MAX));
    let refused = read(of(ELEMENTS_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!(refused.issues()[0].path, "entry");
}

#[test]
fn an_element_reads_back_from_where_it_was_kept() {
    for bytes in [&sample!("text")[..], sample!("status_sent"), sample!("batch3_one_duplicate")] {
        for element in read(bytes).unwrap() {
            let kept = serde_json::to_vec(&element).unwrap();
            assert_eq!(serde_json::from_slice::<Element>(&kept).unwrap(), element);
        }
    }
}
