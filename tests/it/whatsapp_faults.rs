//! What goes wrong on the way to WhatsApp: files that are not what they should be, and a process
//! that dies in the middle of an answer.

use serde_json::{Value, json};

use crate::support::client::{Caller, answer, run};
use crate::support::stand_in::arm;
use crate::support::webhook::{accepted, delivery, delivery_of, eventually, message};
use crate::whatsapp_links::{NUMBER, Phone, token};

fn image(id: &str, media: &str) -> String {
    let mut said = message(id, "");
    said["type"] = "image".into();
    said["image"] = json!({"id": media, "mime_type": "image/jpeg"});
    delivery(&[said])
}

/// Whatever became of an event, once it is over or was tried so often.
async fn row_of(caller: &Caller, id: &str, attempts: u64) -> Value {
    eventually("it is over, or tried often enough", async || {
        let rows = caller.inbox("?limit=100").await;
        let key = format!("whatsapp_message/{id}");
        let row = rows.into_iter().find(|row| row["key"] == key)?;
        let over = row["status"] == "done" || row["status"] == "dead";
        (over || row["attempts"].as_u64()? >= attempts).then_some(row)
    })
    .await
}

#[test]
fn the_key_follows_no_address_that_is_not_metas_and_wrong_files_are_not_kept() {
    let phone = Phone::with(|setup| setup);
    let caller = phone.caller();
    run(async {
        phone.linked("ann").await;
        let before = phone.asked().await.len();
        // What is asked of the stand-in: the address, and the file where it may be fetched.
        let table = [
            ("elsewhere-1", "dead", "[forbidden:whatsapp.fetchMedia] ", 1),
            ("moved-1", "dead", "[upstream_rejected:whatsapp.fetchMedia] ", 2),
            ("missing-1", "dead", "[upstream_rejected:whatsapp.fetchMedia] ", 1),
            // An address that is gone is asked for anew, once.
            ("gone-1", "dead", "[upstream_rejected:whatsapp.fetchMedia] ", 4),
            ("large-1", "done", "", 1),
        ];
        let mut asked = before;
        for (media, status, error, requests) in table {
            assert_eq!(answer(caller.delivers(image(media, media))).await, accepted());
            let row = row_of(&caller, media, 8).await;
            assert_eq!((&row["status"], &row["attempts"]), (&json!(status), &json!(1)), "{media}");
            if status == "dead" {
                let letters = caller.sees("/ops/dead-letters?limit=1").await;
                let why = letters["items"][0]["error"].as_str().unwrap().to_owned();
                assert!(why.starts_with(error), "{media}: {why}");
            }
            asked += requests;
            assert_eq!(phone.asked().await.len(), asked, "{media}");
        }
        // Bytes may be spoilt on their way, so these are fetched again.
        assert_eq!(answer(caller.delivers(image("altered-1", "altered-1"))).await, accepted());
        let row = row_of(&caller, "altered-1", 2).await;
        assert_eq!(row["attempts"], 2, "{row}");
    });
    assert!(!phone.server.data().join("media").exists(), "nothing was kept");
}

#[test]
fn a_process_that_dies_while_it_sends_does_not_send_again() {
    let mut phone = Phone::with(|setup| setup);
    let caller = phone.caller();
    run(async {
        phone.linked("ann").await;
        arm(&phone.sandbox, "whatsapp_graph", "stall_headers", 1).await;
        assert_eq!(answer(caller.delivers(delivery_of(["q1".into()]))).await, accepted());
        eventually("it is being sent", async || (phone.asked().await.len() == 2).then_some(()))
            .await;
    });
    phone.server.kill_and_restart();
    let caller = phone.caller();
    run(async {
        let row = row_of(&caller, "q1", 8).await;
        assert_eq!((&row["status"], &row["attempts"]), (&json!("dead"), &json!(2)));
        let letters = caller.sees("/ops/dead-letters").await;
        let why = &letters["items"][0]["error"];
        let expected = "[conflict:whatsapp.sendText] an earlier attempt may have sent it, and it \
            must not be sent twice";
        assert_eq!(why, expected);
        assert_eq!(phone.asked().await.len(), 2, "nothing more was sent");
    });
}

#[test]
fn a_process_that_dies_in_the_middle_of_an_answer_answers_after_it_is_back() {
    let mut phone = Phone::with(|setup| setup);
    let caller = phone.caller();
    run(async {
        phone.linked("ann").await;
        arm(&phone.sandbox, "openrouter_chat", "stall_content", 1).await;
        assert_eq!(answer(caller.delivers(delivery_of(["q1".into()]))).await, accepted());
        // Not before the model was asked: it stalls once, and that is to be before the kill.
        eventually("it is being answered", async || {
            (phone.asked_of("openrouter_chat").await.len() == 1).then_some(())
        })
        .await;
    });
    phone.server.kill_and_restart();
    let caller = phone.caller();
    run(async {
        let row = row_of(&caller, "q1", 8).await;
        assert_eq!(row["status"], "done", "{row}");
        assert_eq!(phone.written().await.len(), 2, "one to link, and the answer");
        let path = format!("/api/threads/whatsapp-{NUMBER}/messages");
        let kept = answer(caller.get(&path).bearer_auth(token("ann"))).await.json();
        let asked = kept["items"].as_array().unwrap().iter().filter(|it| it["id"] == "q1");
        assert_eq!(asked.count(), 1, "{kept}");
    });
}
