//! The load generator against servers whose answers and latencies are known: the rows of
//! OPERATIONS.md §7 that say what its figures are worth.

mod counts;
mod honesty;
mod latency;

use std::sync::Arc;

use hyper_call::Get;
use sendcat::load::generator::{Arm, Generator, Run};
use sendcat::load::plan::Plan;
use sendcat::load::traffic::Target;

mod hyper_call {
    //! `GET /`, again and again.
    use sendcat::load::traffic::{AnswerForm, Call, Traffic};

    pub(super) struct Get(pub(super) AnswerForm);

    impl Traffic for Get {
        fn call(&self, _index: u64) -> Call {
            let call = Call::post_json("/", "{}");
            Call { answer: self.0, ..call }
        }
    }
}

/// An arm that asks the same again and again.
fn arm(url: &str) -> Arm {
    let target = Target::parse(url).unwrap();
    Arm { name: "only".into(), target, traffic: Arc::new(Get(Default::default())) }
}

/// Runs a plan against one server to its end.
async fn run(plan: Plan, url: &str) -> Run {
    let run = Generator::new(plan, vec![arm(url)]).run().await;
    run.expect("threads can be started")
}
