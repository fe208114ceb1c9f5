//! Who answers people that write by other ways than a chat.
//!
//! An answer is a turn like any other, and this room knows nothing of turns: whoever wires the
//! rooms hands in somebody who does, as soon as there is one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::contract::code::ErrorCode;

/// What somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who owns the thread.
    pub owner: String,
    /// The thread; founded if there is none.
    pub thread_id: String,
    /// The message's name; one that the thread has already is not stored again.
    pub message_id: String,
    /// What was written.
    pub text: String,
    /// Which try this is: the answer to one question and try is given once, whoever asks for it
    /// how often.
    pub attempt: u32,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The whole answer, its texts joined; it may be empty.
    Whole(String),
    /// It ended in the middle. Another try makes another answer.
    Cut,
    /// There is none.
    Refused {
        /// Why.
        code: ErrorCode,
        /// When to ask again, where that is known.
        retry_after: Option<Duration>,
    },
}

/// An answer on its way.
pub type Answer = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// Answers people.
pub trait Answerer: Send + Sync {
    /// Begins an answer, or joins the one that this question and try have. Whoever drops it does
    /// not end it.
    fn answer(&self, question: Question) -> Answer;
}

/// Who answers, once somebody does. Cheap to clone.
#[derive(Clone)]
pub struct Answering(watch::Receiver<Option<Arc<dyn Answerer>>>);

/// Says who answers.
pub struct Appoint(watch::Sender<Option<Arc<dyn Answerer>>>);

impl Appoint {
    /// A place that is filled later.
    pub fn later() -> (Self, Answering) {
        let (to, from) = watch::channel(None);
        (Self(to), Answering(from))
    }

    /// Fills it.
    pub fn fill(&self, answerer: Arc<dyn Answerer>) {
        self.0.send_replace(Some(answerer));
    }
}

impl Answering {
    /// Whoever answers; waits until there is somebody. `None` if there never will be.
    pub(super) async fn somebody(&self) -> Option<Arc<dyn Answerer>> {
        let mut place = self.0.clone();
        let filled = place.wait_for(Option::is_some).await.ok()?;
        filled.clone()
    }
}
