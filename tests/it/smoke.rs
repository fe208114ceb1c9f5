//! What a newcomer does first.

use crate::support::client::{Caller, answer, run};
use crate::support::server::Setup;
use crate::support::stand_in::StandIns;

#[test]
fn a_newcomer_gets_an_answer_and_a_search() {
    let server = Setup::sandbox().start();
    let caller = Caller::of(&server);
    let token = server.banner("chat token");
    run(async {
        let hello = answer(caller.chat(token, "t1", "hello")).await;
        assert_eq!(hello.status, 200);
        assert!(!hello.text().is_empty());
        let search = answer(caller.chat(token, "t1", "search rust actors")).await;
        let outputs = search.parts().into_iter().filter(|part| {
            part["type"] == "tool-output-available" && part["preliminary"].is_null()
        });
        assert_eq!(outputs.count(), 1);
    });
}

#[test]
fn another_stand_in_serves_as_well_as_the_sandbox() {
    let stand_ins = StandIns::start();
    let server = Setup::bare()
        .with_all(stand_ins.knobs())
        .with("OPENROUTER_API_KEY", "key")
        .with("SERPER_API_KEY", "key")
        .with("SESSION_SECRET", "secret")
        .start();
    let caller = Caller::of(&server);
    run(async {
        let session = answer(caller.post("/api/sessions/anonymous")).await.json();
        let token = session["token"].as_str().unwrap();
        let search = answer(caller.chat(token, "t1", "search rust actors")).await;
        assert!(search.text().contains("rust actors"));
    });
    assert_eq!(stand_ins.count("openrouter_chat", "requests"), 2);
    assert_eq!(stand_ins.count("serper_search", "requests"), 1);
}
